//! The thread that serves all instruments until the last process has ended.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::io::Errno;
use spec::observation::{Stage, Use};
use spec::{Error, ResultExt, RootPath};
use sys::fanotify::Fanotify;
use sys::notify::Listener;

use crate::cache::Cache;
use crate::checks::Checks;
use crate::mounts::{Meta, Places};
use crate::programs::{Program, Programs};
use crate::record::{CAPABILITY_CHECKS, Record, SYSTEM_CALLS, Seen};
use crate::trace::Trace;
use crate::whereabouts::Whereabouts;

/// Everything that the serving thread owns.
pub(crate) struct Server {
    pub(crate) listener: Listener,
    /// None without root.
    pub(crate) fanotify: Option<Fanotify>,
    pub(crate) places: Places,
    pub(crate) programs: Programs,
    pub(crate) record: Record,
    pub(crate) cache: Cache,
    pub(crate) whereabouts: Whereabouts,
    /// The root directory as the container's first process has it.
    pub(crate) home: Meta,
    /// Some process may have another view than the first one.
    pub(crate) views_differ: bool,
    /// The stage of the run, as far as this thread is.
    pub(crate) stage: Stage,
    /// What the run's owner wants.
    pub(crate) orders: Orders,
    pub(crate) own: i32,
    /// The serving thread.
    pub(crate) thread: i32,
    /// fanotify's queue was empty a moment ago.
    pub(crate) rests: Option<Instant>,
    pub(crate) trace: Option<Trace>,
    /// Where the listener sees all opens: the names of the calls all the same.
    pub(crate) calls: Option<Trace>,
    pub(crate) checks: Option<Checks>,
    /// How often files were opened, by device and inode.
    pub(crate) opens: HashMap<((u32, u32), u64), u32>,
    /// What went wrong. From then on calls are only let go: a service whose calls nobody lets go
    /// could not even exit.
    pub(crate) failure: Option<Error>,
}

/// What there is to do.
struct Work {
    call: bool,
    events: bool,
    opens: bool,
    gone: bool,
    order: bool,
}

/// How long events are left to gather: the kernel merges equal ones that wait, and the service
/// keeps the processor. What needs them earlier reads them earlier.
const GATHERING: Duration = Duration::from_millis(2);

impl Server {
    /// Serves until told to end, or until nobody is left to be watched.
    pub(crate) fn run(mut self) -> spec::Result<Seen> {
        self.thread = rustix::thread::gettid().as_raw_nonzero().get();
        let mut end = false;
        loop {
            let work = self.wait()?;
            if work.order {
                end |= self.obey();
            }
            if work.call {
                self.trapped()?;
            }
            if self.failure.is_none()
                && let Err(error) = self.queued(&work)
            {
                self.failure = Some(error);
            }
            if (work.gone || end) && !work.call {
                return self.finish();
            }
        }
    }

    /// Does what the run's owner wants; true if that is to end. What waits in the queues belongs
    /// to the stage before.
    fn obey(&mut self) -> bool {
        let order = self.orders.take();
        if self.failure.is_none()
            && let Err(error) = self.drain()
        {
            self.failure = Some(error);
        }
        self.stage = match order {
            START => Stage::Start,
            EXERCISE => Stage::Exercise,
            _ => Stage::Stop,
        };
        order == END
    }

    /// Handles what waits in the queues.
    fn queued(&mut self, work: &Work) -> spec::Result<()> {
        if work.events {
            let more = self.some_events()?;
            self.rests = (!more).then(Instant::now);
        }
        if work.opens {
            self.some_opens()?;
        }
        Ok(())
    }

    fn finish(mut self) -> spec::Result<Seen> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        self.drain()?;
        self.check_losses()?;
        let (foreign, by_descriptor) = (self.record.foreign, self.record.by_descriptor);
        let mut seen = self.record.seen(self.programs.names());
        seen.instruments.insert("seccomp-listener".to_owned());
        if self.fanotify.is_some() {
            seen.instruments.insert("fanotify".to_owned());
        }
        if self.trace.is_some() {
            seen.instruments.insert("ebpf".to_owned());
        }
        if let Some(trace) = self.trace.as_ref().or(self.calls.as_ref()) {
            let complete = (!foreign).then(|| SYSTEM_CALLS.to_owned());
            seen.instruments.extend(complete);
            let names = trace.syscalls();
            seen.syscalls = names.map_err(|error| broken("reading the system calls", error))?;
            seen.syscalls.extend(by_descriptor.then(|| "execveat".to_owned()));
        }
        if let Some(checks) = &self.checks {
            seen.instruments.insert(CAPABILITY_CHECKS.to_owned());
            let failed = |error| broken("reading the checks of capabilities", error);
            for (capability, by) in checks.granted().map_err(failed)? {
                seen.capabilities.entry(capability).or_default().extend(by);
            }
            seen.refused = checks.refused().map_err(failed)?;
        }
        Ok(seen)
    }

    /// From now on eBPF looks at processes in other pid namespaces too.
    pub(crate) fn look_at_everybody(&self) -> std::io::Result<()> {
        let traces = [&self.trace, &self.calls];
        traces.into_iter().flatten().try_for_each(Trace::look_at_everybody)?;
        self.checks.as_ref().map_or(Ok(()), Checks::look_at_everybody)
    }

    /// Waits for work. fanotify is not listened to while its events gather.
    fn wait(&self) -> spec::Result<Work> {
        let left = self.rests.and_then(|since| GATHERING.checked_sub(since.elapsed()));
        let events = if left.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let opens = self.trace.as_ref().map_or(self.orders.as_fd(), AsFd::as_fd);
        let queue = self.fanotify.as_ref().map_or(self.orders.as_fd(), AsFd::as_fd);
        let mut fds = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::from_borrowed_fd(queue, events),
            PollFd::from_borrowed_fd(opens, PollFlags::IN),
            PollFd::new(&self.orders, PollFlags::IN),
        ];
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(broken("waiting for events", error.into())),
        }
        let [call, events, opens, order] = fds.map(|fd| fd.revents());
        Ok(Work {
            call: call.contains(PollFlags::IN),
            events: self.fanotify.is_some() && events.contains(PollFlags::IN),
            opens: self.trace.is_some() && opens.contains(PollFlags::IN),
            gone: call.intersects(PollFlags::HUP | PollFlags::ERR),
            order: !order.is_empty(),
        })
    }

    /// Reads all queues to their end, before something changes what they mean.
    pub(crate) fn drain(&mut self) -> spec::Result<()> {
        self.some_opens()?;
        while self.some_events()? {}
        Ok(())
    }

    pub(crate) fn note(&mut self, path: &RootPath, how: Use, by: Option<Program>) {
        self.record.note(path, how, by, self.stage);
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

/// Orders: the stages by number, and the end.
pub(crate) const START: u8 = 0;
pub(crate) const EXERCISE: u8 = 1;
pub(crate) const STOP: u8 = 2;
pub(crate) const END: u8 = 3;

/// How the run's owner tells the serving thread what it wants. Only the last order counts.
#[derive(Debug)]
pub(crate) struct Orders {
    last: Arc<AtomicU8>,
    bell: OwnedFd,
}

impl Orders {
    /// A channel whose first order is the stage of the start.
    pub(crate) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { last: Arc::new(AtomicU8::new(START)), bell })
    }

    /// The other end.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { last: self.last.clone(), bell: self.bell.try_clone()? })
    }

    pub(crate) fn give(&self, order: u8) -> std::io::Result<()> {
        self.last.store(order, Ordering::SeqCst);
        rustix::io::write(&self.bell, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn take(&self) -> u8 {
        // Nothing to read means that the order before was taken along.
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        self.last.load(Ordering::SeqCst)
    }
}

impl AsFd for Orders {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Whether `fd` refers to the same directory as the home root, by the same mount.
pub(crate) fn is_home(home: &Meta, root: impl AsFd) -> bool {
    Meta::of(root).is_ok_and(|meta| meta.mount == home.mount && meta.same_file(home))
}
