//! Starting in two steps: what takes long is made beforehand, and waits.

use rustix::event::{PollFd, PollFlags, Timespec};
use spec::protocol::Reply;
use spec::{Error, Id, Result};

use crate::client::Client;
use crate::container::Container;
use crate::job;
use crate::launch::{Launch, give_up, keeper_failed, unheard};
use crate::lock::Lock;
use crate::record::Status;
use crate::session::Session;
use crate::spare::Spare;

/// A keeper that has made what its container takes before anything of it runs (control groups with
/// their limits, a place for its users, namespaces) and waits. Dropped, or when its owner ends however
/// that comes about, it takes everything back.
#[derive(Debug)]
pub struct Prepared {
    id: Id,
    spare: Option<Spare>,
}

impl Prepared {
    /// The keeper, if it still waits for this container.
    fn take(&mut self, id: Id) -> Option<Spare> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let waits = |spare: &mut Spare| {
            let mut ended = [PollFd::new(&spare.process, PollFlags::IN)];
            self.id == id && rustix::event::poll(&mut ended, Some(&none)) == Ok(0)
        };
        self.spare.take_if(waits)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.spare.take().into_iter().for_each(give_up);
    }
}

impl Container {
    /// Makes what its next start takes, as far as that is known before it: of `launch`, only which
    /// keeper it has. It stays what it is; others may start it too, and then nothing was gained.
    ///
    /// # Errors
    /// Conflict if it runs; whatever cannot be made.
    pub fn prepare(&self, launch: &Launch) -> Result<Prepared> {
        let _lock = Lock::take(self.dir(), self.name())?;
        let current = self.as_written()?;
        if let Status::Running(_) = current.status()? {
            return Err(Error::conflict(format!("container {} is running already", self.name())));
        }
        // What a keeper that was killed has left would be in the way.
        cgroup::Group::of(self.id())?.end()?;
        let spare = Spare::beforehand(launch.keeper.clone(), self.id())?;
        if let Err(error) = job::send(spare.connection(), &current.job(&Launch::default()), None, &[]) {
            return Err(unheard(&spare.process, spare.connection, error));
        }
        let Spare { id, process, connection } = spare;
        let mut client = Client::over(connection);
        match client.receive() {
            Ok(Some(Reply::Done)) => {
                let connection = client.into_socket();
                Ok(Prepared { id, spare: Some(Spare { id, process, connection }) })
            }
            Ok(Some(Reply::Failed(failure))) => {
                let _ = process.wait();
                Err(failure.into())
            }
            Ok(other) => Err(keeper_failed(&process, other)),
            Err(error) => {
                process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Starts it once more, as [`start_again`](Self::start_again) does, with what was prepared. Where
    /// that does not serve any more (it was changed, or its keeper killed) it is made anew.
    ///
    /// # Errors
    /// As there.
    pub fn start_prepared(&self, mut prepared: Prepared, launch: Launch) -> Result<Session> {
        self.start_once_more(launch, prepared.take(self.id()))
    }
}
