//! Which instruments this host permits.

use sys::fanotify::Fanotify;

use crate::trace::Trace;
use crate::{Opens, Settings};

/// The quickest complete set of instruments that works here, and, where it is not the quickest of
/// all, why not.
pub fn best() -> (Settings, Option<String>) {
    if let Err(error) = Fanotify::new() {
        let reason = format!("fanotify cannot be used ({error}), so every open is trapped");
        return (Settings { opens: Opens::Listener }, Some(reason));
    }
    match Trace::start(rustix::process::getpid().as_raw_nonzero().get()) {
        Ok(_) => (Settings { opens: Opens::Fanotify }, None),
        Err(error) => {
            let reason = format!("eBPF cannot be used ({error}), so every open is trapped");
            (Settings { opens: Opens::Listener }, Some(reason))
        }
    }
}
