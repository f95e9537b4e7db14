//! Containers of an ordinary user: he enters the user namespace of the bundle himself, before
//! anything else, and is root there. What remains is what root does.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use lifecycle::Pinned;
use spec::container::{IdRange, Namespace};
use spec::oci::Bundle;
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::record::Record;

/// Enters the bundle's users if we are an ordinary user; whether that was so.
///
/// # Errors
/// A bundle without users of its own, and ids that are not ours.
pub(crate) fn enter(bundle: &mut Bundle) -> Result<bool> {
    if rustix::process::geteuid().is_root() {
        return Ok(false);
    }
    let spec = &mut bundle.spec;
    let own = spec.owns(Namespace::User);
    let Some(users) = spec.users.take().filter(|_| own) else {
        return Err(Error::new(ErrorKind::Denied, "an ordinary user's container has users of its own")
            .hint("tsubo-oci spec --rootless writes such a bundle; or run it as root"));
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Born in the namespace that we leave: only from there can ids of others be mapped.
    let mappers = [mapper("newuidmap", &users.uids, uid)?, mapper("newgidmap", &users.gids, gid)?];
    sys::namespace::unshare(sys::namespace::USER | sys::namespace::MOUNT).map_err(|errno| {
        Error::new(ErrorKind::Denied, "this host lets no ordinary user make a user namespace")
            .because(std::io::Error::from(errno))
            .hint("sysctl kernel.unprivileged_userns_clone=1 (on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0)")
    })?;
    let [of_users, of_groups] = mappers;
    finish(of_users, "uid_map", &users.uids)?;
    finish(of_groups, "gid_map", &users.gids)?;
    // All that follows is made by its root.
    spec.namespaces.remove(&Namespace::User);
    Ok(true)
}

/// Enters the users of a container that runs, if it was made so and we are not root.
///
/// # Errors
/// Where it is another user's.
pub(crate) fn join(record: &Record) -> Result<()> {
    if !record.rootless || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // One that has ended has nothing to be entered.
    let Some(process) = record.init.and_then(Pinned::open) else { return Ok(()) };
    let namespaces = sys::namespace::USER;
    let entered = sys::namespace::enter(process.as_fd(), namespaces).map_err(std::io::Error::from);
    entered.doing(|| "entering the users of the container")
}

/// None where we map nobody but ourselves, which takes no help.
fn mapper(program: &str, ranges: &[IdRange], own: u32) -> Result<Option<Child>> {
    if matches!(ranges, [range] if range.host == own && range.count == 1) {
        return Ok(None);
    }
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.host, range.count]);
    let child = Command::new("/bin/sh")
        .args(["-c", "read pid && exec \"$0\" \"$pid\" \"$@\"", program])
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    child.doing(|| format!("starting {program}")).map(Some)
}

fn finish(mapper: Option<Child>, file: &str, ranges: &[IdRange]) -> Result<()> {
    let path = format!("/proc/self/{file}");
    let Some(mut mapper) = mapper else {
        if file == "gid_map" {
            fs::write("/proc/self/setgroups", "deny").doing(|| "writing /proc/self/setgroups")?;
        }
        let lines = ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.host, range.count));
        return fs::write(&path, lines.collect::<String>()).doing(|| format!("writing {path}"));
    };
    if let Some(mut input) = mapper.stdin.take() {
        // If it is gone already, how it ended says more.
        let _ = writeln!(input, "{}", std::process::id());
    }
    let ended = mapper.wait_with_output().doing(|| "waiting for who maps our ids")?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(Error::unsupported(format!("the ids of the bundle are not mapped: {said}"))
        .hint("they must be in /etc/subuid and /etc/subgid, and newuidmap be installed (package uidmap)"))
}
