//! A process that does not get on with its start. Whoever makes it does other things too, and waits
//! for a limited time only.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

/// How long a process may take to its gate, and again from there to its program, unless something
/// else is said: a disk that wakes up, and a machine that has much to do, are waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long one that was killed may take to end.
const END: Duration = Duration::from_secs(1);

/// Returns when something can be read from `channel`, or nothing ever will be.
///
/// # Errors
/// When that takes longer than `patience`: where the process `pid`, which is to write there, hangs.
pub(crate) fn wait(channel: BorrowedFd<'_>, patience: Duration, pid: i32, before: &str) -> Result<()> {
    if comes_within(channel, patience).doing(|| "listening to the new process")? {
        return Ok(());
    }
    let seconds = patience.as_secs_f32();
    let message = format!("the new process hangs {before}: {seconds} s have passed{}", place(pid));
    Err(Error::internal(message)
        .hint("a file system that does not answer, or frozen control groups, may hold it; try again"))
}

/// Kills a process that hangs; false if the kernel does not let it end, for what holds it.
pub(crate) fn end(pidfd: BorrowedFd<'_>) -> bool {
    // Whether it has ended is seen by waiting.
    let _ = sys::process::send_signal(pidfd, 9);
    comes_within(pidfd, END).unwrap_or(false)
}

/// Whether something can be read from `fd`, or nothing ever will be, within that time.
pub fn comes_within(fd: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        let left = time.saturating_sub(begun.elapsed());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled? > 0),
        }
    }
}

/// What of the kernel it waits in, as far as that can be seen.
fn place(pid: i32) -> String {
    // An init waits for the one that goes on with the start.
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pid = children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(pid);
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let call = read("syscall").split_whitespace().next().map(|number| format!(", in system call {number}"));
    let function = Some(read("wchan")).filter(|name| !name.is_empty() && name != "0");
    let function = function.map(|name| format!(", waiting in {name}"));
    format!("{}{}", call.unwrap_or_default(), function.unwrap_or_default())
}
