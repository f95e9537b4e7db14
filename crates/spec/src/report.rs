//! What is in a package, what was cut, and why: made when packing, read by `tsubo contents`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::observation::{Curve, Use};
use crate::{Digest, RootPath};

/// The contents of a package beside what it was cut from. Sizes are file sizes in bytes, a file
/// with several names counted once; `files` counts regular files and symlinks, not directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files in the package.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files in the root that it was cut from.
    pub base_files: u64,
    /// Their bytes.
    pub base_bytes: u64,
    /// The closure level: `exact`, `directory` or `package`.
    pub closure: String,
    /// Digest of the observation it was cut by.
    pub observation: Option<Digest>,
    /// Shares by distribution package (dpkg, apk): those of which something was kept.
    pub distribution_packages: Vec<PackageShare>,
    /// How many distribution packages the base has.
    pub base_packages: u64,
    /// Shares by directory, two levels deep.
    pub directories: Vec<DirectoryShare>,
    /// Why each path was kept.
    pub kept: BTreeMap<RootPath, Kept>,
    /// What was cut, in sum.
    pub cut: Cut,
    /// What became of each capability that the service had in the tests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, Judged>,
    /// What the run with the most memory used over time.
    #[serde(default)]
    pub curve: Curve,
}

/// Whether a capability is granted, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// It is granted.
    pub kept: bool,
    /// The programs that had it checked in the tests; none where that could not be seen.
    pub by: BTreeSet<String>,
    /// Why.
    pub why: String,
}

/// Why a path is in the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The rule that kept it.
    pub reason: Reason,
    /// How the service used it, if it did.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub how: BTreeSet<Use>,
    /// The programs that used it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub by: BTreeSet<String>,
    /// For rules: the path because of which it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<RootPath>,
}

/// A rule that keeps paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The service or an exercise used it.
    Used,
    /// A directory on the way to something kept.
    Ancestor,
    /// A symlink that is walked on the way to something kept, or its target.
    Link,
    /// A shared library or interpreter without which a kept program cannot start.
    Library,
    /// Kept with `--keep`.
    Asked,
    /// A neighbour in a directory that was served, listed or configured from.
    Directory,
    /// The standard library of a language that was used.
    Language,
    /// The same application package (distribution package, Python or Node package, …).
    Application,
    /// A system facility that was used: name service, time zones, locales, certificates.
    Facility,
    /// The runtime needs it as a mount point.
    MountPoint,
    /// The replay asked for it (`--repair`).
    Repaired,
}

/// How much of one distribution package was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageShare {
    /// Name of the distribution package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Files kept and in all.
    pub files: u64,
    /// Files in all.
    pub base_files: u64,
    /// Bytes kept.
    pub bytes: u64,
    /// Bytes in all.
    pub base_bytes: u64,
}

/// How much of one directory was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryShare {
    /// The directory.
    pub path: RootPath,
    /// Files kept below it.
    pub files: u64,
    /// Files in all.
    pub base_files: u64,
    /// Bytes kept.
    pub bytes: u64,
    /// Bytes in all.
    pub base_bytes: u64,
}

/// What was cut, in sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Files that were cut.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Distribution packages of which nothing was kept.
    pub packages: Vec<String>,
}
