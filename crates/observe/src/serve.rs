//! The thread that serves all instruments until the last process has ended.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use spec::observation::{Stage, Use};
use spec::{Error, ResultExt, RootPath};
use sys::fanotify::Fanotify;
use sys::notify::Listener;

use crate::cache::Cache;
use crate::mounts::{Meta, Places};
use crate::programs::{Program, Programs};
use crate::record::{Record, Seen};

/// Everything that the serving thread owns.
pub(crate) struct Server {
    pub(crate) listener: Listener,
    pub(crate) fanotify: Fanotify,
    pub(crate) places: Places,
    pub(crate) programs: Programs,
    pub(crate) record: Record,
    pub(crate) cache: Cache,
    /// The root directory as the container's first process has it.
    pub(crate) home: Meta,
    /// Some process may have another view than the first one.
    pub(crate) views_differ: bool,
    pub(crate) stage: Arc<AtomicU8>,
    /// Readable when the run is over.
    pub(crate) end: OwnedFd,
    pub(crate) own: i32,
}

impl Server {
    /// Serves until told to end, or until nobody is left to be watched.
    pub(crate) fn run(mut self) -> spec::Result<Seen> {
        loop {
            let (calls, events, gone, end) = self.wait()?;
            if calls {
                self.trapped()?;
            }
            if events {
                self.some_events()?;
            }
            if (gone || end) && !calls {
                self.drain()?;
                return Ok(self.record.seen(self.programs.names()));
            }
        }
    }

    /// Waits for work: a trapped call, events, nobody left, the end.
    fn wait(&self) -> spec::Result<(bool, bool, bool, bool)> {
        let mut fds = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.fanotify, PollFlags::IN),
            PollFd::new(&self.end, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(broken("waiting for events", error.into())),
        }
        let [calls, events, end] = fds.map(|fd| fd.revents());
        let gone = calls.intersects(PollFlags::HUP | PollFlags::ERR);
        Ok((calls.contains(PollFlags::IN), events.contains(PollFlags::IN), gone, !end.is_empty()))
    }

    /// Reads all queues to their end, before something changes what they mean.
    pub(crate) fn drain(&mut self) -> spec::Result<()> {
        while self.some_events()? {}
        Ok(())
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Start,
            1 => Stage::Exercise,
            _ => Stage::Stop,
        }
    }

    pub(crate) fn note(&mut self, path: &RootPath, how: Use, by: Option<Program>) {
        let stage = self.stage();
        self.record.note(path, how, by, stage);
    }

    pub(crate) fn warn(&mut self, pid: i32, what: &str) {
        let program = self.programs.of(pid).and_then(|number| self.programs.names().get(number as usize));
        let program = program.map_or("a program", String::as_str);
        let warning = format!("{program} {what}");
        self.record.warnings.insert(warning);
    }
}

/// A failure of an instrument: the run is worth nothing.
pub(crate) fn broken(what: &str, error: std::io::Error) -> Error {
    let result: spec::Result<()> = Err(error).doing(|| what.to_owned());
    match result {
        Ok(()) => Error::internal(what),
        Err(error) => error.context("the observation is incomplete").hint("run `tsubo test` again"),
    }
}

/// For the stage's shared byte.
pub(crate) fn stage_number(stage: Stage) -> u8 {
    match stage {
        Stage::Start => 0,
        Stage::Exercise => 1,
        Stage::Stop => 2,
    }
}

/// Whether `fd` refers to the same directory as the home root, by the same mount.
pub(crate) fn is_home(home: &Meta, root: impl AsFd) -> bool {
    Meta::of(root).is_ok_and(|meta| meta.mount == home.mount && meta.same_file(home))
}
