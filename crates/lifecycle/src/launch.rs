//! Starting: a keeper for a container, or one more process in a running one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use cgroup::Room;
use spec::container::{self, Process, Root, Spec};
use spec::hooks::Event;
use spec::portable::Ids;
use spec::protocol::{Reply, Request};
use spec::resources::Resources;
use spec::{Error, Result, RootPath};

use crate::Containers;
use crate::client::Client;
use crate::container::Container;
use crate::hooks::{self, Detail};
use crate::job::{self, Job};
use crate::keeper_process::KeeperProcess;
use crate::ledger::{self, Asking, Ledger};
use crate::lock::Lock;
use crate::networks::{self, Networks};
use crate::pinned::Pinned;
use crate::resolve;
use crate::session::Session;
use crate::sockets::{self, Socket};
use crate::spare::Spare;

/// How a container is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The caller stays with it: its output comes here, and its end.
    pub attached: bool,
    /// The caller's input goes to it.
    pub input: bool,
    /// A keeper other than `TSUBO_KEEPER` or the one beside our own program.
    pub keeper: Option<PathBuf>,
    /// Also where that breaks promises made to other containers.
    pub overcommit: bool,
    /// Handed over to its program.
    pub sockets: Vec<Socket>,
}

/// One more process for a running container; what is not said is as for its first.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// On top of the container's environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<RootPath>,
    /// Who it runs as.
    pub user: Option<Ids>,
    /// On a pseudo-terminal.
    pub terminal: bool,
    /// The caller's input goes to it.
    pub input: bool,
}

impl Container {
    /// Starts it: returns when its command is executed. One that cannot be started is removed.
    pub fn start(self, launch: Launch) -> Result<Session> {
        self.start_with(launch, None)
    }

    /// Like [`start`](Self::start), with a keeper that has been begun already.
    pub fn start_with(mut self, launch: Launch, spare: Option<Spare>) -> Result<Session> {
        let started = match self.ask_start() {
            Ok(()) => self.start_keeper(launch, spare, self.lock.as_ref()),
            Err(refused) => {
                spare.into_iter().for_each(give_up);
                Err(refused)
            }
        };
        if started.is_err() {
            // The first failure is the one to tell.
            let _ = self.remove(true);
            if let Some(volumes) = &self.new_volumes {
                let _ = crate::volumes::remove(volumes);
            }
            self.lock.take().into_iter().for_each(crate::lock::Lock::discard);
        }
        self.lock = None;
        started
    }

    /// Whether its hooks let it start.
    pub(crate) fn ask_start(&self) -> Result<()> {
        let owner = self.owner("created", None);
        hooks::before(&owner, Event::Start, &Detail::new())?;
        match networks::is_wired(&self.record().spec) {
            true => hooks::before(&owner, Event::Network, &Detail::new()),
            false => Ok(()),
        }
    }

    pub(crate) fn start_keeper(
        &self,
        launch: Launch,
        spare: Option<Spare>,
        lock: Option<&Lock>,
    ) -> Result<Session> {
        // What its networks have given it is its own, also after a boot.
        let held = || Networks::around(self.dir(), self.run_dir()).hold(&self.record().spec);
        if let Err(refused) = sockets::check(&self.record().spec, &launch.sockets).and_then(|()| held()) {
            spare.into_iter().for_each(give_up);
            return Err(refused);
        }
        let promised = !self.record().spec.promised().is_empty();
        let overcommit = launch.overcommit || self.record().overcommit;
        let spare = spare.map_or_else(|| Spare::of(launch.keeper.clone(), self.id()), Ok)?;
        if promised && let Err(refused) = self.admit(spare.process.pid(), overcommit) {
            give_up(spare);
            return Err(refused);
        }
        let started = self.launch(&launch, spare, lock);
        if promised && started.is_err() {
            // What stays is found by whoever would be refused because of it.
            let _ = Ledger::beside(self.run_dir()).release(self.id());
        }
        started
    }

    /// Asks for what it is to be promised.
    fn admit(&self, keeper: i32, overcommit: bool) -> Result<()> {
        let asking = Asking { spec: &self.record().spec, keeper: Pinned::of(keeper)?, overcommit };
        let containers = Containers::around(self.dir(), self.run_dir());
        ledger::admit(&Ledger::beside(self.run_dir()), &containers, &asking)
    }

    pub(crate) fn job(&self, launch: &Launch) -> Job {
        let terminal = self.record().spec.process.terminal;
        Job {
            spec: limited(self.record().spec.clone()),
            dir: self.dir().to_owned(),
            run: self.run_dir().to_owned(),
            remove: self.record().remove,
            attached: launch.attached,
            input: launch.input,
            life: self.record().life.clone(),
            image: self.record().image.clone(),
            again: self.has_ended(),
            sockets: launch.sockets.iter().map(|socket| socket.name.clone()).collect(),
            size: if terminal { crate::terminal::size() } else { None },
        }
    }

    fn launch(&self, launch: &Launch, spare: Spare, lock: Option<&Lock>) -> Result<Session> {
        let job = self.job(launch);
        let terminal = self.record().spec.process.terminal;
        let Spare { process: keeper, connection, .. } = spare;
        let sockets: Vec<_> = launch.sockets.iter().map(|socket| socket.socket.as_fd()).collect();
        if let Err(error) = job::send(connection.as_fd(), &job, lock.map(AsFd::as_fd), &sockets) {
            return Err(unheard(&keeper, connection, error));
        }
        let mut client = Client::over(connection);
        match client.receive() {
            Ok(Some(Reply::Started { pid })) => {
                let input = launch.attached && launch.input;
                Ok(Session::new(client, pid, terminal, input, Some(keeper)))
            }
            Ok(Some(Reply::Failed(failure))) => {
                finish(&keeper);
                Err(failure.into())
            }
            Ok(other) => Err(keeper_failed(&keeper, other)),
            Err(error) => {
                // Whatever it is that does not speak our language: it does not stay.
                keeper.kill();
                finish(&keeper);
                Err(error)
            }
        }
    }

    /// Executes one more process in it.
    pub fn exec(&self, exec: Exec) -> Result<Session> {
        self.await_running(Duration::from_secs(5))?;
        let (terminal, input) = (exec.terminal, exec.input);
        let mut client = Client::connect(self.run_dir())?;
        client.send(&Request::Exec { process: self.process(exec), input })?;
        if let (true, Some((rows, columns))) = (terminal, crate::terminal::size()) {
            client.send(&Request::Resize { rows, columns })?;
        }
        match client.receive()? {
            Some(Reply::Started { pid }) => Ok(Session::new(client, pid, terminal, input, None)),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            _ => Err(Error::conflict(format!("container {} has just ended", self.name()))),
        }
    }

    /// Watches what it says from now on, and its end. Closing the session does not end it.
    pub fn attach(&self) -> Result<Session> {
        let state = self.await_running(Duration::from_secs(5))?;
        let client = Client::connect(self.run_dir())?;
        client.send(&Request::Attach)?;
        Ok(Session::new(client, state.first.pid, false, false, None))
    }

    pub(crate) fn process(&self, exec: Exec) -> Process {
        let first = &self.record().spec.process;
        let mut env = first.env.clone();
        let term = exec.terminal && !env.iter().any(|entry| entry.starts_with("TERM="));
        env.extend(term.then(|| "TERM=xterm".to_owned()));
        for (key, value) in exec.env {
            env.retain(|entry| entry.split('=').next() != Some(&key));
            env.push(format!("{key}={value}"));
        }
        Process {
            argv: exec.argv,
            env,
            cwd: exec.cwd.unwrap_or_else(|| first.cwd.clone()),
            user: exec.user.unwrap_or_else(|| first.user.clone()),
            terminal: exec.terminal,
            ..first.clone()
        }
    }
}

/// One that was made by a version that knew no limits has what others have.
fn limited(mut spec: Spec) -> Spec {
    if matches!(spec.root, Root::Scratch { .. }) && spec.room == container::Room::default() {
        spec.room = resolve::usual_layer();
    }
    if spec.cgroup && spec.resources == Resources::default() && spec.wishes == Resources::default() {
        spec.wishes = Room::of_host().one();
    }
    spec
}

/// A keeper that gets nothing to keep goes by itself, and takes along what it has made.
pub(crate) fn give_up(spare: Spare) {
    drop(spare.connection);
    finish(&spare.process);
}

/// Why a keeper did not take in what it was told: it may have said so before it ended.
pub(crate) fn unheard(keeper: &KeeperProcess, connection: OwnedFd, error: Error) -> Error {
    keeper.kill();
    finish(keeper);
    match Client::over(connection).receive() {
        Ok(Some(Reply::Failed(failure))) => failure.into(),
        _ => error,
    }
}

fn finish(keeper: &KeeperProcess) {
    // It has said all there is to say; only no zombie shall stay.
    let _ = keeper.wait();
}

pub(crate) fn keeper_failed(keeper: &KeeperProcess, reply: Option<Reply>) -> Error {
    keeper.kill();
    let ended = keeper.wait().map_or_else(|error| error.to_string(), |code| format!("exit code {code}"));
    Error::internal(format!("the container's keeper failed ({ended}, answer {reply:?})"))
}
