//! Ruby: the standard library, and the gems of which something was loaded.

use spec::RootPath;
use spec::report::Reason;

use super::super::scene::Scene;
use super::super::selection::Selection;
use super::{directories_above, exists, keep_used_modules, name_is};
use crate::base_tree::Node;

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    // /usr/lib/ruby/3.1.0 has the module `set` in it, and so has no other directory of Ruby's.
    let is_standard = |path: &RootPath| exists(scene, &path.join(b"set.rb"));
    for (library, because) in directories_above(scene, &is_standard) {
        let skip = |path: &RootPath, _: &Node| {
            name_is(path, |name| matches!(name, b"rdoc" | b"irb" | b"reline" | b"test"))
        };
        selection.keep_tree(&library, Reason::Language, Some(&because), &skip);
    }
    let vendor = |path: &RootPath| name_is(path, |name| matches!(name, b"vendor_ruby" | b"site_ruby"));
    directories_above(scene, &vendor).keys().for_each(|library| keep_used_modules(scene, selection, library));
    // /var/lib/gems is called like the directory of gems inside of it, which has a sister.
    let is_gems = |path: &RootPath| {
        let described = || path.parent().is_some_and(|home| exists(scene, &home.join(b"specifications")));
        name_is(path, |name| name == b"gems") && described()
    };
    let gems = directories_above(scene, &is_gems);
    for gems in gems.keys() {
        keep_used_modules(scene, selection, gems);
        keep_specifications(scene, selection, gems);
    }
}

/// Keeps `specifications/NAME.gemspec` beside `gems/NAME`, by which Ruby finds the gem.
fn keep_specifications(scene: &Scene<'_>, selection: &mut Selection<'_>, gems: &RootPath) {
    let Some(home) = gems.parent() else { return };
    for used in scene.used_below(gems) {
        let Some(name) = used.real.below(gems).and_then(|below| below.split(|b| *b == b'/').next()) else {
            continue;
        };
        let specification = [name, b".gemspec"].concat();
        let path = home.join(b"specifications").join(&specification);
        selection.keep(&path, Reason::Application, Some(&used.real));
    }
}
