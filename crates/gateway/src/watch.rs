//! Descriptors that the loop waits for besides sockets: the ends of processes, and short times.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor of ours that becomes readable.
pub(crate) struct Watched(AsyncFd<Owned>);

/// It stays open, and the same, for as long as it is registered.
struct Owned(OwnedFd);

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Watched {
    #[expect(
        deprecated,
        reason = "what makes it unsound is a type that says one descriptor today and another tomorrow: ours owns one"
    )]
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        AsyncFd::with_interest(Owned(descriptor), Interest::READABLE).map(Self)
    }

    /// What was seen may not hold any more: whether it can be read at this moment, and the next wait is for what
    /// comes.
    pub(crate) fn look_again(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(mut ready)) = self.0.poll_read_ready(&mut context) {
            ready.clear_ready();
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.0.get_ref().0, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Waits until it can be read; stays so.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut ready| ready.retain_ready())
    }
}

/// A timer finer than that of the loop, which knows milliseconds.
pub(crate) struct Timer(Watched);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Watched::new(timer).map(Self)
    }

    pub(crate) async fn rest(&self, time: Duration) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().max(1).into() },
        };
        let Self(Watched(watched)) = self;
        rustix::time::timerfd_settime(&watched.get_ref().0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = watched.readable().await?;
            let rung = ready.try_io(|timer| Ok(rustix::io::read(&timer.get_ref().0, &mut [0; 8])?));
            match rung {
                Ok(rung) => return rung.map(drop),
                Err(_too_early) => {}
            }
        }
    }
}
