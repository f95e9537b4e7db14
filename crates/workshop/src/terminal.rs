//! A person's terminal joined to a container's: raw mode, its size, and the bytes both ways.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lifecycle::terminal::{self, Raw};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::stdio::{stdin, stdout};
use spec::{Result, ResultExt};

/// Whether a person sits at both ends.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Carries bytes between this program's terminal and `master` until `over` says so and nothing
/// is left to read.
///
/// # Errors
/// When the terminal cannot be set up.
pub fn relay(master: &OwnedFd, over: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
    let resized = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register(signal_hook::consts::SIGWINCH, Arc::clone(&resized))
        .doing(|| "watching the window's size")?;
    let _raw = Raw::enter()?;
    let mut typing = true;
    loop {
        if resized.swap(false, Ordering::Relaxed)
            && let Some((rows, columns)) = terminal::size()
        {
            // Cosmetic; a terminal without a size keeps the default.
            let _ = sys::pty::resize(master, rows, columns);
        }
        let input = stdin();
        let mut fds = vec![PollFd::new(master, PollFlags::IN)];
        if typing {
            fds.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        // A resize or another signal ends the poll early; the loop looks at everything again.
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
        let spoken = !fds[0].revents().is_empty();
        let typed = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if typed {
            typing = copy(input, master);
        }
        let open = !spoken || copy(master, stdout());
        if !open || (!spoken && over()?) {
            return Ok(());
        }
    }
}

/// Copies what can be read at once; false at the end. A pty whose other side has closed answers EIO.
fn copy(from: impl AsFd, to: impl AsFd) -> bool {
    let mut buffer = [0; 8192];
    let Ok(count) = read(from, &mut buffer) else { return false };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match write(to.as_fd(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    count > 0
}
