//! Plug-ins: shared objects that lie together in a directory of their own are loaded by name, and
//! which of them can change with a line of configuration or a request.

use std::collections::BTreeMap;

use spec::RootPath;
use spec::observation::Use;
use spec::report::Reason;

use super::boundaries::library_directories;
use super::scene::Scene;
use super::selection::Selection;

/// Components of directories whose shared objects have a rule of their own.
const RULED: [&[u8]; 12] = [
    b"gconv",
    b"perl",
    b"perl5",
    b"perl-base",
    b"ruby",
    b"php",
    b"lua",
    b"jvm",
    b"node_modules",
    b"nodejs",
    b"site-packages",
    b"dist-packages",
];

/// Keeps the shared objects beside those that were opened, and those of listed directories.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let usual = library_directories(scene);
    let mut directories: BTreeMap<RootPath, RootPath> = BTreeMap::new();
    for used in scene.used.iter().filter(|used| used.was(Use::Opened) || used.was(Use::Listed)) {
        let directory = if is_object(&used.real) { used.real.parent() } else { Some(used.real.clone()) };
        if let Some(directory) =
            directory.filter(|directory| !usual.contains(directory) && !is_ruled(directory))
        {
            directories.entry(directory).or_insert_with(|| used.real.clone());
        }
    }
    for (directory, because) in &directories {
        for (path, _) in
            scene.entries(directory).iter().filter(|(path, node)| is_object(path) && !node.is_directory())
        {
            selection.keep(path, Reason::Directory, Some(because));
        }
    }
}

fn is_object(path: &RootPath) -> bool {
    path.name().is_some_and(|name| name.ends_with(b".so") || name.windows(4).any(|part| part == b".so."))
}

fn is_ruled(directory: &RootPath) -> bool {
    let ruled = |part: &[u8]| RULED.contains(&part) || part.starts_with(b"python");
    directory.as_bytes().split(|b| *b == b'/').any(ruled)
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, has};

    #[test]
    fn modules_beside_a_module() {
        let root = Sample::new("plugins");
        for file in
            ["/usr/lib/nginx/modules/a.so", "/usr/lib/nginx/modules/b.so", "/usr/lib/x.so", "/usr/lib/y.so"]
        {
            root.file(file, "x");
        }
        root.file("/usr/lib/nginx/modules/notes.txt", "x");
        let uses = [("/usr/lib/nginx/modules/a.so", Use::Opened), ("/usr/lib/x.so", Use::Opened)];
        let cut = root.cut(Level::Directory, &uses);
        assert!(has(&cut, "/usr/lib/nginx/modules/b.so"));
        assert!(!has(&cut, "/usr/lib/y.so") && !has(&cut, "/usr/lib/nginx/modules/notes.txt"));
        let listed = root.cut(Level::Directory, &[("/usr/lib/nginx/modules", Use::Listed)]);
        assert!(has(&listed, "/usr/lib/nginx/modules/a.so"));
    }
}
