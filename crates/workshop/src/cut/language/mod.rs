//! Languages: what an interpreter loads by name when the program comes to it. The standard library
//! of the language, the packages of which a module was loaded, and the application's own sources.

mod java;
mod lua;
mod node;
mod perl;
mod php;
mod python;
mod ruby;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use spec::RootPath;
use spec::report::Reason;

use super::boundaries::{is_installed, is_shared};
use super::elf;
use super::scene::Scene;
use super::selection::Selection;

/// Keeps what belongs to each language that was used.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let languages =
        [java::apply, lua::apply, node::apply, perl::apply, php::apply, python::apply, ruby::apply];
    languages.iter().for_each(|language| language(scene, selection));
}

/// A directory that a rule found, and the used file because of which.
type Found = BTreeMap<RootPath, RootPath>;

/// The directories above used files for which `is_wanted` holds.
fn directories_above(scene: &Scene<'_>, is_wanted: &dyn Fn(&RootPath) -> bool) -> Found {
    let mut found = Found::new();
    for used in scene.used.iter().filter(|used| used.is_file(scene)) {
        for directory in used.real.ancestors().filter(|directory| is_wanted(directory)) {
            found.entry(directory).or_insert_with(|| used.real.clone());
        }
    }
    found
}

/// Keeps the module of `library` (a directory of modules of many owners) that `used` belongs to:
/// what its distribution package has there, or the top-level entry.
fn keep_module(scene: &Scene<'_>, selection: &mut Selection<'_>, library: &RootPath, used: &RootPath) {
    if let Some(owner) = scene.distribution.owner(used) {
        let files = owner.files.iter().filter(|file| file.is_within(library));
        files.for_each(|file| selection.keep(file, Reason::Application, Some(used)));
    } else if let Some(name) = used.below(library).and_then(|below| below.split(|b| *b == b'/').next()) {
        selection.keep_tree(&library.join(name), Reason::Application, Some(used), &|_, _| false);
    }
}

/// The modules of `library` of which something was used.
fn keep_used_modules(scene: &Scene<'_>, selection: &mut Selection<'_>, library: &RootPath) {
    let used: Vec<RootPath> =
        scene.used_below(library).filter(|used| used.is_file(scene)).map(|used| used.real.clone()).collect();
    used.iter().for_each(|used| keep_module(scene, selection, library, used));
}

fn name_is(path: &RootPath, is_wanted: impl Fn(&[u8]) -> bool) -> bool {
    path.name().is_some_and(is_wanted)
}

fn exists(scene: &Scene<'_>, path: &RootPath) -> bool {
    scene.node(path).is_some()
}

/// Keeps the application's own sources in `directory`; where that is shared with others only the
/// files that `is_source` knows.
fn keep_sources(
    scene: &Scene<'_>,
    selection: &mut Selection<'_>,
    directory: &RootPath,
    because_of: &RootPath,
    is_source: &dyn Fn(&RootPath) -> bool,
) {
    if !is_shared(directory) {
        selection.keep_tree(directory, Reason::Application, Some(because_of), &is_installed);
        return;
    }
    for (path, node) in scene.entries(directory) {
        // By what it is, not by its mode: scripts are executable too.
        if node.is_file() && is_source(&path) && elf::read(&scene.tree, &path).is_none() {
            selection.keep(&path, Reason::Application, Some(because_of));
        }
    }
}
