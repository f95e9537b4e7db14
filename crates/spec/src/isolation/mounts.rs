//! Mounts and devices in words, as Docker's `--mount` has them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::{Bind, Mount, MountFlags, MountKind, Nodes, Propagation};
use crate::{Error, Result, RootPath};

/// One more mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountWord {
    /// What.
    #[serde(rename = "type", default)]
    pub kind: MountType,
    /// For `bind`: a path of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Where, inside.
    #[schemars(with = "String")]
    pub at: RootPath,
    /// `ro`, `nosuid`, `nodev`, `noexec`, `noatime`, `nosymfollow`; for `bind` also `norecursive`, `noidmap`, `slave`,
    /// `shared`; for `tmpfs` also `size=64m`, `inodes=4096`, `mode=755`, `seeded`; for `sys` and `cgroup` also `rw`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Kinds of mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountType {
    /// A path of the host.
    #[default]
    Bind,
    /// Memory.
    Tmpfs,
    /// Processes.
    Proc,
    /// Devices and drivers.
    Sys,
    /// Control groups.
    Cgroup,
    /// The usual devices.
    Dev,
    /// Pseudo-terminals.
    Devpts,
    /// POSIX message queues.
    Mqueue,
}

/// Size of a tmpfs in bytes unless it is said.
const TMPFS_BYTES: u64 = 64 << 20;
/// Its inodes.
const TMPFS_INODES: u64 = 65_536;
/// Size of /dev/shm in bytes, as Docker's.
const SHM_BYTES: u64 = 64 << 20;

impl MountWord {
    /// What it means.
    ///
    /// # Errors
    /// An option that its kind does not have; a bind without a source.
    pub fn mount(&self) -> Result<Mount> {
        let mut flags = MountFlags::default();
        let mut what = self.plain()?;
        for option in &self.options {
            if !flag(&mut flags, option) && !self.special(&mut what, option)? {
                return Err(Error::user(format!("{option:?} is no option of the {:?} at {}", self.kind, self.at))
                    .hint("ro nosuid nodev noexec noatime nosymfollow; bind: norecursive noidmap slave shared; tmpfs: size= inodes= mode= seeded; sys, cgroup: rw"));
            }
        }
        Ok(Mount { at: self.at.clone(), what, flags })
    }

    fn plain(&self) -> Result<MountKind> {
        if self.source.is_some() && self.kind != MountType::Bind {
            return Err(Error::user(format!("the {:?} at {} has no source", self.kind, self.at)));
        }
        Ok(match self.kind {
            MountType::Bind => {
                let source = self.source.clone().ok_or_else(|| {
                    Error::user(format!("what is to be bound at {}?", self.at))
                        .hint("give a source, a path of the host")
                })?;
                MountKind::Bind(Bind::of(source))
            }
            MountType::Tmpfs => {
                MountKind::Tmpfs { bytes: TMPFS_BYTES, inodes: TMPFS_INODES, seeded: false, mode: 0o1777 }
            }
            MountType::Proc => MountKind::Proc,
            MountType::Sys => MountKind::Sys { writable: false },
            MountType::Cgroup => MountKind::Cgroup { writable: false },
            MountType::Dev => MountKind::Dev { shm: SHM_BYTES, nodes: Nodes::Bound },
            MountType::Devpts => MountKind::Devpts,
            MountType::Mqueue => MountKind::Mqueue,
        })
    }

    fn special(&self, what: &mut MountKind, option: &str) -> Result<bool> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let bad = || Error::user(format!("{value:?} is no value for {name} of the mount at {}", self.at));
        match (what, name) {
            (MountKind::Bind(bind), "norecursive") => bind.recursive = false,
            (MountKind::Bind(bind), "rbind" | "recursive") => bind.recursive = true,
            (MountKind::Bind(bind), "bind") => bind.recursive = false,
            (MountKind::Bind(bind), "noidmap") => bind.idmapped = false,
            (MountKind::Bind(bind), "idmap") => bind.idmapped = true,
            (MountKind::Bind(bind), "private" | "rprivate") => bind.propagation = Propagation::Private,
            (MountKind::Bind(bind), "slave" | "rslave") => bind.propagation = Propagation::Slave,
            (MountKind::Bind(bind), "shared" | "rshared") => bind.propagation = Propagation::Shared,
            (MountKind::Tmpfs { bytes: size, .. }, "size" | "tmpfs-size") => *size = bytes(value)?,
            (MountKind::Tmpfs { inodes, .. }, "inodes" | "nr_inodes") => {
                *inodes = value.parse().map_err(|_| bad())?
            }
            (MountKind::Tmpfs { mode, .. }, "mode" | "tmpfs-mode") => {
                *mode = u32::from_str_radix(value, 8).map_err(|_| bad())?;
            }
            (MountKind::Tmpfs { seeded, .. }, "seeded") => *seeded = true,
            (MountKind::Dev { shm, .. }, "shm") => *shm = bytes(value)?,
            (MountKind::Sys { writable } | MountKind::Cgroup { writable }, "rw") => *writable = true,
            (MountKind::Bind(_) | MountKind::Tmpfs { .. }, "rw") => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn flag(flags: &mut MountFlags, option: &str) -> bool {
    let place = match option {
        "ro" | "readonly" | "read-only" => &mut flags.read_only,
        "nosuid" => &mut flags.no_suid,
        "nodev" => &mut flags.no_dev,
        "noexec" => &mut flags.no_exec,
        "noatime" => &mut flags.no_atime,
        "nosymfollow" => &mut flags.no_symlinks,
        _ => return false,
    };
    *place = true;
    true
}

/// A size in bytes: a number, with k, m, g or t (powers of 1024) behind it if need be.
///
/// # Errors
/// Anything else.
pub fn bytes(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let trimmed = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match trimmed.as_bytes().last() {
        Some(b'k') => (&trimmed[..trimmed.len() - 1], 10),
        Some(b'm') => (&trimmed[..trimmed.len() - 1], 20),
        Some(b'g') => (&trimmed[..trimmed.len() - 1], 30),
        Some(b't') => (&trimmed[..trimmed.len() - 1], 40),
        _ => (trimmed, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| Error::user(format!("{text:?} is no size")).hint("as in 65536, 64m or 2g"))
}

/// As Docker's `--mount`: `type=bind,source=/a,target=/b,ro`.
impl FromStr for MountWord {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |what: String| {
            Error::user(what)
                .hint("as in type=bind,source=/srv,target=/srv,ro or type=tmpfs,target=/run,size=16m")
        };
        let (mut kind, mut source, mut at, mut options) = (MountType::Bind, None, None, Vec::new());
        for word in text.split(',') {
            match word.split_once('=') {
                Some(("type", value)) => {
                    let parsed = serde_json::from_value(serde_json::Value::String(value.to_owned()));
                    kind = parsed.map_err(|_| bad(format!("{value:?} is no type of mount")))?;
                }
                Some(("source" | "src", value)) => source = Some(PathBuf::from(value)),
                Some(("target" | "dst" | "destination" | "at", value)) => at = Some(value.parse()?),
                Some(("bind-propagation", value)) => options.push(value.to_owned()),
                _ => options.push(word.to_owned()),
            }
        }
        let at = at.ok_or_else(|| bad(format!("{text:?} does not say where to mount")))?;
        let word = Self { kind, source, at, options };
        word.mount().map(|_| word)
    }
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DeviceWord {
    /// Its path on the host.
    pub source: PathBuf,
    /// Where, inside.
    pub at: RootPath,
    /// Nothing can be written to it.
    pub read_only: bool,
}

impl FromStr for DeviceWord {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        let (at, mode) = match rest.as_slice() {
            [] => (source, "rw"),
            [at] if at.starts_with('/') => (*at, "rw"),
            [mode] => (source, *mode),
            [at, mode] => (*at, *mode),
            _ => ("", ""),
        };
        let below_dev = |path: &str| path.starts_with("/dev/");
        let read_only = match mode {
            "ro" | "r" => Some(true),
            "rw" | "rwm" => Some(false),
            _ => None,
        };
        match read_only {
            Some(read_only) if source.starts_with('/') && below_dev(at) => {
                Ok(Self { source: source.into(), at: at.parse()?, read_only })
            }
            _ => Err(Error::user(format!("{text:?} is no device"))
                .hint("as in /dev/fuse, /dev/sda:/dev/disk:ro; inside it is below /dev")),
        }
    }
}

impl TryFrom<String> for DeviceWord {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceWord> for String {
    fn from(word: DeviceWord) -> Self {
        word.to_string()
    }
}

impl fmt::Display for DeviceWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.source.display(), self.at, if self.read_only { ":ro" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_understood() {
        let word: MountWord = "type=bind,source=/srv,target=/data,ro,noidmap".parse().expect("bind");
        let mount = word.mount().expect("mount");
        assert!(mount.flags.read_only && matches!(&mount.what, MountKind::Bind(bind) if !bind.idmapped));
        let word: MountWord = "type=tmpfs,dst=/run,size=16m,mode=755".parse().expect("tmpfs");
        assert!(matches!(
            word.mount().expect("mount").what,
            MountKind::Tmpfs { bytes: 16_777_216, mode: 0o755, .. }
        ));
        for bad in [
            "type=nfs,target=/x",
            "source=/x",
            "type=bind,target=/x",
            "type=tmpfs,target=/x,size=big",
            "type=proc,target=/proc,size=1",
        ] {
            assert!(bad.parse::<MountWord>().is_err(), "{bad}");
        }
    }

    #[test]
    fn devices_are_understood() {
        let device: DeviceWord = "/dev/sda:/dev/disk:ro".parse().expect("device");
        assert!(device.read_only && device.at.to_string() == "/dev/disk");
        assert_eq!("/dev/fuse".parse::<DeviceWord>().expect("device").to_string(), "/dev/fuse:/dev/fuse");
        for bad in ["fuse", "/dev/a:/etc/b", "/dev/a:x", "/dev/a:/dev/b:rx", "/dev/a:/dev/b:rw:x"] {
            assert!(bad.parse::<DeviceWord>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_understood() {
        assert_eq!(bytes("64m").expect("size"), 64 << 20);
        assert_eq!(bytes("2GiB").expect("size"), 2 << 30);
        assert!(bytes("").is_err() && bytes("m").is_err() && bytes("99999999999t").is_err());
    }
}
