//! Devices, and what every `/dev` has.

use super::written::Device;
use super::{absolute, bad, inside};
use crate::Result;
use crate::RootPath;
use crate::container::{Made, MountKind, NodeKind, Source, Spec};

/// What every container finds in its `/dev`.
const USUAL: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Devices are made in the root file system. A `/dev` of the host's is left as it is; without a mount
/// namespace so is everything.
pub(super) fn devices(spec: &mut Spec, written: &[Device]) -> Result<()> {
    let mut listed = Vec::new();
    for (index, device) in written.iter().enumerate() {
        listed.push(node(&format!("linux.devices[{index}]"), device)?);
    }
    if !spec.owns(crate::container::Namespace::Mount) || shows_hosts_dev(spec) {
        return Ok(());
    }
    let there = |at: &RootPath, listed: &[Made]| {
        listed.iter().any(|made| matches!(made, Made::Node { at: other, .. } if other == at))
    };
    for (path, major, minor) in USUAL {
        let at = known(path);
        if !there(&at, &listed) {
            let kind = NodeKind::Character(major, minor);
            spec.made.push(Made::Node { at, kind, mode: 0o666, uid: 0, gid: 0 });
        }
    }
    spec.made.append(&mut listed);
    for (at, target) in LINKS {
        spec.made.push(Made::Link { at: known(at), target: target.to_owned() });
    }
    if spec.process.terminal {
        spec.made.push(Made::Console { at: known("/dev/console") });
    }
    Ok(())
}

fn known(path: &str) -> RootPath {
    RootPath::normalise(path.as_bytes()).unwrap_or_else(RootPath::root)
}

fn shows_hosts_dev(spec: &Spec) -> bool {
    let dev = known("/dev");
    spec.mounts.iter().any(|mount| {
        let bound =
            matches!(&mount.what, MountKind::Exact(exact) if matches!(exact.source, Source::Bind { .. }));
        mount.at == dev && bound
    })
}

fn node(place: &str, written: &Device) -> Result<Made> {
    absolute(&format!("{place}.path"), &written.path)?;
    let at = inside(&format!("{place}.path"), &written.path)?;
    if at.is_root() {
        return Err(bad(&format!("{place}.path"), "the root is no device"));
    }
    let number = |name: &str, value: Option<i64>, most: u32| match value.map(u32::try_from) {
        Some(Ok(value)) if value <= most => Ok(value),
        Some(_) => Err(bad(&format!("{place}.{name}"), &format!("it is not between 0 and {most}"))),
        None => Err(bad(&format!("{place}.{name}"), "it is missing")),
    };
    // As the kernel counts them: 12 bits and 20.
    let numbers = || -> Result<(u32, u32)> {
        Ok((number("major", written.major, 0xfff)?, number("minor", written.minor, 0xf_ffff)?))
    };
    let kind = match written.kind.as_str() {
        "c" | "u" => numbers().map(|(major, minor)| NodeKind::Character(major, minor))?,
        "b" => numbers().map(|(major, minor)| NodeKind::Block(major, minor))?,
        "p" => NodeKind::Pipe,
        other => {
            let shown: String = other.chars().take(80).collect();
            let why = format!("{shown:?} is no kind of device");
            return Err(bad(&format!("{place}.type"), &why).hint("there are c, b, u and p"));
        }
    };
    let (uid, gid) = (written.uid.unwrap_or(0), written.gid.unwrap_or(0));
    if uid == u32::MAX || gid == u32::MAX {
        return Err(bad(place, "the owner 4294967295 means nobody to the kernel"));
    }
    // Engines give the bits of the kind along.
    let mode = written.file_mode.unwrap_or(0o666) & 0o7777;
    Ok(Made::Node { at, kind, mode, uid, gid })
}
