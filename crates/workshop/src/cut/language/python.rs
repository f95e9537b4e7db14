//! Python: the standard library, the packages of which a module was loaded with those they
//! require, and the application's sources with what they import.
//!
//! Of compiled files (`__pycache__`) only those that were used are kept: Python compiles a source
//! in memory where it finds none.

mod distributions;
mod imports;

use std::collections::{BTreeMap, BTreeSet};

use spec::RootPath;
use spec::observation::Use;
use spec::report::Reason;

use super::super::loader::Loader;
use super::super::scene::{Scene, Used};
use super::super::selection::Selection;
use super::{Found, directories_above, exists, keep_sources, name_is};
use crate::base_tree::Node;
use distributions::Distributions;

/// Parts of the standard library that no service imports: tests, graphical and interactive
/// programs, the making of packages.
const NOT_FOR_SERVICES: [&[u8]; 11] = [
    b"test",
    b"tests",
    b"idlelib",
    b"tkinter",
    b"turtledemo",
    b"lib2to3",
    b"ensurepip",
    b"pydoc_data",
    b"idle_test",
    b"EXTERNALLY-MANAGED",
    b"turtle.py",
];
/// The same among the compiled modules.
const NOT_FOR_SERVICES_COMPILED: [&str; 5] = ["_test", "_xx", "xx", "_tkinter", "_ctypes_test"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let libraries = directories_above(scene, &|path| is_standard_library(scene, path));
    for (library, because) in &libraries {
        keep_standard_library(scene, selection, library, because);
    }
    let sites = directories_above(scene, &is_site);
    let sources = own_sources(scene, &libraries, &sites);
    for (directory, because) in &sources {
        keep_sources(scene, selection, directory, because, &is_source);
    }
    let imported = imports::of(scene, sources.keys());
    for site in all_sites(scene, &libraries, &sites) {
        keep_site(scene, selection, &site, &imported);
    }
}

/// `python3.11` with the module `os` in it: a virtual environment has none.
fn is_standard_library(scene: &Scene<'_>, path: &RootPath) -> bool {
    let named = name_is(path, |name| name.starts_with(b"python") || name.starts_with(b"pypy"));
    named && (exists(scene, &path.join(b"os.py")) || exists(scene, &path.join(b"os.pyc")))
}

fn is_site(path: &RootPath) -> bool {
    name_is(path, |name| matches!(name, b"site-packages" | b"dist-packages"))
}

fn is_source(path: &RootPath) -> bool {
    name_is(path, |name| name.ends_with(b".py"))
}

fn keep_standard_library(
    scene: &Scene<'_>,
    selection: &mut Selection<'_>,
    library: &RootPath,
    because: &RootPath,
) {
    let loader = Loader::new(scene);
    let skip = |path: &RootPath, node: &Node| {
        let top = path.parent().as_ref() == Some(library);
        let compiled = path.parent().is_some_and(|parent| name_is(&parent, |name| name == b"lib-dynload"));
        name_is(path, |name| {
            NOT_FOR_SERVICES.contains(&name)
                || top && (is_site(path) || name.starts_with(b"config-"))
                || name.ends_with(b".a")
                || node.is_file() && name.ends_with(b".exe")
        }) || compiled && !is_importable(&loader, path)
    };
    selection.keep_tree(library, Reason::Language, Some(because), &skip);
}

/// Whether a service may import the compiled module at `path`: not one for tests, and one whose
/// libraries the base has. Modules are imported late, so that no exercise may come to it.
fn is_importable(loader: &Loader<'_>, path: &RootPath) -> bool {
    let unused =
        |name: &[u8]| NOT_FOR_SERVICES_COMPILED.iter().any(|start| name.starts_with(start.as_bytes()));
    !name_is(path, unused) && loader.has_needed(path)
}

/// The directories from which the application's own modules were loaded: those that hold a used
/// source, or the outermost package around it.
fn own_sources(scene: &Scene<'_>, libraries: &Found, sites: &Found) -> Found {
    let mut found = Found::new();
    for used in scene.used.iter().filter(|used| used.is_file(scene) && is_own(used)) {
        let foreign = |top: &RootPath| used.real.is_within(top);
        if libraries.keys().chain(sites.keys()).any(foreign) {
            continue;
        }
        let is_package = |directory: &RootPath| exists(scene, &directory.join(b"__init__.py"));
        if let Some(directory) = used.real.ancestors().find(|directory| !is_package(directory)) {
            found.entry(directory).or_insert_with(|| used.real.clone());
        }
    }
    found
}

/// Whether it is a source, and not one of the distribution's.
fn is_own(used: &Used<'_>) -> bool {
    let in_lib =
        used.real.as_bytes().starts_with(b"/usr/lib/") || used.real.as_bytes().starts_with(b"/usr/share/");
    is_source(&used.real) && !in_lib
}

/// The directories of installed packages: those that were used, and their sisters.
fn all_sites(scene: &Scene<'_>, libraries: &Found, sites: &Found) -> BTreeSet<RootPath> {
    let mut all: BTreeSet<RootPath> = sites.keys().cloned().collect();
    for library in libraries.keys() {
        let parent = library.parent().unwrap_or_else(RootPath::root);
        let sisters = [library.clone(), parent.join(b"python3")];
        let names: [&[u8]; 2] = [b"site-packages", b"dist-packages"];
        all.extend(sisters.iter().flat_map(|sister| names.map(|name| sister.join(name))));
    }
    all.retain(|site| scene.node(site).is_some_and(Node::is_directory));
    all
}

/// Keeps the packages of `site` that were used or are imported, and those that they require.
fn keep_site(scene: &Scene<'_>, selection: &mut Selection<'_>, site: &RootPath, imported: &BTreeSet<String>) {
    let mut wanted: BTreeMap<String, RootPath> = BTreeMap::new();
    for used in scene.used_below(site).filter(|used| used.was(Use::Opened) || used.was(Use::Executed)) {
        if let Some(module) = used.real.below(site).and_then(module_name) {
            wanted.entry(module).or_insert_with(|| used.real.clone());
        }
    }
    wanted.extend(imported.iter().map(|module| (module.clone(), site.clone())));
    let distributions = Distributions::read(scene, site);
    for (module, because) in distributions.with_required(wanted) {
        for (path, _) in scene.entries(site) {
            let is_module = path.below(site).and_then(module_name).is_some_and(|name| name == module);
            if is_module && path.name() != Some(b"__pycache__") {
                selection.keep_tree(&path, Reason::Application, Some(&because), &|path, _| {
                    name_is(path, |n| n == b"tests")
                });
            }
        }
        for information in distributions.of_module(&module) {
            selection.keep_tree(information, Reason::Application, Some(&because), &|_, _| false);
        }
    }
}

/// The top-level module of a path below a directory of packages: `x` for `x/y.py`, `x.py`,
/// `x.cpython-311-x86_64-linux-gnu.so`. None for descriptions of packages.
fn module_name(below: &[u8]) -> Option<String> {
    let first = std::str::from_utf8(below.split(|b| *b == b'/').next()?).ok()?;
    if first.ends_with("-info") || first == "__pycache__" || first.ends_with(".pth") {
        return None;
    }
    Some(first.split('.').next().unwrap_or(first).to_owned()).filter(|name| !name.is_empty())
}
