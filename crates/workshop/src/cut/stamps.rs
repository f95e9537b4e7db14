//! Whether the base is still what was watched: a file that changed since invalidates the test.

use spec::observation::{Stamp, Use};
use spec::{Error, Result, RootPath};

use super::scene::{Scene, Used, is_foreign};
use crate::base_tree::{Meta, Node};

/// More are not named, only counted.
const NAMED: usize = 5;
/// What lies here changes by itself, on a host as in a container, and nothing depends on it.
const VOLATILE: [&str; 4] = ["/run", "/tmp", "/var/tmp", "/var/log"];
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// Refuses a base in which something that was used is no longer what it was.
pub(super) fn check(scene: &Scene<'_>) -> Result<()> {
    let changed: Vec<String> = changed(scene).map(|path| path.to_string()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let more = changed.len().saturating_sub(NAMED);
    let mut names = changed[..changed.len() - more].join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    Err(Error::conflict(format!("{names} changed since the test")).hint("run tsubo test again"))
}

fn changed<'s>(scene: &'s Scene<'_>) -> impl Iterator<Item = &'s RootPath> {
    let stamped =
        scene.request.observation.paths.iter().filter_map(|(path, usage)| Some((path, usage.stamp?)));
    stamped.filter(|(path, stamp)| !is_volatile(path) && !is_same(scene, path, *stamp)).map(|(path, _)| path)
}

/// Whether `path` is what the stamp says; of a symlink, itself or what it leads to.
fn is_same(scene: &Scene<'_>, path: &RootPath, stamp: Stamp) -> bool {
    let ways = [scene.tree.resolve_entry(path), scene.tree.resolve(path)];
    let mut nodes = ways.iter().filter(|way| way.found).filter_map(|way| scene.node(&way.end));
    nodes.any(|node| equals(&node.meta, stamp))
}

fn equals(meta: &Meta, stamp: Stamp) -> bool {
    let directory = stamp.mode & TYPE == DIRECTORY;
    meta.mode == stamp.mode && (directory || (meta.size, meta.mtime) == (stamp.size, stamp.mtime))
}

fn is_volatile(path: &RootPath) -> bool {
    is_foreign(path) || VOLATILE.iter().any(|top| path.is_within(&super::scene::at(top)))
}

/// A warning for what was used, did not exist before the run, and is in the base all the same.
pub(super) fn appeared(scene: &Scene<'_>) -> Vec<String> {
    let new = scene.request.observation.paths.iter().filter(|(path, usage)| {
        usage.stamp.is_none() && !is_volatile(path) && usage.how.iter().any(|how| *how != Use::Missing)
    });
    let there = new.filter(|(path, _)| scene.tree.resolve_entry(path).found);
    there
        .map(|(path, _)| format!("{path} came into the development container after the test and is left out"))
        .collect()
}

impl Used<'_> {
    /// Whether it is a regular file.
    pub(super) fn is_file(&self, scene: &Scene<'_>) -> bool {
        scene.node(&self.real).is_some_and(Node::is_file)
    }
}

#[cfg(test)]
mod tests {
    use spec::ErrorKind;
    use spec::observation::Use;

    use super::super::sample::{Asked, Sample, path};

    #[test]
    fn what_changed_since_the_test_is_a_conflict() {
        let root = Sample::new("stamps");
        let names: Vec<String> = (0..7).map(|number| format!("/f{number}")).collect();
        names.iter().for_each(|name| root.file(name, "x"));
        root.file("/run/pid", "1");
        let mut uses: Vec<(&str, Use)> = names.iter().map(|name| (name.as_str(), Use::Opened)).collect();
        uses.push(("/run/pid", Use::Opened));
        let seen = root.seen(&uses);
        assert!(Asked::default().cut(&root, &seen).is_ok());
        root.file("/run/pid", "12345");
        assert!(Asked::default().cut(&root, &seen).is_ok(), "the volatile may change");
        names.iter().for_each(|name| root.file(name, "changed"));
        std::fs::remove_file(root.at("/f0")).expect("remove");
        let error = Asked::default().cut(&root, &seen).expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.to_string(), "/f0, /f1, /f2, /f3, /f4 and 2 more changed since the test");
        assert_eq!(error.hints(), ["run tsubo test again"]);
    }

    #[test]
    fn a_link_may_be_stamped_as_itself_or_as_its_target() {
        let root = Sample::new("stamped-link");
        root.file("/target", "x");
        root.link("/link", "target");
        let mut seen = root.seen(&[("/link", Use::LookedAt)]);
        assert!(Asked::default().cut(&root, &seen).is_ok());
        seen.paths.get_mut(&path("/link")).expect("noted").stamp = root.stamp("/target");
        assert!(Asked::default().cut(&root, &seen).is_ok());
    }
}
