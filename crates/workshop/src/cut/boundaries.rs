//! Where one application's files end and another's begin.
//!
//! Rules that keep "the directory around this file" must not climb into a directory that all
//! applications share: the root around /srv/site/a/b is /srv/site, not /srv and not /.

use spec::RootPath;

use super::scene::Scene;
use crate::base_tree::Node;

/// Directories whose entries belong to different owners.
const SHARED: [&str; 29] = [
    "/",
    "/usr",
    "/usr/share",
    "/usr/lib",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/share",
    "/usr/local/lib",
    "/usr/local/etc",
    "/var",
    "/var/lib",
    "/var/www",
    "/var/cache",
    "/var/log",
    "/var/spool",
    "/srv",
    "/opt",
    "/home",
    "/root",
    "/etc",
    "/mnt",
    "/media",
    "/run",
    "/tmp",
    "/var/tmp",
    "/usr/src",
    "/usr/bin",
    "/usr/sbin",
    "/usr/include",
];
/// Of those, the ones that hold nothing but what is served: a file lying in them directly makes
/// the whole directory one document root.
const DOCUMENTS: [&str; 2] = ["/srv", "/var/www"];
/// Directories of which nothing is a document: programs and libraries, logs, the temporary, the
/// books of the distribution.
const NO_DOCUMENTS: [&str; 22] = [
    "/etc",
    "/boot",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/usr/include",
    "/run",
    "/tmp",
    "/usr/src",
    "/lost+found",
];
/// Directories of /var that are no documents either.
const NO_DOCUMENTS_VAR: [&str; 10] =
    ["cache", "log", "tmp", "spool", "backups", "run", "lock", "lib/dpkg", "lib/apt", "lib/systemd"];
/// Components of the installed packages of languages, which have rules of their own.
const PACKAGES: [&[u8]; 6] =
    [b"node_modules", b"site-packages", b"dist-packages", b"gems", b"vendor_ruby", b"jvm"];
/// Directories of /usr/share that have a rule of their own, or serve no service.
const NO_DOCUMENTS_SHARE: [&str; 36] = [
    "zoneinfo",
    "locale",
    "i18n",
    "ca-certificates",
    "mime",
    "fonts",
    "terminfo",
    "tabset",
    "perl",
    "perl5",
    "php",
    "python3",
    "nodejs",
    "node_modules",
    "java",
    "lua",
    "ruby",
    "rubygems-integration",
    "tcltk",
    "misc",
    "icons",
    "pixmaps",
    "applications",
    "doc",
    "doc-base",
    "man",
    "info",
    "lintian",
    "bug",
    "bash-completion",
    "zsh",
    "fish",
    "common-licenses",
    "keyrings",
    "X11",
    "dict",
];

/// Whether the entries of `path` belong to different owners.
pub(super) fn is_shared(path: &RootPath) -> bool {
    let text = path.as_bytes();
    let home = path.parent().is_some_and(|parent| parent.as_bytes() == b"/home");
    let libraries = text.starts_with(b"/usr/lib/") && is_triplet(path);
    home || libraries || SHARED.iter().any(|shared| shared.as_bytes() == text)
}

/// Whether `path` is called like `/usr/lib/x86_64-linux-gnu`.
pub(super) fn is_triplet(path: &RootPath) -> bool {
    let linux = |name: &[u8]| name.windows(7).any(|part| part == b"-linux-");
    path.name().is_some_and(linux) && path.as_bytes().iter().filter(|b| **b == b'/').count() <= 3
}

/// The highest directory around `directory` (or itself) that is not shared; None where it is
/// shared itself.
pub(super) fn own_root(directory: &RootPath) -> Option<RootPath> {
    let mut below = None;
    for path in std::iter::once(directory.clone()).chain(directory.ancestors()) {
        if is_shared(&path) {
            return below;
        }
        below = Some(path);
    }
    below
}

/// The document root around `directory`: [`own_root`], or a shared directory that is made for
/// documents. None where documents do not lie.
pub(super) fn document_root(directory: &RootPath) -> Option<RootPath> {
    let text = directory.as_bytes();
    if DOCUMENTS.iter().any(|documents| documents.as_bytes() == text) {
        return Some(directory.clone());
    }
    let within = |top: &str| directory.is_within(&super::scene::at(top));
    let below = |base: &str, names: &[&str]| names.iter().any(|name| within(&format!("{base}/{name}")));
    let foreign = NO_DOCUMENTS.iter().any(|top| within(top))
        || below("/var", &NO_DOCUMENTS_VAR)
        || below("/usr/share", &NO_DOCUMENTS_SHARE)
        || text.split(|b| *b == b'/').any(|part| PACKAGES.contains(&part));
    if foreign { None } else { own_root(directory) }
}

/// Whether the directory `node` at `path` holds what others made and an application only has
/// installed: Node packages, a virtual environment of Python.
pub(super) fn is_installed(path: &RootPath, node: &Node) -> bool {
    path.name() == Some(b"node_modules") || node.entry(b"pyvenv.cfg").is_some()
}

/// The real paths of the directories in which the dynamic loader looks without being told.
pub(super) fn library_directories(scene: &Scene<'_>) -> Vec<RootPath> {
    let tops = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32", "/usr/local/lib"];
    let tops: Vec<RootPath> = tops.iter().map(|top| super::scene::at(top)).collect();
    let mut directories: Vec<RootPath> = Vec::new();
    for top in &tops {
        let triplets =
            scene.entries(top).into_iter().filter(|(path, node)| node.is_directory() && is_triplet(path));
        directories.extend(triplets.map(|(path, _)| path));
        directories.extend(scene.tree.real(top));
    }
    let mut seen = std::collections::BTreeSet::new();
    directories.retain(|path| seen.insert(path.clone()) && scene.node(path).is_some_and(Node::is_directory));
    directories
}

#[cfg(test)]
mod tests {
    use super::super::sample::path;
    use super::*;

    #[test]
    fn document_roots() {
        for (directory, root) in [
            ("/srv/site/css", Some("/srv/site")),
            ("/srv", Some("/srv")),
            ("/var/www/html", Some("/var/www/html")),
            ("/usr/share/nginx/html", Some("/usr/share/nginx")),
            ("/app/static", Some("/app")),
            ("/home/me/site/x", Some("/home/me/site")),
            ("/home/me", None),
            ("/root", None),
            ("/", None),
            ("/etc/nginx", None),
            ("/usr/lib/python3/dist-packages", None),
            ("/usr/share/zoneinfo/Etc", None),
            ("/var/log/nginx", None),
            ("/var/lib/redis", Some("/var/lib/redis")),
        ] {
            assert_eq!(document_root(&path(directory)), root.map(path), "{directory}");
        }
        assert!(is_shared(&path("/usr/lib/x86_64-linux-gnu")));
    }
}
