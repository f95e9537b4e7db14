//! Which file systems of the host make up its root, as seen by a development container.
//!
//! An overlay does not cross mount points, so a separate /usr or /var becomes a layer of its own.

use std::path::{Path, PathBuf};

use spec::RootPath;

/// Top-level directories of the host that a development container sees. Everything else there
/// (home directories, data of unknown kind) is the host's own business.
pub const SHOWN: [&str; 13] =
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32", "usr", "etc", "opt", "srv", "var", "nix"];

/// File systems that hold an operating system's files, as opposed to the kernel's own, the
/// network's and what users mount.
const DISKS: [&str; 13] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs", "erofs",
    "squashfs", "overlay",
];

/// One mount of the host, as a line of proc_pid_mountinfo(5) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// The directory inside its file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: RootPath,
    /// File system type.
    pub kind: String,
}

/// Reads the lines of a mountinfo file; lines that make no sense are passed over.
pub fn parse_mountinfo(text: &[u8]) -> Vec<HostMount> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<HostMount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let root = unescape(fields.get(3)?);
    Some(HostMount {
        root: PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(root)),
        point: RootPath::strict(&unescape(fields.get(4)?))?,
        kind: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
    })
}

/// Undoes the kernel's `\040` escapes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| first == b'\\' && digits.iter().all(u8::is_ascii_digit));
        if let Some(digits) = octal {
            out.push(digits.iter().fold(0_u8, |sum, digit| sum.wrapping_mul(8).wrapping_add(digit - b'0')));
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// The mount points that become layers: `/` first, then the host's own separate file systems
/// below the directories that are shown, outermost first. Binds of single files or directories
/// (other people's doing) are not followed: what lies below them shows.
pub fn layers(mounts: &[HostMount]) -> Vec<RootPath> {
    let mut points = vec![RootPath::root()];
    let whole = |mount: &&HostMount| {
        let subvolume = mount.kind == "btrfs" || mount.kind == "overlay" || mount.kind == "zfs";
        mount.root == Path::new("/") || subvolume
    };
    let own = mounts.iter().filter(|mount| DISKS.contains(&mount.kind.as_str())).filter(whole);
    let mut below: Vec<RootPath> = own.map(|mount| mount.point.clone()).filter(is_shown).collect();
    below.sort();
    below.dedup();
    points.extend(below);
    points
}

/// Whether `point` lies in a part of the host that development containers see and that is not
/// another engine's state.
fn is_shown(point: &RootPath) -> bool {
    let first = point.as_bytes().split(|b| *b == b'/').nth(1).unwrap_or_default();
    let state = super::curtain::ENGINES
        .iter()
        .any(|dir| dir.parse::<RootPath>().is_ok_and(|dir| point.is_within(&dir)));
    !point.is_root() && !state && SHOWN.iter().any(|name| name.as_bytes() == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 8:2 / /usr rw,relatime shared:1 - ext4 /dev/sda2 rw
24 22 8:3 / /var rw - xfs /dev/sda3 rw
25 24 8:3 /x /var/lib/docker/overlay2/a rw - overlay overlay rw
26 22 0:5 / /dev rw - devtmpfs d rw
27 22 8:4 / /home rw - ext4 /dev/sda4 rw
28 22 0:9 / /srv/nfs rw - nfs4 server:/x rw
29 22 8:1 /data/hosts /etc/hosts rw - ext4 /dev/sda1 rw
30 22 8:5 / /opt/my\\040apps rw - ext4 /dev/sda5 rw
";

    #[test]
    fn separate_file_systems_of_the_system_become_layers() {
        let points: Vec<String> = layers(&parse_mountinfo(INFO)).iter().map(ToString::to_string).collect();
        assert_eq!(points, ["/", "/opt/my apps", "/usr", "/var"]);
    }

    #[test]
    fn nonsense_lines_are_passed_over() {
        assert!(parse_mountinfo(b"hello\n1 2 3\n\n").is_empty());
    }
}
