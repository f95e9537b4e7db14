//! What the service wrote, and so must be able to write again: directories, never single files.

use std::collections::{BTreeMap, BTreeSet};

use spec::RootPath;
use spec::observation::Written;

use super::scene::{Scene, at, is_foreign};
use crate::base_tree::Node;

/// Writes anywhere below these make the whole of them writable: names in them come and go.
const COMMON: [&str; 3] = ["/tmp", "/run", "/var/tmp"];
/// Below these lies what a service wants to find again.
const LASTING: [&str; 7] = ["/var/lib", "/srv", "/data", "/var/www", "/opt", "/home", "/var/mail"];
/// A component called like this says that the content is not worth keeping.
const PASSING: [&[u8]; 8] = [b"log", b"logs", b"cache", b"tmp", b"temp", b"run", b"lock", b".cache"];

/// Where the service wrote.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Directories in which something was created, changed or removed.
    pub(super) directories: BTreeSet<RootPath>,
    /// The root itself is one of them.
    pub(super) root: bool,
    /// Of the directories those that look as if they should outlive the container, and how many
    /// bytes the run left in them.
    pub(super) volumes: Vec<(RootPath, u64)>,
}

/// Derives the places from what the observation says was written.
pub(super) fn derive(scene: &Scene<'_>) -> Places {
    let written = &scene.request.observation.written;
    let mut places = Places::default();
    for (path, what) in written {
        let own = is_foreign(path) || is_bytecode(path) || only_bytecode(path, *what, written);
        if let Some(directory) = (!own).then(|| directory(scene, path, *what)).flatten() {
            places.directories.insert(directory);
        }
    }
    places.root = places.directories.remove(&RootPath::root());
    places.volumes = volumes(scene, &places.directories);
    places
}

/// The existing directory that has to be writable for this.
fn directory(scene: &Scene<'_>, path: &RootPath, what: Written) -> Option<RootPath> {
    let way = scene.tree.resolve(path);
    let common = COMMON.map(at);
    let common = common.iter().find(|common| way.end.is_within(common) && way.end != **common);
    if let Some(common) = common.filter(|common| scene.node(common).is_some_and(Node::is_directory)) {
        return Some(common.clone());
    }
    let is_directory = way.found && scene.node(&way.end).is_some_and(Node::is_directory);
    let itself = is_directory && matches!(what, Written::Entries | Written::Changed { .. });
    let from = if itself { way.end } else { scene.tree.resolve_entry(path).end.parent()? };
    std::iter::once(from.clone())
        .chain(from.ancestors())
        .find(|place| scene.node(place).is_some_and(Node::is_directory))
        .filter(|place| !is_foreign(place))
}

/// Python writes what it compiled beside the source, and does without where it cannot.
fn is_bytecode(path: &RootPath) -> bool {
    path.as_bytes().split(|b| *b == b'/').any(|part| part == b"__pycache__")
}

/// Whether names came into the directory `path` only because Python made its cache there.
fn only_bytecode(path: &RootPath, what: Written, written: &BTreeMap<RootPath, Written>) -> bool {
    let cache = written.contains_key(&path.join(b"__pycache__"));
    let other = || {
        written.iter().any(|(other, how)| {
            other.parent().as_ref() == Some(path) && !is_bytecode(other) && !matches!(how, Written::Entries)
        })
    };
    matches!(what, Written::Entries) && cache && !other()
}

fn volumes(scene: &Scene<'_>, directories: &BTreeSet<RootPath>) -> Vec<(RootPath, u64)> {
    let outermost =
        directories.iter().filter(|path| !path.ancestors().any(|above| directories.contains(&above)));
    let lasting = outermost.filter(|path| is_lasting(path));
    lasting.map(|path| (path.clone(), bytes_below(scene, path))).filter(|(_, bytes)| *bytes > 0).collect()
}

fn is_lasting(path: &RootPath) -> bool {
    let passing = path.as_bytes().split(|b| *b == b'/').any(|part| PASSING.contains(&part));
    !passing && LASTING.iter().any(|top| path.is_within(&at(top)))
}

fn bytes_below(scene: &Scene<'_>, top: &RootPath) -> u64 {
    let written = scene.request.observation.written.iter();
    let below = written.filter(|(path, _)| scene.tree.resolve_entry(path).end.is_within(top));
    below
        .map(|(_, what)| match what {
            Written::Created { bytes } | Written::Changed { bytes } => *bytes,
            Written::Removed | Written::Entries => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::Cut;
    use super::super::sample::{Asked, Sample, path};
    use super::*;

    fn written(root: &Sample, list: &[(&str, Written)]) -> Cut {
        let mut seen = root.seen(&[]);
        seen.written = list.iter().map(|(text, what)| (path(text), *what)).collect();
        Asked::default().cut(root, &seen).expect("cut")
    }

    fn paths(list: &[&str]) -> BTreeSet<RootPath> {
        list.iter().map(|text| path(text)).collect()
    }

    #[test]
    fn directories_volumes_and_common_places() {
        let root = Sample::new("written");
        ["/run/x", "/tmp", "/var/lib/redis", "/var/log/nginx", "/var/cache/x"]
            .iter()
            .for_each(|d| root.directory(d));
        root.link("/var/run", "/run");
        root.file("/etc/state", "x");
        let cut = written(
            &root,
            &[
                ("/var/run/x/pid", Written::Created { bytes: 3 }),
                ("/tmp/deep/er", Written::Created { bytes: 3 }),
                ("/var/lib/redis/dump.rdb", Written::Created { bytes: 88 }),
                ("/var/lib/redis", Written::Entries),
                ("/var/log/nginx/access.log", Written::Created { bytes: 9 }),
                ("/var/cache/x/new/dir/file", Written::Created { bytes: 9 }),
                ("/etc/state", Written::Changed { bytes: 2 }),
                ("/dev/null", Written::Changed { bytes: 0 }),
            ],
        );
        let wanted = ["/run", "/tmp", "/var/lib/redis", "/var/log/nginx", "/var/cache/x", "/etc"];
        assert_eq!(cut.writable, paths(&wanted));
        assert!(!cut.writable_root);
        assert_eq!(cut.volumes_to_declare, [(path("/var/lib/redis"), 88)]);
        assert!(wanted.iter().all(|wanted| cut.paths.contains(&path(wanted))), "{:?}", cut.paths);
        assert!(cut.paths.contains(&path("/etc/state")), "as it was before the run");
    }

    #[test]
    fn the_root_itself() {
        let root = Sample::new("written-root");
        let cut = written(&root, &[("/new/dir/file", Written::Created { bytes: 1 })]);
        assert!(cut.writable_root && cut.writable.is_empty());
    }

    #[test]
    fn pythons_cache_is_no_data() {
        let root = Sample::new("pyc");
        root.file("/app/a.py", "x");
        let cache = [
            ("/app", Written::Entries),
            ("/app/__pycache__", Written::Created { bytes: 0 }),
            ("/app/__pycache__/a.cpython-311.pyc", Written::Created { bytes: 10 }),
        ];
        assert!(written(&root, &cache).writable.is_empty());
        let mut more = cache.to_vec();
        more.push(("/app/db.sqlite", Written::Created { bytes: 1 }));
        assert_eq!(written(&root, &more).writable, paths(&["/app"]));
    }
}
