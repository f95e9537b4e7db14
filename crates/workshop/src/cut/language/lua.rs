//! Lua: the modules of the version that was used.

use spec::RootPath;
use spec::report::Reason;

use super::super::scene::Scene;
use super::super::selection::Selection;
use super::{directories_above, keep_sources, name_is};

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    // /usr/share/lua/5.1 and /usr/lib/TRIPLET/lua/5.1.
    let is_version = |path: &RootPath| {
        path.parent().is_some_and(|parent| name_is(&parent, |name| name == b"lua" || name == b"lualib"))
            && name_is(path, |name| name.first().is_some_and(u8::is_ascii_digit))
    };
    let versions = directories_above(scene, &is_version);
    for (version, because) in &versions {
        selection.keep_tree(version, Reason::Language, Some(because), &|_, _| false);
    }
    let source = |path: &RootPath| name_is(path, |name| name.ends_with(b".lua"));
    for used in scene.used.iter().filter(|used| source(&used.real)) {
        let in_version = versions.keys().any(|version| used.real.is_within(version));
        if let Some(directory) = used.real.parent().filter(|_| !in_version) {
            keep_sources(scene, selection, &directory, &used.real, &source);
        }
    }
}
