//! Node.js: the packages of which a module was loaded, those they depend on, and the application
//! around the nearest package.json. The standard library is inside the program.

use std::collections::BTreeSet;

use spec::RootPath;
use spec::report::Reason;

use super::super::boundaries::is_shared;
use super::super::scene::{Scene, at};
use super::super::selection::Selection;
use super::{exists, keep_module, keep_sources, name_is};

const MAX_DESCRIPTION: u64 = 4 << 20;
/// Of a package, what is for reading and for developing it.
const UNREAD: [&[u8]; 7] = [b"test", b"tests", b"__tests__", b"docs", b"example", b"examples", b".github"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let mut done = BTreeSet::new();
    let debian = at("/usr/share/nodejs");
    for used in scene.used.iter().filter(|used| used.is_file(scene)) {
        if !(is_script(&used.real) || is_installed_package(&used.real)) {
            continue;
        }
        if used.real.is_within(&debian) {
            keep_module(scene, selection, &debian, &used.real);
        } else if let Some(package) = package_root(scene, &used.real) {
            keep_package(scene, selection, &package, &used.real, &mut done);
        }
    }
}

fn is_script(path: &RootPath) -> bool {
    let suffixes: [&[u8]; 5] = [b".js", b".cjs", b".mjs", b".node", b".json"];
    name_is(path, |name| suffixes.iter().any(|suffix| name.ends_with(suffix)))
}

fn is_installed_package(path: &RootPath) -> bool {
    path.as_bytes().split(|b| *b == b'/').any(|part| part == b"node_modules")
}

/// The nearest directory with a package.json.
fn package_root(scene: &Scene<'_>, file: &RootPath) -> Option<RootPath> {
    file.ancestors()
        .take_while(|path| !is_shared(path))
        .find(|path| exists(scene, &path.join(b"package.json")))
}

fn keep_package(
    scene: &Scene<'_>,
    selection: &mut Selection<'_>,
    package: &RootPath,
    because_of: &RootPath,
    done: &mut BTreeSet<RootPath>,
) {
    if !done.insert(package.clone()) {
        return;
    }
    if is_installed_package(package) {
        let unread = |path: &RootPath, _: &_| {
            name_is(path, |name| {
                UNREAD.contains(&name)
                    || name == b"node_modules"
                    || name.ends_with(b".map")
                    || name.ends_with(b".md")
            })
        };
        selection.keep_tree(package, Reason::Application, Some(because_of), &unread);
    } else {
        keep_sources(scene, selection, package, because_of, &|_| false);
    }
    for name in dependencies(scene, package) {
        let places = std::iter::once(package.clone()).chain(package.ancestors());
        let found = places.map(|place| place.join(b"node_modules").join(name.as_bytes()));
        let found = found.filter_map(|place| scene.tree.real(&RootPath::normalise(place.as_bytes())?)).next();
        if let Some(dependency) = found {
            keep_package(scene, selection, &dependency, because_of, done);
        }
    }
}

/// The names under `dependencies` and `optionalDependencies`.
fn dependencies(scene: &Scene<'_>, package: &RootPath) -> Vec<String> {
    let content = scene.tree.read_file(&package.join(b"package.json"), MAX_DESCRIPTION).unwrap_or_default();
    let description: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
    let groups = ["dependencies", "optionalDependencies"]
        .into_iter()
        .filter_map(|group| description.get(group)?.as_object());
    let names = groups.flat_map(|group| group.keys());
    names.filter(|name| !name.contains("..") && !name.is_empty()).cloned().collect()
}
