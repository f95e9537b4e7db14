//! Working as an ordinary user: the whole command moves into a user namespace in which the user is
//! root and his subordinate ids (subuid(5)) are everybody else. Everything below works as for root.
//!
//! What the kernel keeps from a user stays out of reach: control groups without delegation, ports
//! below 1024, watching with fanotify.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use spec::{Error, ErrorKind, Result, ResultExt};

/// Where an ordinary user's containers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootless {
    /// `$XDG_DATA_HOME/tsubo`.
    pub(crate) lib: PathBuf,
    /// `$XDG_RUNTIME_DIR/tsubo`.
    pub(crate) run: PathBuf,
}

/// Moves into a user namespace unless we are root; None for the host's root. Only while there is one
/// thread.
///
/// # Errors
/// Without subordinate ids, without newuidmap, and where the host allows no user namespaces.
pub fn enter() -> Result<Option<Rootless>> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() {
        return Ok(entered_before());
    }
    let own = Rootless::of(uid.as_raw())?;
    let name = user_name(uid.as_raw());
    let uids = subordinate("/etc/subuid", name.as_deref(), uid.as_raw())?;
    let gids = subordinate("/etc/subgid", name.as_deref(), uid.as_raw())?;
    // Born in the namespace that we leave: only from there can ids be mapped.
    let mappers = [mapper("newuidmap", uid.as_raw(), uids)?, mapper("newgidmap", gid.as_raw(), gids)?];
    sys::namespace::unshare(sys::namespace::USER | sys::namespace::MOUNT).map_err(|errno| {
        Error::new(ErrorKind::Denied, "this host lets no ordinary user make a user namespace")
            .because(std::io::Error::from(errno))
            .hint("run it with sudo, or ask for sysctl kernel.unprivileged_userns_clone=1 (on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0)")
    })?;
    for (mapper, program) in mappers.into_iter().zip(["newuidmap", "newgidmap"]) {
        run(mapper, program)?;
    }
    Ok(Some(own))
}

/// Whether there is no need to.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that executes itself again is root by then, but of a namespace in which the host's
/// directories are not root's.
fn entered_before() -> Option<Rootless> {
    if rustix::fs::access("/var/lib", rustix::fs::Access::WRITE_OK).is_ok() {
        return None;
    }
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let host = map.split_whitespace().nth(1)?.parse().ok().filter(|host| *host != 0)?;
    Rootless::of(host).ok()
}

/// Whether our root is not the host's: the kernel's word, wherever we were started.
pub fn inside() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_whole(&map))
}

fn is_whole(map: &str) -> bool {
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

impl Rootless {
    fn of(uid: u32) -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
        let data =
            data.ok_or_else(|| Error::user("neither HOME nor XDG_DATA_HOME says where to keep containers"))?;
        let run = set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/tmp/tsubo-run-{uid}").into());
        Ok(Self { lib: data.join("tsubo"), run: run.join("tsubo") })
    }
}

/// From /etc/passwd alone: a static program asks no name service.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut users = passwd.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The largest range of a user, who may be listed by name or by number.
fn subordinate(file: &str, name: Option<&str>, uid: u32) -> Result<(u32, u32)> {
    let listed = fs::read_to_string(file).unwrap_or_default();
    largest(&listed, name, uid).ok_or_else(|| {
        let user = name.map_or_else(|| uid.to_string(), str::to_owned);
        Error::new(ErrorKind::Denied, format!("user {user} has no subordinate ids in {file}")).hint(format!(
            "let root give some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or run it with sudo"
        ))
    })
}

fn largest(listed: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    let ranges = listed.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (Some(user) == name || user == number).then_some(range)
    });
    ranges.max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0)
}

/// Waits for our pid on its input, then maps: the user is root, the others follow.
fn mapper(program: &str, own: u32, (first, count): (u32, u32)) -> Result<Child> {
    let numbers = [0, own, 1, 1, first, count].map(|number: u32| number.to_string());
    Command::new("/bin/sh")
        .args(["-c", "read pid && exec \"$0\" \"$pid\" \"$@\"", program])
        .args(numbers)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("starting {program}"))
}

fn run(mut mapper: Child, program: &str) -> Result<()> {
    if let Some(mut input) = mapper.stdin.take() {
        // If it is gone already, how it ended says more.
        let _ = writeln!(input, "{}", std::process::id());
    }
    let ended = mapper.wait_with_output().doing(|| format!("waiting for {program}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(Error::unsupported(format!("{program} does not map the user's ids: {said}"))
        .hint("it comes with the package uidmap (Debian, Ubuntu) or shadow-utils, and must be set-uid root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_listed_by_name_or_number() {
        let listed = "eva:100000:65536\n1000:200000:10\neva:300000:70000\nbad\n";
        assert_eq!(largest(listed, Some("eva"), 1001), Some((300_000, 70_000)));
        assert_eq!(largest(listed, None, 1000), Some((200_000, 10)));
        assert_eq!(largest(listed, Some("adam"), 5), None);
    }

    #[test]
    fn only_the_whole_mapping_is_the_hosts() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0       1000          1\n         1     100000      65536\n"));
    }
}
