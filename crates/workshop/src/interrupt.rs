//! ^C and its relatives, noticed between two steps so that everything made is unmade.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use spec::{Error, ErrorKind, Result, ResultExt};

/// The last signal that came, for the end of the process.
static LAST: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Whether the user asked to stop, and by which signal.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP of this process.
    ///
    /// # Errors
    /// When the kernel refuses the handlers.
    pub fn install() -> Result<Self> {
        let asked = Arc::new(AtomicUsize::new(0));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            for place in [&asked, &*LAST] {
                signal_hook::flag::register_usize(signal, Arc::clone(place), signal.unsigned_abs() as usize)
                    .doing(|| "installing a signal handler")?;
            }
        }
        Ok(Self(asked))
    }

    /// The signal by which it was asked, if it was, and forgets it: the caller acts on it.
    pub fn take(&self) -> Option<i32> {
        number(self.0.swap(0, Ordering::Relaxed))
    }

    /// An error if it was asked.
    ///
    /// # Errors
    /// Interrupted.
    pub fn check(&self) -> Result<()> {
        match number(self.0.load(Ordering::Relaxed)) {
            Some(_) => {
                Err(Error::new(ErrorKind::Interrupted, "interrupted; what was half done has been undone"))
            }
            None => Ok(()),
        }
    }
}

/// Ends this process by the signal that interrupted it, when all is undone: a shell that runs a
/// script must see that it was a signal, or goes on with the next line. Returns if there was none.
pub fn end_as_asked() {
    if let Some(signal) = number(LAST.load(Ordering::Relaxed)) {
        // If that fails, the exit code has to tell.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

fn number(signal: usize) -> Option<i32> {
    i32::try_from(signal).ok().filter(|signal| *signal > 0)
}
