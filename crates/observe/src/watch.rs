//! One watched run, from before its first instruction to its last process's end.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spec::observation::Stage;
use spec::{Error, ResultExt};
use sys::fanotify::Fanotify;
use sys::notify::Listener;

use crate::cache::Cache;
use crate::checks::Checks;
use crate::mounts::Places;
use crate::programs::Programs;
use crate::record::{Record, Seen};
use crate::serve::{END, EXERCISE, Orders, START, STOP, Server};
use crate::trace::Trace;
use crate::trapped::root_of;
use crate::whereabouts::Whereabouts;
use crate::{Opens, Settings};

/// A run that is being watched.
pub struct Watch {
    settings: Settings,
    orders: Orders,
    state: State,
}

enum State {
    Prepared { fanotify: Option<Fanotify>, places: Box<Places> },
    Running(Running),
    Finished,
}

struct Running {
    thread: JoinHandle<()>,
    result: Receiver<spec::Result<Seen>>,
}

/// How long the instruments may take to read what is queued when the run is over.
const PATIENCE: Duration = Duration::from_secs(60);

impl Watch {
    /// Before the container is spawned: marks the file systems that form its image, mounted at
    /// `mounts` in the caller's mount namespace (`root` itself and those below it).
    pub fn prepare(root: &Path, mounts: &[PathBuf], settings: Settings) -> spec::Result<Self> {
        let fanotify = fanotify(settings.opens)?;
        for (fanotify, mount) in
            fanotify.iter().flat_map(|fanotify| mounts.iter().map(move |mount| (fanotify, mount)))
        {
            let doing = || format!("watching the file system at {}", mount.display());
            fanotify.watch_file_system(mount).doing(doing)?;
        }
        let places = Box::new(Places::new(root, mounts)?);
        let orders = Orders::new().doing(|| "making an eventfd")?;
        Ok(Self { settings, orders, state: State::Prepared { fanotify, places } })
    }

    /// Before the container is spawned, whose root is the directory `tree` itself: everything is
    /// seen by the listener alone. A mark on the file system would see the whole host.
    pub fn listen(tree: &Path) -> spec::Result<Self> {
        let fanotify = fanotify(Opens::Listener)?;
        let places = Box::new(Places::new(tree, &[tree.to_owned()])?);
        let orders = Orders::new().doing(|| "making an eventfd")?;
        let settings = Settings { opens: Opens::Listener };
        Ok(Self { settings, orders, state: State::Prepared { fanotify, places } })
    }

    /// After the spawn, before the release: serves `listener` (the filter's) from a thread of its
    /// own. `init` is the container's first process, in its root already.
    pub fn start(&mut self, listener: OwnedFd, init: i32) -> spec::Result<()> {
        let State::Prepared { fanotify, mut places } = std::mem::replace(&mut self.state, State::Finished)
        else {
            return Err(Error::internal("a watch was started twice"));
        };
        places.begin(init)?;
        let trace = match self.settings.opens {
            Opens::Fanotify => Some(Trace::start(init).doing(|| "starting the eBPF program")?),
            Opens::Listener => None,
        };
        // More than the paths is told where the kernel can: without it nothing is wrong, just unknown.
        let calls = if trace.is_none() { Trace::calls_only(init).ok() } else { None };
        let checks = Checks::start(init).ok();
        let listener = Listener::new(listener);
        listener.wake_synchronously();
        let server = Server {
            listener,
            fanotify,
            places: *places,
            programs: Programs::default(),
            record: Record::default(),
            cache: Cache::default(),
            whereabouts: Whereabouts::default(),
            home: root_of(init)?,
            views_differ: false,
            stage: Stage::Start,
            orders: self.orders.try_clone().doing(|| "duplicating an eventfd")?,
            own: rustix::process::getpid().as_raw_nonzero().get(),
            thread: 0,
            rests: None,
            trace,
            calls,
            checks,
            opens: HashMap::new(),
            failure: None,
        };
        self.state = State::Running(serve(server)?);
        Ok(())
    }

    /// Marks the border between stages: what is used from now on belongs to `stage`.
    pub fn stage(&self, stage: Stage) {
        // Writing to an eventfd fails only where its counter is full; then the bell has rung.
        let _ = self.orders.give(match stage {
            Stage::Start => START,
            Stage::Exercise => EXERCISE,
            Stage::Stop => STOP,
        });
    }

    /// Whether nobody is left to be watched, asked for at most `limit`. As long as somebody is, the
    /// watch must not be finished: path calls of whoever is left would fail.
    pub fn is_over(&self, limit: Duration) -> bool {
        const PAUSE: Duration = Duration::from_millis(1);
        let begun = Instant::now();
        let State::Running(running) = &self.state else { return true };
        while !running.thread.is_finished() && begun.elapsed() < limit {
            std::thread::sleep(PAUSE);
        }
        running.thread.is_finished()
    }

    /// After the last process's end: what was seen. An error if anything was lost.
    pub fn finish(mut self) -> spec::Result<Seen> {
        let State::Running(running) = std::mem::replace(&mut self.state, State::Finished) else {
            return Err(Error::internal("a watch was finished that never started"));
        };
        let doing = || "ending the observation".to_owned();
        self.orders.give(END).doing(doing)?;
        let seen = running
            .result
            .recv_timeout(PATIENCE)
            .map_err(|_| Error::internal("the observing thread died or hangs: the run is worth nothing"))??;
        drop(running.thread.join());
        Ok(seen)
    }
}

/// fanotify; none for an ordinary user, where the listener sees every open anyway and what the kernel
/// opens by itself is told by the heads of the programs that are executed.
fn fanotify(opens: Opens) -> spec::Result<Option<Fanotify>> {
    match Fanotify::new() {
        Err(error) if opens == Opens::Listener && error.kind() == std::io::ErrorKind::PermissionDenied => {
            Ok(None)
        }
        made => made.map(Some).doing(|| "starting fanotify"),
    }
}

/// The server lives in its thread alone: should that die, the listener closes, and no process
/// waits for an answer any more.
fn serve(server: Server) -> spec::Result<Running> {
    let (sender, result) = channel();
    let thread = std::thread::Builder::new().name("observe".to_owned());
    let thread = thread.spawn(move || {
        // Nobody waits for the result of a watch that was dropped.
        drop(sender.send(server.run()));
    });
    Ok(Running { thread: thread.doing(|| "starting the observing thread")?, result })
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    /// A watch that is given up lets everything go: its thread ends and closes the listener.
    fn drop(&mut self) {
        if matches!(self.state, State::Running(_)) {
            let _ = self.orders.give(END);
        }
    }
}
