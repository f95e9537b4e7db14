//! Whether the host can still make one itself, while the container holds all that it got.

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;
use sys::attack::{
    asynchronous, bound_child, key, message_queue, no_message_queue, no_semaphores, posix_queue, semaphores,
};
use sys::process::reap;

use crate::attack::Thing;

/// Tries it in a process of its own, so that nothing stays.
///
/// # Errors
/// Why the host cannot.
pub fn spared(thing: Thing) -> Result<(), Errno> {
    let child = bound_child(10, || make(thing).map_or_else(Errno::raw_os_error, |()| 0))?;
    match reap(child, true)? {
        Some((_, 0)) => Ok(()),
        Some((_, code)) => Err(Errno::from_raw_os_error(code)),
        None => Err(Errno::CHILD),
    }
}

fn make(thing: Thing) -> Result<(), Errno> {
    match thing {
        // This one is it.
        Thing::Process => Ok(()),
        Thing::File => rustix::pipe::pipe().map(drop),
        Thing::Inotify => init(CreateFlags::CLOEXEC).map(drop),
        Thing::Watch => {
            init(CreateFlags::CLOEXEC).and_then(|set| add_watch(&set, "/", WatchFlags::OPEN)).map(drop)
        }
        Thing::Terminal => sys::pty::open(None).map(drop),
        Thing::Key => key(0, b"canary"),
        Thing::Queue => posix_queue(),
        Thing::Messages => message_queue().map(no_message_queue),
        Thing::Semaphores => semaphores().map(no_semaphores),
        Thing::Asynchronous => asynchronous(1),
        Thing::Port => {
            std::net::TcpListener::bind("127.0.0.1:0").map(drop).map_err(|cause| crate::cell::errno(&cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_at_rest_has_some_of_most() {
        for thing in [Thing::Process, Thing::File, Thing::Terminal, Thing::Messages, Thing::Semaphores] {
            assert_eq!(spared(thing), Ok(()), "{thing:?}");
        }
    }
}
