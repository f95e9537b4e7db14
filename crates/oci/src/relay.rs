//! Between our own standard input and output and the terminal of a process.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use spec::{Result, ResultExt};

/// As much at once.
const PIECE: usize = 16 << 10;

/// The master side.
pub(crate) struct Relay {
    master: OwnedFd,
    input: bool,
    open: bool,
}

impl Relay {
    /// Over a terminal.
    pub(crate) fn new(master: OwnedFd) -> Self {
        Self { master, input: true, open: true }
    }

    /// Whether ours may still go there.
    pub(crate) fn takes_input(&self) -> bool {
        self.input
    }

    /// Whether somebody may still write there.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// As large as ours.
    pub(crate) fn resize(&self) {
        if let Some((rows, columns)) = lifecycle::terminal::size() {
            // A terminal that is gone has no size.
            let _ = sys::pty::resize(&self.master, rows, columns);
        }
    }

    /// One piece each way, where there is some.
    ///
    /// # Errors
    /// Output that can go nowhere.
    pub(crate) fn pass(&mut self, input: bool, output: bool) -> Result<()> {
        let mut bytes = [0; PIECE];
        if input {
            match rustix::io::read(std::io::stdin(), &mut bytes) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(0) | Err(_) => self.input = false,
                Ok(count) => self.type_in(&bytes[..count]),
            }
        }
        if output { self.show(&mut bytes) } else { Ok(()) }
    }

    fn type_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                // Nobody reads there any more.
                Err(_) => {
                    self.input = false;
                    return;
                }
            }
        }
    }

    fn show(&mut self, bytes: &mut [u8]) -> Result<()> {
        match rustix::io::read(&self.master, &mut *bytes) {
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            // EIO: nobody has it open any more.
            Ok(0) | Err(_) => {
                self.open = false;
                Ok(())
            }
            Ok(count) => {
                let mut out = std::io::stdout();
                out.write_all(&bytes[..count]).and_then(|()| out.flush()).doing(|| "writing output")
            }
        }
    }

    /// What was written before the end. Whoever still has the terminal open is not waited for.
    ///
    /// # Errors
    /// Output that can go nowhere.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let mut bytes = [0; PIECE];
        rustix::io::ioctl_fionbio(&self.master, true)
            .map_err(std::io::Error::from)
            .doing(|| "reading output")?;
        while self.open {
            match rustix::io::ioctl_fionread(&self.master) {
                Ok(1..) => self.show(&mut bytes)?,
                _ => break,
            }
        }
        Ok(())
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}
