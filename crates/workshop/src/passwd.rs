//! Users of a container, looked up in its own files and never through the host's name service.

use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use spec::portable::Ids;
use spec::{Error, Result};

/// The largest passwd or group file that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// Finds `USER[:GROUP]` (names or numbers) in the files below `root`.
///
/// # Errors
/// An unknown name, or a number that is no id.
pub fn look_up(root: &Path, user: &str) -> Result<Ids> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let passwd = read(root, "etc/passwd");
    let groups = read(root, "etc/group");
    let known =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == user);
    let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
    let (uid, gid) = match (&known, id(user)) {
        (Some(fields), _) => (number(fields.get(2)), number(fields.get(3))),
        (None, Some(uid)) => (Some(uid), Some(primary_group(&passwd, uid))),
        (None, None) => (None, None),
    };
    let unknown = || {
        Error::user(format!("there is no user {user:?} in the container's /etc/passwd"))
            .hint("use a name from that file, or a number below 4294967295")
    };
    let uid = uid.ok_or_else(unknown)?;
    let name = known.map_or_else(|| user_name(&passwd, uid), |fields| fields[0].to_owned());
    let mut ids = Ids { uid, gid: gid.unwrap_or(0), groups: memberships(&groups, &name) };
    if let Some(group) = group {
        let named =
            groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == group);
        let gid = named.and_then(|fields| number(fields.get(2))).or_else(|| id(group));
        ids.gid = gid.ok_or_else(|| {
            Error::user(format!("there is no group {group:?} in the container's /etc/group"))
        })?;
    }
    Ok(ids)
}

/// The home directory of a user, `/` if the container's /etc/passwd has none.
pub fn home(root: &Path, uid: u32) -> String {
    let home =
        line_of(&read(root, "etc/passwd"), uid).and_then(|fields| fields.get(5).map(|&home| home.to_owned()));
    home.filter(|home| home.starts_with('/')).unwrap_or_else(|| "/".to_owned())
}

/// A number that can be an id: the last one means "no change" to the kernel (CVE-2024-40635).
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id < u32::MAX)
}

fn primary_group(passwd: &str, uid: u32) -> u32 {
    line_of(passwd, uid).and_then(|fields| fields.get(3)?.parse().ok()).unwrap_or(0)
}

fn user_name(passwd: &str, uid: u32) -> String {
    line_of(passwd, uid).map(|fields| fields[0].to_owned()).unwrap_or_default()
}

fn line_of(passwd: &str, uid: u32) -> Option<Vec<&str>> {
    let uid = uid.to_string();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
}

/// The groups that list `name` as a member.
fn memberships(groups: &str, name: &str) -> Vec<u32> {
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let member = |fields: &Vec<&str>| {
        !name.is_empty() && fields.get(3).is_some_and(|list| list.split(',').any(|one| one.trim() == name))
    };
    fields.filter(member).filter_map(|fields| fields.get(2)?.parse().ok()).collect()
}

/// A small text file below `root`; empty if it is not there or not a regular file (a FIFO in its
/// place must not block us, CVE-2024-9676).
fn read(root: &Path, path: &str) -> String {
    let open = || {
        let root =
            openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
                .ok()?;
        let regular = FileType::from_raw_mode(fstat(&file).ok()?.st_mode) == FileType::RegularFile;
        let mut text = Vec::new();
        std::fs::File::from(file).take(LIMIT).read_to_end(&mut text).ok()?;
        regular.then(|| String::from_utf8_lossy(&text).into_owned())
    };
    open().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("etc")).expect("etc");
        std::fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\n",
        )
        .expect("passwd");
        std::fs::write(dir.path().join("etc/group"), "web:x:34:\nlog:x:4:adm,web\n").expect("group");
        dir
    }

    #[test]
    fn names_and_numbers() {
        let root = root();
        let web = Ids { uid: 33, gid: 34, groups: vec![4] };
        assert_eq!(look_up(root.path(), "web").expect("web"), web);
        assert_eq!(look_up(root.path(), "33").expect("33"), web);
        assert_eq!(look_up(root.path(), "web:log").expect("group").gid, 4);
        assert_eq!(
            look_up(root.path(), "1234:5").expect("numbers"),
            Ids { uid: 1234, gid: 5, groups: vec![] }
        );
        assert_eq!((home(root.path(), 0).as_str(), home(root.path(), 7).as_str()), ("/root", "/"));
        for bad in ["nobody", "4294967296", "4294967295", "-1", "", "web:none"] {
            assert!(look_up(root.path(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fifo_as_passwd_does_not_block() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("etc")).expect("etc");
        rustix::fs::mknodat(CWD, dir.path().join("etc/passwd"), FileType::Fifo, Mode::RUSR, 0).expect("fifo");
        assert!(look_up(dir.path(), "root").is_err());
    }
}
