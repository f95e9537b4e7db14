//! From a bundle to a process that waits for its start, or runs already.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lifecycle::Pinned;
use runtime::{Child, EarlyNetwork, Options, Stdio, Waiting};
use rustix::fs::{CWD, Mode};
use spec::container::{Namespace, RootChange, Spec};
use spec::oci::{Bundle, Status};
use spec::{Error, Result, ResultExt};

use crate::cli::Context;
use crate::container::Lock;
use crate::groups::{Groups, Spot};
use crate::home::Id;
use crate::line::{Flag, Line, switch, value};
use crate::record::{Claim, LATCH, REPORT, Record};
use crate::{bundle, console, finish, foreground, hooks, listener, net_devices, pid_file, program, rootless};

/// Options of everything that starts a container.
pub(crate) const BUNDLE: Flag = value("bundle", Some('b'), "DIR", "the bundle's directory (where we are)");
/// Likewise, and of processes that join.
pub(crate) const CONSOLE: Flag =
    value("console-socket", None, "SOCKET", "send the master side of the terminal there");
/// Likewise.
pub(crate) const PID_FILE: Flag = value("pid-file", None, "FILE", "write the process's number there");
/// Likewise.
pub(crate) const PRESERVE: Flag =
    value("preserve-fds", None, "N", "pass N more descriptors on, from 3 on, besides those of LISTEN_FDS");
/// Likewise.
pub(crate) const NO_PIVOT: Flag = switch("no-pivot", None, "move the root instead of pivoting to it");
/// Likewise.
pub(crate) const NO_KEYRING: Flag = switch("no-new-keyring", None, "keep the caller's session keyring");

/// What a command line says about a start.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: Id,
    directory: PathBuf,
    pub(crate) console: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve: u32,
    listened: u32,
    no_pivot: bool,
    no_keyring: bool,
    /// Nobody stays with it.
    pub(crate) alone: bool,
}

impl Wanted {
    /// Reads it.
    ///
    /// # Errors
    /// What makes no sense.
    pub(crate) fn read(line: &Line, alone: bool) -> Result<Self> {
        let listened = listened();
        Ok(Self {
            id: Id::parse(line.only_id()?)?,
            directory: bundle::find(line.text("bundle"))?,
            console: pid_file::asked(line.text("console-socket")),
            pid_file: pid_file::asked(line.text("pid-file")),
            preserve: listened + line.number::<u32>("preserve-fds")?.unwrap_or(0),
            listened,
            no_pivot: line.on("no-pivot"),
            no_keyring: line.on("no-new-keyring"),
            alone,
        })
    }

    /// Before anything is made.
    fn check(&self, bundle: &Bundle) -> Result<()> {
        check_console(bundle.spec.process.terminal, self.alone, self.console.as_deref())
    }

    fn apply(&self, bundle: &mut Bundle) {
        let spec = &mut bundle.spec;
        if self.no_pivot && spec.root_change == RootChange::Pivot {
            spec.root_change = RootChange::Chroot;
        }
        spec.process.keyring &= !self.no_keyring;
        if self.listened > 0 {
            spec.process.env.retain(|entry| !entry.starts_with("LISTEN_"));
            spec.process.env.extend([format!("LISTEN_FDS={}", self.listened), "LISTEN_PID=1".to_owned()]);
        }
    }
}

/// Descriptors that systemd has opened for us, and so for the container.
pub(crate) fn listened() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A terminal needs somebody who holds it. (The words are runc's.)
///
/// # Errors
/// Where there is nobody, or nothing to be held.
pub(crate) fn check_console(terminal: bool, alone: bool, socket: Option<&Path>) -> Result<()> {
    match (terminal, alone, socket) {
        (true, true, None) => {
            Err(Error::user("cannot allocate tty if tsubo-oci will detach without setting console socket")
                .hint("--console-socket SOCKET, or process.terminal = false"))
        }
        (false, _, Some(_)) | (_, false, Some(_)) => {
            Err(Error::user("cannot use console socket if tsubo-oci will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}

/// A container whose process is there.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) record: Record,
    pub(crate) child: Child,
    /// Who stays with it relays this.
    pub(crate) terminal: Option<OwnedFd>,
    _lock: Lock,
}

/// How far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upto {
    /// It waits at its latch.
    Latch,
    /// Its program runs.
    Program,
}

/// Makes a container. If that fails nothing of it is left.
///
/// # Errors
/// Whatever keeps it from being made.
pub(crate) fn begin(context: &Context, wanted: &Wanted, upto: Upto) -> Result<Begun> {
    let mut bundle = bundle::read(&wanted.directory, &wanted.id)?;
    bundle.notes.iter().for_each(|note| context.log.warning(note));
    wanted.check(&bundle)?;
    wanted.apply(&mut bundle);
    let id = wanted.id.as_str();
    let path = bundle.cgroups_path.clone();
    let spot = Spot::find(path.as_deref(), id, context.systemd, &bundle.resources)?;
    let rootless = rootless::enter(&mut bundle)?;
    let claim = Claim { cgroups_path: path.clone(), systemd: context.systemd, missing: spot.missing() };
    let network = network(&bundle.spec);
    let place = context.home.claim(&wanted.id)?;
    let lost = || Error::conflict("the container was removed while it was made");
    let lock = Lock::take(&place)?.ok_or_else(lost)?;
    let mut record = Record {
        id: id.to_owned(),
        directory: wanted.directory.clone(),
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::getuid().as_raw(),
        init: None,
        restored: false,
        rootless,
        groups: Groups::default(),
        bundle,
    };
    context.log.debug(&format!("making container {id} of the bundle {}", wanted.directory.display()));
    let made = claim.write(&place).and_then(|()| {
        record.groups = Groups::make(&spot, path.as_deref(), &record.bundle.resources)?;
        start(wanted, &mut record, &place, network, upto)
    });
    match made {
        Ok((child, terminal)) => Ok(Begun { record, child, terminal, _lock: lock }),
        Err(error) => {
            // The first failure is the one to tell.
            if let Err(left) = finish::destroy(context, &wanted.id, &record) {
                context.log.warning(&format!("removing what was made: {}", left.chain()));
            }
            Err(error)
        }
    }
}

/// Begun while groups and state are made. One that an ordinary user makes, or the container's users
/// own, is made with its process.
fn network(spec: &Spec) -> Option<EarlyNetwork> {
    let root = rustix::process::geteuid().is_root();
    if root && spec.users.is_none() && spec.owns(Namespace::Net) { EarlyNetwork::begin() } else { None }
}

fn start(
    wanted: &Wanted,
    record: &mut Record,
    place: &Path,
    network: Option<EarlyNetwork>,
    upto: Upto,
) -> Result<(Child, Option<OwnedFd>)> {
    let plan = spec::plan::plan(&record.bundle.spec);
    let mut options = Options::new(Stdio::inherit()?);
    options.network = network;
    options.preserve = wanted.preserve;
    // Nobody else would end what we stay with.
    options.die_with_parent = !wanted.alone;
    record.groups.admit(&mut options.cgroup_tasks, &mut options.cgroup_v2)?;
    record.groups.delegate(&record.bundle)?;
    if upto == Upto::Latch {
        options.latch = Some(gate(place, LATCH)?);
        options.report = Some(gate(place, REPORT)?);
    }
    let early = record.bundle.hooks.before_the_root_changes() || !record.bundle.net_devices.is_empty();
    // They run while it waits; what they are told is known by then.
    let hooked = record.bundle.spec.waits.then(|| record.clone());
    let mut act = |pid: i32| match &hooked {
        Some(record) => before_the_root_changes(record, pid),
        None => Ok(()),
    };
    if hooked.is_some() {
        options.waiting = Some(Waiting(&mut act));
    }
    let late = !record.bundle.hooks.start_container.is_empty()
        || (early && hooked.is_none())
        || record.bundle.listener.is_some();
    let mut terminal = None;
    if upto == Upto::Program && !late {
        let child = runtime::execute(&plan, options, None, |child| {
            terminal = announce(wanted, record, place, child)?;
            Ok(())
        })?;
        return Ok((child, terminal));
    }
    let mut child = runtime::spawn(&plan, options)?;
    if early && hooked.is_none() {
        before_the_root_changes(record, child.pid())?;
    }
    program::check(child.pid(), &record.bundle.spec.process)?;
    let pid = child.pid();
    listener::give(child.listener(), record, pid, Status::Creating)?;
    let terminal = announce(wanted, record, place, &mut child)?;
    if upto == Upto::Program {
        hooks::before_the_program(record, pid)?;
        child.release()?;
    }
    Ok((child, terminal))
}

/// Hooks find the network as the program will.
fn before_the_root_changes(record: &Record, pid: i32) -> Result<()> {
    net_devices::give(&record.bundle.net_devices, pid)?;
    hooks::before_the_root_changes(record, pid)
}

/// What everybody may know of a process once it is there.
fn announce(
    wanted: &Wanted,
    record: &mut Record,
    place: &Path,
    child: &mut Child,
) -> Result<Option<OwnedFd>> {
    record.groups.leave()?;
    record.init = Some(Pinned::of(child.pid())?);
    if !wanted.alone {
        foreground::hold_signals();
    }
    let mut terminal = child.terminal();
    if let (Some(terminal), Some((rows, columns))) = (&terminal, record.bundle.console_size) {
        sys::pty::resize(terminal, rows, columns)
            .map_err(std::io::Error::from)
            .doing(|| "sizing the terminal")?;
    }
    if let (Some(socket), Some(master)) = (&wanted.console, terminal.take_if(|_| wanted.console.is_some())) {
        console::give(master, socket)?;
    }
    record.write(place)?;
    if let Some(path) = &wanted.pid_file {
        pid_file::write(path, child.pid())?;
    }
    Ok(terminal)
}

/// A pipe with a name, open at both ends so that it never ends.
fn gate(place: &Path, name: &str) -> Result<OwnedFd> {
    let path = place.join(name);
    let doing = || format!("making {}", path.display());
    rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o600))
        .map_err(std::io::Error::from)
        .doing(doing)?;
    Ok(File::options().read(true).write(true).open(&path).doing(doing)?.into())
}
