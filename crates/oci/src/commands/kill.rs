//! `tsubo-oci kill`: a signal to a container.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use spec::oci::Status;
use spec::{Error, Result};

use crate::cli::{Context, Verb};
use crate::container::{Container, not_running};
use crate::line::{Line, Reach, switch};
use crate::rootless;

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "kill",
    words: "ID [SIGNAL]",
    about: "Send a signal (TERM) to a container's first process",
    flags: &[switch("all", Some('a'), "send it to every process of the container")],
    reach: Reach::All,
    example: "  tsubo-oci kill web\n  tsubo-oci kill --all web KILL",
    run,
};

const KILL: i32 = 9;

fn run(context: &Context, line: &Line) -> Result<u8> {
    let (id, signal) = match line.words.as_slice() {
        [id] => (id, 15),
        [id, signal] => (id, spec::signal::parse(signal)?),
        [] => return Err(Error::user("the id of a container is missing")),
        [_, _, more, ..] => return Err(Error::user(format!("{more:?} is one word too many"))),
    };
    let container = Container::open(&context.home, id)?;
    rootless::join(&container.record)?;
    if line.on("all") {
        return all(&container, signal).map(|()| 0);
    }
    let first = container.running()?;
    match sys::process::send_signal(first.as_fd(), signal) {
        Err(Errno::SRCH) => Err(Error::conflict("os: process already finished")),
        Err(error) => Err(Error::io(format!("sending signal {signal}"), error.into())),
        Ok(()) => {
            if signal == KILL && container.status()? == Status::Paused {
                // What version 1 holds would not die before it is let go.
                container.record.groups.group().thaw()?;
            }
            Ok(0)
        }
    }
}

/// Those that have ended need none; a container that has stopped may have left some.
fn all(container: &Container, signal: i32) -> Result<()> {
    let groups = &container.record.groups;
    if groups.is_empty() {
        let first = container.init().ok_or_else(not_running)?;
        let sent = sys::process::send_signal(first.as_fd(), signal);
        return sent.map_err(|error| Error::io(format!("sending signal {signal}"), error.into()));
    }
    for pid in groups.processes() {
        let Some(number) = Pid::from_raw(pid) else { continue };
        let Ok(process) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { continue };
        // Looked at again while it is held: the number may have been another's before.
        if groups.processes().contains(&pid) {
            let _ = sys::process::send_signal(process.as_fd(), signal);
        }
    }
    if signal == KILL && groups.is_frozen() { groups.group().thaw() } else { Ok(()) }
}
