//! PHP: the extensions beside those that were loaded, shared sources of the distribution, and the
//! application's sources. (Its configuration under /etc/php is kept as configuration.)

use spec::RootPath;
use spec::report::Reason;

use super::super::boundaries::{is_shared, own_root};
use super::super::scene::{Scene, at};
use super::super::selection::Selection;
use super::{directories_above, keep_sources, keep_used_modules, name_is};

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let shared = at("/usr/share/php");
    keep_used_modules(scene, selection, &shared);
    // /usr/lib/php/20220829: the extensions of one version of the interface.
    let is_interface = |path: &RootPath| {
        let of_php = path
            .parent()
            .is_some_and(|parent| name_is(&parent, |name| name == b"php" || name == b"extensions"));
        of_php && name_is(path, |name| name.iter().any(u8::is_ascii_digit))
    };
    for (extensions, because) in directories_above(scene, &is_interface) {
        selection.keep_tree(&extensions, Reason::Language, Some(&because), &|_, _| false);
    }
    let source = |path: &RootPath| name_is(path, |name| name.ends_with(b".php") || name.ends_with(b".inc"));
    for used in scene.used.iter().filter(|used| source(&used.real) && !used.real.is_within(&shared)) {
        let Some(directory) = used.real.parent() else { continue };
        let root = if is_shared(&directory) { directory } else { own_root(&directory).unwrap_or(directory) };
        keep_sources(scene, selection, &root, &used.real, &source);
    }
}
