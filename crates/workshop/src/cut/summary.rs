//! The report: what is in the package beside what the base had, by directory and by distribution
//! package.

use std::collections::{BTreeMap, HashSet};

use spec::RootPath;
use spec::observation::Curve;
use spec::report::{Cut, DirectoryShare, Kept, PackageShare, Report};

use super::scene::Scene;
use crate::base_tree::Node;
use crate::distribution::Package;

/// Directories are added up this deep.
const DEPTH: usize = 2;

/// Files and bytes; a file with several names has its bytes counted once.
#[derive(Default)]
struct Sum {
    files: u64,
    bytes: u64,
    /// Of files with several names, those that are counted already.
    inodes: HashSet<(u64, u64)>,
}

impl Sum {
    fn add(&mut self, node: &Node) {
        if node.counts() {
            let first = node.meta.links < 2 || self.inodes.insert(node.meta.inode);
            self.files += 1;
            self.bytes += if first { node.meta.size } else { 0 };
        }
    }
}

/// Kept and in all.
#[derive(Default)]
struct Share {
    kept: Sum,
    base: Sum,
}

/// Adds everything up.
pub(super) fn report(scene: &Scene<'_>, kept: BTreeMap<RootPath, Kept>) -> Report {
    let mut total = Share::default();
    let mut directories: BTreeMap<RootPath, Share> = BTreeMap::new();
    scene.tree.visit(&RootPath::root(), &mut |path, node| {
        if node.counts() {
            let is_kept = kept.contains_key(path);
            let directory = directories.entry(directory_of(path)).or_default();
            for share in [&mut total, directory] {
                share.base.add(node);
                if is_kept {
                    share.kept.add(node);
                }
            }
        }
        true
    });
    let packages = scene.distribution.packages();
    let shares: Vec<PackageShare> =
        packages.iter().map(|package| package_share(scene, package, &kept)).collect();
    let (some, none): (Vec<_>, Vec<_>) = shares.into_iter().partition(|share| share.files > 0);
    Report {
        files: total.kept.files,
        bytes: total.kept.bytes,
        base_files: total.base.files,
        base_bytes: total.base.bytes,
        closure: scene.request.level.to_string(),
        observation: None,
        distribution_packages: some,
        base_packages: packages.len() as u64,
        directories: directories.into_iter().map(|(path, share)| directory_share(path, &share)).collect(),
        cut: Cut {
            files: total.base.files - total.kept.files,
            bytes: total.base.bytes - total.kept.bytes,
            packages: none.into_iter().map(|share| share.name).collect(),
        },
        kept,
        capabilities: BTreeMap::new(),
        curve: Curve::default(),
    }
}

fn package_share(scene: &Scene<'_>, package: &Package, kept: &BTreeMap<RootPath, Kept>) -> PackageShare {
    let mut share = Share::default();
    for (path, node) in package.files.iter().filter_map(|path| Some((path, scene.node(path)?))) {
        share.base.add(node);
        if kept.contains_key(path) {
            share.kept.add(node);
        }
    }
    PackageShare {
        name: package.name.clone(),
        version: package.version.clone(),
        files: share.kept.files,
        base_files: share.base.files,
        bytes: share.kept.bytes,
        base_bytes: share.base.bytes,
    }
}

fn directory_share(path: RootPath, share: &Share) -> DirectoryShare {
    DirectoryShare {
        path,
        files: share.kept.files,
        base_files: share.base.files,
        bytes: share.kept.bytes,
        base_bytes: share.base.bytes,
    }
}

/// The directory that `path` is counted under: /usr/lib for /usr/lib/x/y, /etc for /etc/passwd.
fn directory_of(path: &RootPath) -> RootPath {
    let parent = path.parent().unwrap_or_else(RootPath::root);
    let names = parent.as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()).take(DEPTH);
    names.fold(RootPath::root(), |path, name| path.join(name))
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, path};
    use super::*;

    #[test]
    fn shares_add_up() {
        let root = Sample::new("report");
        root.file("/usr/lib/a/b/one", "12345");
        root.file("/usr/lib/two", "123");
        root.file("/etc/passwd", "1");
        let status = "Package: one\nStatus: install ok installed\nVersion: 1\n\n\
                      Package: two\nStatus: install ok installed\nVersion: 2\n";
        root.file("/var/lib/dpkg/status", status);
        root.file("/var/lib/dpkg/info/one.list", "/usr/lib/a/b/one\n");
        root.file("/var/lib/dpkg/info/two.list", "/usr/lib/two\n");
        let report = root.cut(Level::Exact, &[("/usr/lib/a/b/one", Use::Opened)]).report;
        assert_eq!((report.files, report.bytes, report.base_files), (1, 5, 6));
        assert_eq!(report.cut.files + report.files, report.base_files);
        assert_eq!(report.cut.bytes + report.bytes, report.base_bytes);
        assert_eq!(report.cut.packages, ["two"]);
        assert_eq!((report.distribution_packages[0].name.as_str(), report.base_packages), ("one", 2));
        let lib = report.directories.iter().find(|share| share.path == path("/usr/lib")).expect("/usr/lib");
        assert_eq!((lib.files, lib.base_files, lib.bytes, lib.base_bytes), (1, 2, 5, 8));
        assert_eq!(directory_of(&path("/etc/passwd")), path("/etc"));
    }
}
