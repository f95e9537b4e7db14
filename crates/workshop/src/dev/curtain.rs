//! What a development container over the host must not see, as a list of veils.
//!
//! The rule in one sentence: it sees the operating system, not the host's data and secrets. In
//! detail (docs/host-view.md): top-level directories that are not the system's are hidden; logs,
//! spools, temporary and run-time directories are shown empty, with their directories in place;
//! engines' state is hidden; whatever other users of the host may not read is hidden, unless it is
//! a configuration file just as its distribution package shipped it; password hashes are removed.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::{Result, ResultExt, RootPath};

use super::host_layers::SHOWN;
use super::shipped::Shipped;

/// State of container engines and of ourselves; never shown, whoever may read it.
pub const ENGINES: [&str; 14] = [
    "/var/lib/tsubo",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/lib/etcd",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/incus",
    "/var/lib/libvirt",
    "/var/lib/machines",
    "/var/lib/portables",
    "/var/lib/crio",
];

/// Shown with their directories and without their files.
const EMPTIED: [&str; 5] = ["/var/log", "/var/spool", "/var/mail", "/var/backups", "/var/crash"];

/// Shown as empty directories.
const BARE: [&str; 14] = [
    "/home",
    "/root",
    "/boot",
    "/mnt",
    "/media",
    "/tmp",
    "/run",
    "/var/tmp",
    "/var/run",
    "/var/lock",
    "/proc",
    "/sys",
    "/dev",
    "/var/lib/systemd",
];

/// Something that lies over a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Veil {
    /// The path does not exist in the container.
    Hidden,
    /// A directory of the same owner and mode without content.
    Empty,
    /// As `Empty`, with the directories below it in place.
    Emptied,
    /// A file with other content; mode and owner of the host's file, or 0755 root if there is none.
    Replaced(Vec<u8>),
}

/// Computes the veils for the host's root, outermost first. `see` are paths that the user wants
/// shown all the same; `also_hide` are paths such as our own state directory.
///
/// # Errors
/// When a directory of the host cannot be read.
pub fn veils(see: &[RootPath], also_hide: &[RootPath]) -> Result<Vec<(RootPath, Veil)>> {
    let mut found = top_level()?;
    found.extend(EMPTIED.iter().map(|path| (path, Veil::Emptied)).filter_map(existing));
    found.extend(BARE.iter().map(|path| (path, Veil::Empty)).filter_map(existing));
    found.extend(ENGINES.iter().map(|path| (path, Veil::Empty)).filter_map(existing));
    found.extend(also_hide.iter().map(|path| (path.clone(), Veil::Empty)));
    found.extend(replaced());
    let covered: Vec<RootPath> = found.iter().map(|(path, _)| path.clone()).collect();
    let mut judge = Judge { shipped: None, covered: &covered, veils: Vec::new() };
    for top in ["/etc", "/var", "/opt", "/srv", "/usr/local"] {
        if Path::new(top).is_dir() {
            judge.directory(Path::new(top), true)?;
        }
    }
    found.extend(judge.veils);
    found.retain(|(path, _)| !see.iter().any(|seen| path.is_within(seen)));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|later, first| later.0 == first.0);
    Ok(found)
}

/// The veils for any other base: name service as on this host, and no service started by packages.
pub fn for_foreign_base(lower: &Path) -> Vec<(RootPath, Veil)> {
    let starts_services = lower.join("usr/sbin/invoke-rc.d").exists();
    let resolver = lower.join("etc").is_dir();
    let fits = |path: &RootPath| match path.as_bytes() {
        b"/usr/sbin/policy-rc.d" => starts_services,
        b"/etc/resolv.conf" => resolver,
        _ => false,
    };
    replaced().into_iter().filter(|(path, _)| fits(path)).collect()
}

fn existing((path, veil): (&&str, Veil)) -> Option<(RootPath, Veil)> {
    let plain = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    plain.then(|| path.parse().ok().map(|path| (path, veil)))?
}

/// Everything at the top that is not the operating system's.
fn top_level() -> Result<Vec<(RootPath, Veil)>> {
    let mut veils = Vec::new();
    for entry in std::fs::read_dir("/").doing(|| "listing /")? {
        let entry = entry.doing(|| "listing /")?;
        let name = entry.file_name();
        let path = RootPath::root().join(name.as_bytes());
        let known = SHOWN.iter().any(|shown| shown.as_bytes() == name.as_bytes());
        if !known && !BARE.iter().any(|bare| bare.as_bytes() == path.as_bytes()) {
            veils.push((path, Veil::Hidden));
        }
    }
    Ok(veils)
}

/// Files whose content is made anew.
fn replaced() -> Vec<(RootPath, Veil)> {
    let file = |path: &str, content: Vec<u8>| Some((path.parse().ok()?, Veil::Replaced(content)));
    let without_hashes = |path: &str| file(path, forget_hashes(&std::fs::read(path).ok()?));
    let copied = |path: &str| file(path, std::fs::read(path).ok()?);
    [
        without_hashes("/etc/shadow"),
        without_hashes("/etc/gshadow"),
        copied("/etc/resolv.conf"),
        std::fs::exists("/etc/machine-id")
            .unwrap_or(false)
            .then(|| file("/etc/machine-id", Vec::new()))
            .flatten(),
        // Asked by invoke-rc.d before it starts anything: 101 is "not allowed" (policy-rc.d(8)).
        file("/usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n".to_vec()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A shadow(5) file in which no account has a password.
fn forget_hashes(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|b| *b == b'\n') {
        let mut fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        if fields.len() > 1 {
            fields[1] = b"*";
        }
        out.extend_from_slice(&fields.join(&b':'));
    }
    out
}

/// Walks a part of the host and hides what other users may not read.
struct Judge<'a> {
    shipped: Option<Shipped>,
    covered: &'a [RootPath],
    veils: Vec<(RootPath, Veil)>,
}

impl Judge<'_> {
    /// Judges the entries of `dir`; `open` tells whether others can reach them at all.
    fn directory(&mut self, dir: &Path, open: bool) -> Result<()> {
        for entry in std::fs::read_dir(dir).doing(|| format!("listing {}", dir.display()))? {
            let entry = entry.doing(|| format!("listing {}", dir.display()))?;
            // An entry that vanishes while we look needs no veil.
            let Ok(meta) = entry.metadata() else { continue };
            self.entry(&entry.path(), &meta, open)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, meta: &std::fs::Metadata, open: bool) -> Result<()> {
        let Some(at) = RootPath::strict(path.as_os_str().as_bytes()) else { return Ok(()) };
        if self.covered.contains(&at) || meta.is_symlink() {
            return Ok(());
        }
        if meta.is_dir() {
            let readable = open && meta.mode() & 0o005 == 0o005;
            if readable || self.shipped().brings(path) {
                return self.directory(path, readable);
            }
            self.veils.push((at, Veil::Empty));
        } else if !meta.is_file() {
            // Sockets, pipes and devices of the host are doors to its services.
            self.veils.push((at, Veil::Hidden));
        } else {
            let readable = open && meta.mode() & 0o004 != 0;
            if !readable && !self.shipped().is_unmodified(path) {
                self.veils.push((at, Veil::Hidden));
            }
        }
        Ok(())
    }

    /// dpkg's database, read only where something is hidden at all.
    fn shipped(&mut self) -> &Shipped {
        self.shipped.get_or_insert_with(|| Shipped::read(Path::new("/")))
    }
}

/// The veils that hide paths which a user may want to see, for a message.
pub fn hidden_files(veils: &[(RootPath, Veil)]) -> Vec<PathBuf> {
    let in_etc = |path: &RootPath| path.as_bytes().starts_with(b"/etc/");
    let hidden = veils.iter().filter(|(path, veil)| *veil == Veil::Hidden && in_etc(path));
    hidden.map(|(path, _)| path.as_path().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_hashes_are_forgotten_and_the_rest_stays() {
        let shadow = b"root:$6$abc:19000:0:99999:7:::\ndaemon:*:1::::::\n";
        let clean = forget_hashes(shadow);
        assert_eq!(clean, b"root:*:19000:0:99999:7:::\ndaemon:*:1::::::\n");
    }

    #[test]
    fn this_hosts_secrets_and_data_are_veiled() {
        let veils = veils(&[], &["/var/lib/elsewhere".parse().expect("path")]).expect("veils");
        let veil_of =
            |path: &str| veils.iter().find(|(at, _)| at.to_string() == path).map(|(_, veil)| veil.clone());
        assert_eq!(veil_of("/root"), Some(Veil::Empty));
        assert_eq!(veil_of("/var/lib/elsewhere"), Some(Veil::Empty));
        assert!(matches!(veil_of("/usr/sbin/policy-rc.d"), Some(Veil::Replaced(_))));
        assert_eq!(veil_of("/usr"), None);
        let seen = super::veils(&["/root".parse().expect("path")], &[]).expect("veils");
        assert!(!seen.iter().any(|(at, _)| at.to_string() == "/root"));
    }
}
