//! What sources say that they import, at their top or inside a function: a request that nobody
//! exercised may come to it.

use std::collections::BTreeSet;

use spec::RootPath;

use super::super::super::boundaries::is_shared;
use super::super::super::scene::Scene;

/// Larger files are data.
const MAX_SOURCE: u64 = 1 << 20;
const MAX_SOURCES: usize = 4000;

/// The top-level modules that the sources in `directories` import.
pub(super) fn of<'a>(scene: &Scene<'_>, directories: impl Iterator<Item = &'a RootPath>) -> BTreeSet<String> {
    let mut sources = Vec::new();
    for directory in directories {
        scene.tree.visit(directory, &mut |path, node| {
            if node.is_file() && super::is_source(path) && sources.len() < MAX_SOURCES {
                sources.push(path.clone());
            }
            path == directory || !(is_shared(directory) || node.entry(b"pyvenv.cfg").is_some())
        });
    }
    let texts = sources.iter().filter_map(|path| scene.tree.read_file(path, MAX_SOURCE));
    texts.flat_map(|text| modules(&String::from_utf8_lossy(&text))).collect()
}

/// The modules in lines like `import a.b as c, d` and `from a.b import c`.
fn modules(source: &str) -> BTreeSet<String> {
    let top = |name: &str| {
        let name = name.trim().split(['.', ' ', ';', '#']).next().unwrap_or_default();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        plain.then(|| name.to_owned())
    };
    let mut found = BTreeSet::new();
    for line in source.lines().map(str::trim_start) {
        if let Some(names) = line.strip_prefix("import ") {
            found.extend(names.split(',').filter_map(top));
        } else if let Some((name, _)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import"))
        {
            found.extend(top(name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_in_all_their_forms() {
        let source = "import a.b as c, d\nfrom e.f import g\n  import h # later\nfrom . import own\n# import no\nx = 1\n";
        let found: Vec<String> = modules(source).into_iter().collect();
        assert_eq!(found, ["a", "d", "e", "h"]);
    }
}
