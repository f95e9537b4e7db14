//! `tsubo-oci start`: lets the program of a created container run.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::Errno;
use spec::oci::Status;
use spec::{Error, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::{Container, Lock, missing, word};
use crate::line::{Line, Reach};
use crate::record::{LATCH, REPORT};
use crate::{hooks, rootless};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "start",
    words: "ID",
    about: "Let the program of a created container run",
    flags: &[],
    reach: Reach::All,
    example: "  tsubo-oci start web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let id = line.only_id()?;
    let container = Container::open(&context.home, id)?;
    let record = &container.record;
    // Hooks are processes in the container, and copies of this program until they execute.
    let hooked = !record.bundle.hooks.start_container.is_empty() && !record.rootless;
    if hooked && !runtime::is_out_of_reach(record.bundle.spec.users.as_ref()) {
        runtime::shield()?;
    }
    rootless::join(&container.record)?;
    let lock = Lock::take(&container.place)?.ok_or_else(|| missing(&container.id))?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return Err(Error::conflict("cannot start a container that has stopped")),
        status => {
            return Err(Error::conflict(format!("cannot start an already {} container", word(status))));
        }
    }
    let pid = container.record.init.map_or(0, |init| init.pid);
    let opened = hooks::before_the_program(&container.record, pid).and_then(|()| open(&container));
    if let Err(error) = opened {
        // The specification's way: what cannot be started is ended.
        if let Some(process) = container.init() {
            use std::os::fd::AsFd;
            let _ = sys::process::send_signal(process.as_fd(), 9);
        }
        return Err(error);
    }
    drop(lock);
    hooks::after_the_start(&container.record, &context.log);
    Ok(0)
}

/// Opens the latch and waits until the program is executed, which closes the process's end of the
/// other pipe, or until it says why not.
fn open(container: &Container) -> Result<()> {
    let gone = || Error::conflict("cannot start a container that has stopped");
    let path = |name: &str| container.place.join(name);
    let options = |flags: OFlags| {
        let mut options = File::options();
        options.custom_flags(flags.bits() as i32);
        options
    };
    let open = |name: &str, options: &std::fs::OpenOptions| match options.open(path(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(gone()),
        // Nobody has it open for reading.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Err(gone()),
        opened => opened.doing(|| format!("opening the {name}")),
    };
    let report = open(REPORT, options(OFlags::NONBLOCK).read(true))?;
    let mut latch = open(LATCH, options(OFlags::NONBLOCK).write(true))?;
    // From here on it is known to be started, whatever becomes of us.
    rustix::io::ioctl_fionbio(&report, false).map_err(std::io::Error::from).doing(|| "listening")?;
    latch.write_all(b"1").doing(|| "opening the latch")?;
    let mut told = Vec::new();
    (&report).take(64).read_to_end(&mut told).doing(|| "listening to the container's process")?;
    let plan = spec::plan::plan(&container.record.bundle.spec);
    runtime::explain(&plan, &told).map_or(Ok(()), Err)
}
