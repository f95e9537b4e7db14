//! What the runtime mounts something on, and so must be there: in the package as it is in the
//! base, or to be made.

use std::collections::{BTreeMap, BTreeSet};

use spec::RootPath;

use super::scene::{Scene, at, is_foreign};
use super::selection::Selection;
use super::written::Places;

/// Files of the host that are shown where they were asked for or are kept: who one's name servers and
/// neighbours are is not the image's to say.
const HOST_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The mount points that the base lacks, and the files of the host.
pub(super) struct MountPoints {
    pub(super) missing: BTreeMap<RootPath, bool>,
    pub(super) host_files: BTreeSet<RootPath>,
}

/// Keeps the mount points that are in the base and lists those that are not.
pub(super) fn derive(scene: &Scene<'_>, written: &Places, selection: &mut Selection<'_>) -> MountPoints {
    let host_files: BTreeSet<RootPath> = HOST_FILES
        .map(at)
        .into_iter()
        .filter(|file| scene.touched(&file.to_string()) || selection.has(file))
        .collect();
    let always = ["/proc", "/sys", "/dev"].map(at);
    let temporary = scene.touched("/tmp").then(|| at("/tmp"));
    let cwd = scene.request.cwd.clone();
    let directories =
        always.into_iter().chain(temporary).chain([cwd]).chain(written.directories.iter().cloned());
    let wanted =
        directories.map(|path| (path, true)).chain(host_files.iter().map(|path| (path.clone(), false)));
    let mut missing = BTreeMap::new();
    for (path, is_directory) in wanted {
        let way = scene.tree.resolve(&path);
        // Also where the end is missing, the links on the way to it are kept.
        way.links.iter().chain([&way.end]).for_each(|path| selection.keep_mount_point(path));
        if !way.found && !is_inside_foreign(&way.end) {
            make(scene, selection, &mut missing, way.end, is_directory);
        }
    }
    MountPoints { missing, host_files }
}

/// Lists `path` to be made, with the directories above it that are missing as well.
fn make(
    scene: &Scene<'_>,
    selection: &mut Selection<'_>,
    missing: &mut BTreeMap<RootPath, bool>,
    path: RootPath,
    is_directory: bool,
) {
    for above in path.ancestors() {
        if scene.node(&above).is_some() {
            selection.keep_mount_point(&above);
            break;
        }
        missing.insert(above, true);
    }
    missing.entry(path).or_insert(is_directory);
}

/// Below /proc, /sys or /dev nothing can be made beforehand.
fn is_inside_foreign(path: &RootPath) -> bool {
    is_foreign(path) && path.parent().is_some_and(|parent| !parent.is_root())
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, has, path};
    use super::*;

    #[test]
    fn from_the_base_or_to_be_made() {
        let root = Sample::new("mounts");
        root.directory("/proc");
        root.link("/etc/resolv.conf", "../run/resolve/stub.conf");
        root.file("/etc/hosts", "x");
        let cut = root.cut(Level::Exact, &[("/etc/resolv.conf", Use::Missing), ("/tmp/x", Use::Missing)]);
        assert!(has(&cut, "/proc") && has(&cut, "/etc/resolv.conf") && !has(&cut, "/etc/hosts"));
        let missing: Vec<_> = cut.mount_points.iter().map(|(path, dir)| (path.to_string(), *dir)).collect();
        let wanted = ["/dev", "/run", "/run/resolve", "/run/resolve/stub.conf", "/sys", "/tmp"]
            .map(|path| (path.to_owned(), !path.ends_with("conf")));
        assert_eq!(missing, wanted);
        assert_eq!(cut.host_files, BTreeSet::from([path("/etc/resolv.conf")]));
    }
}
