//! Landlock rules: what the kernel knows of what is asked, and the rule set but for its paths, which
//! the child opens in its own root.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use spec::container::Landlock;
use spec::{Error, Result, ResultExt, RootPath};
use sys::landlock::{
    BIND_TCP, CONNECT_TCP, EXECUTE, IOCTL_DEV, MAKE_DIR, MAKE_FIFO, MAKE_REG, MAKE_SOCK, MAKE_SYM, READ_DIR,
    READ_FILE, REFER, REMOVE_DIR, REMOVE_FILE, TRUNCATE, WRITE_FILE,
};

use super::{Op, above_standard, c_path};

/// A rule set and the paths that are still to be added to it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) set: OwnedFd,
    pub(crate) paths: Vec<Allowed>,
}

/// Rights on what lies below a path.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub(crate) path: CString,
    pub(crate) rights: u64,
}

const READ: u64 = READ_FILE | READ_DIR;
/// Device nodes are not among what may be made.
const WRITE: u64 = READ
    | WRITE_FILE
    | TRUNCATE
    | IOCTL_DEV
    | REFER
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM;

/// Makes the rule set, as strict as this kernel can.
pub(super) fn prepare(rules: &Landlock) -> Result<Op> {
    let abi = abi()?;
    let known = sys::landlock::known(abi);
    let restricts_files = paths(rules).next().is_some();
    let files = if restricts_files { known } else { 0 };
    let ports = ports(rules, abi)?;
    if files == 0 && ports == 0 {
        return Err(
            Error::user("landlock: nothing is listed").hint("list what may be used, or leave landlock out")
        );
    }
    let set = sys::landlock::create(files, ports).map_err(std::io::Error::from);
    let set = above_standard(set.doing(|| "making a Landlock rule set")?)?;
    for (list, right) in [(&rules.bind_tcp, BIND_TCP), (&rules.connect_tcp, CONNECT_TCP)] {
        allow(&set, list, right)?;
    }
    let paths = paths(rules)
        .map(|(path, rights)| Ok(Allowed { path: c_path(path.relative())?, rights: rights & known }));
    Ok(Op::Landlock(Rules { set, paths: paths.collect::<Result<_>>()? }))
}

fn abi() -> Result<u32> {
    sys::landlock::abi().map_err(|error| {
        let why = match error {
            Errno::NOSYS => "this kernel has no Landlock",
            Errno::OPNOTSUPP => "Landlock is not active on this host (the kernel's parameter lsm=)",
            _ => "Landlock does not answer",
        };
        Error::unsupported(why).because(std::io::Error::from(error)).hint("leave landlock out")
    })
}

fn ports(rules: &Landlock, abi: u32) -> Result<u64> {
    let bit = |list: &BTreeSet<u16>, right| if list.is_empty() { 0 } else { right };
    let ports = bit(&rules.bind_tcp, BIND_TCP) | bit(&rules.connect_tcp, CONNECT_TCP);
    if ports != 0 && abi < 4 {
        return Err(Error::unsupported(format!(
            "Landlock knows ports from its version 4 on (Linux 6.7), and this kernel has version {abi}"
        ))
        .hint("leave bind_tcp and connect_tcp out"));
    }
    Ok(ports)
}

fn allow(set: &OwnedFd, ports: &BTreeSet<u16>, right: u64) -> Result<()> {
    for port in ports {
        let added = sys::landlock::allow_port(set.as_fd(), *port, right).map_err(std::io::Error::from);
        added.doing(|| format!("allowing port {port}"))?;
    }
    Ok(())
}

/// The paths in the order in which the child opens them: a failure tells the position.
pub(crate) fn paths(rules: &Landlock) -> impl Iterator<Item = (&RootPath, u64)> {
    let with = |list: &'static u64| move |path| (path, *list);
    let read = rules.read.iter().map(with(&READ));
    let write = rules.write.iter().map(with(&WRITE));
    read.chain(write).chain(rules.execute.iter().map(with(&(READ | EXECUTE))))
}
