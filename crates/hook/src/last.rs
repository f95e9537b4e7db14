//! The last hooks of a container: its keeper has ended, and nobody waits for them.

use std::io::Read;

use spec::{Result, ResultExt};

/// More than any container's hooks can be.
const MOST: u64 = 16 << 20;

/// Runs the mode.
pub(crate) fn run() -> Result<()> {
    crate::fire::leave_directory();
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(MOST)
        .read_to_end(&mut text)
        .doing(|| "reading what hooks are left to do")?;
    // In a session of its own: whoever ends the keeper's does not mean this.
    let _ = rustix::process::setsid();
    lifecycle::hooks::do_left(&text)
}
