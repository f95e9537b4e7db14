//! Document roots: an exercise fetched /srv/site/a.html, another will fetch /srv/site/b.html.
//! Installed packages of languages inside of it are left to the rules of those.

use std::collections::BTreeMap;

use spec::RootPath;
use spec::observation::Use;
use spec::report::Reason;

use super::boundaries::{document_root, is_installed};
use super::scene::{Scene, Used};
use super::selection::Selection;
use crate::base_tree::Node;

/// Keeps the document root around every data file that an exercise had opened or listed.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let mut roots: BTreeMap<RootPath, RootPath> = BTreeMap::new();
    for used in scene.used.iter().filter(|used| used.in_exercise()) {
        if let Some(root) = served_directory(scene, used).and_then(|directory| document_root(&directory)) {
            roots.entry(root).or_insert_with(|| used.real.clone());
        }
    }
    for (root, because) in &roots {
        selection.keep_tree(root, Reason::Directory, Some(because), &is_installed);
    }
}

/// The directory that was served from: the one that was listed, or that a data file lies in.
fn served_directory(scene: &Scene<'_>, used: &Used<'_>) -> Option<RootPath> {
    let node = scene.node(&used.real)?;
    if used.was(Use::Listed) && node.is_directory() {
        return Some(used.real.clone());
    }
    let data =
        node.is_file() && used.was(Use::Opened) && !used.was(Use::Executed) && !is_library(&used.real, node);
    data.then(|| used.real.parent())?
}

fn is_library(path: &RootPath, node: &Node) -> bool {
    let named =
        path.name().is_some_and(|name| name.ends_with(b".so") || name.windows(4).any(|part| part == b".so."));
    named && node.is_file()
}

#[cfg(test)]
mod tests {
    use spec::observation::{Stage, Use};

    use super::super::Level;
    use super::super::sample::{Asked, Sample, has, path};

    #[test]
    fn another_file_of_the_same_site() {
        let root = Sample::new("served");
        for file in [
            "/srv/site/a.html",
            "/srv/site/css/b.css",
            "/srv/site/.git/config",
            "/srv/other/c",
            "/media/pool/d",
        ] {
            root.file(file, "x");
        }
        root.link("/srv/site/pool", "/media/pool");
        root.link("/srv/site/everything", "/usr");
        root.file("/usr/bin/x", "x");
        let uses = [("/srv/site/a.html", Use::Opened)];
        let cut = root.cut(Level::Directory, &uses);
        assert!(has(&cut, "/srv/site/css/b.css"));
        assert!(has(&cut, "/media/pool/d"), "through a symlinked directory");
        for not in ["/srv/other", "/srv/site/.git", "/usr/bin/x"] {
            assert!(!has(&cut, not), "{not}");
        }
        let mut before = root.seen(&uses);
        before.paths.get_mut(&path("/srv/site/a.html")).expect("noted").stage = Stage::Start;
        let cut = Asked { level: Level::Directory, ..Asked::default() }.cut(&root, &before).expect("cut");
        assert!(!has(&cut, "/srv/site/css/b.css"), "what is read at the start is no document");
    }
}
