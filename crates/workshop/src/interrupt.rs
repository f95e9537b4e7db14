//! ^C and its relatives, noticed between two steps so that everything made is unmade.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spec::{Error, ErrorKind, Result, ResultExt};

/// Whether the user asked to stop.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP of this process.
    ///
    /// # Errors
    /// When the kernel refuses the handlers.
    pub fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&flag)).doing(|| "installing a signal handler")?;
        }
        Ok(Self(flag))
    }

    /// Whether it was asked, and forgets that it was: the caller acts on it.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// An error if it was asked.
    ///
    /// # Errors
    /// Interrupted.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "interrupted; what was half done has been undone",
            ));
        }
        Ok(())
    }
}
