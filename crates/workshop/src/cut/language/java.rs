//! Java: the virtual machine's home, and the archives beside those that were opened.

use spec::RootPath;
use spec::report::Reason;

use super::super::scene::Scene;
use super::super::selection::Selection;
use super::{directories_above, exists, name_is};
use crate::base_tree::Node;

/// Of the virtual machine, what is for developing: sources, debuggers' symbols, class lists.
const NOT_FOR_SERVICES: [&[u8]; 8] =
    [b"src.zip", b"ct.sym", b"legal", b"man", b"include", b"demo", b"jmods", b"classlist"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let is_home = |path: &RootPath| {
        let modules = [path.join(b"lib").join(b"modules"), path.join(b"lib").join(b"rt.jar")];
        modules.iter().any(|modules| exists(scene, modules))
    };
    for (home, because) in directories_above(scene, &is_home) {
        for part in [&b"lib"[..], b"conf", b"release"] {
            let skip = |path: &RootPath, _: &Node| name_is(path, |name| NOT_FOR_SERVICES.contains(&name));
            selection.keep_tree(&home.join(part), Reason::Language, Some(&because), &skip);
        }
    }
    let is_archive =
        |path: &RootPath| name_is(path, |name| name.ends_with(b".jar") || name.ends_with(b".war"));
    for used in scene.used.iter().filter(|used| is_archive(&used.real)) {
        let Some(directory) = used.real.parent().filter(|path| path.as_bytes() != b"/usr/share/java") else {
            continue;
        };
        let beside = scene.entries(&directory).into_iter().filter(|(path, _)| is_archive(path));
        beside.for_each(|(path, _)| selection.keep(&path, Reason::Application, Some(&used.real)));
    }
}
