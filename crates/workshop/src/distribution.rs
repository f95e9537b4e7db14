//! Which distribution package a file of the base came with: the databases of dpkg and apk, read
//! from the base itself. A base of neither kind has no packages, which is no error.

use std::collections::HashMap;

use spec::RootPath;

use crate::base_tree::BaseTree;

/// No package database is larger; what is, is not one.
const MAX_DATABASE: u64 = 256 << 20;

/// The installed distribution packages of a base.
#[derive(Debug, Default)]
pub struct Distribution {
    packages: Vec<Package>,
    owner: HashMap<RootPath, usize>,
}

/// One installed distribution package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name, without the architecture.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The source package it was built from.
    pub source: String,
    /// Whether the distribution counts on it: `Essential`, or priority `required` or `important`.
    pub system: bool,
    /// What it depends on, names only.
    pub depends: Vec<String>,
    /// Its files and symlinks, where they really are; those that are not in the base are left out.
    pub files: Vec<RootPath>,
}

impl Distribution {
    /// Reads the databases of `tree`.
    pub fn read(tree: &BaseTree) -> Self {
        let mut distribution = Self::default();
        let mut places = Places { tree, known: HashMap::new() };
        distribution.read_dpkg(&mut places);
        distribution.read_apk(&mut places);
        for (index, package) in distribution.packages.iter().enumerate() {
            distribution.owner.extend(package.files.iter().map(|file| (file.clone(), index)));
        }
        distribution
    }

    /// The installed packages.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The package that brought the file at `path` (no component of which is a symlink).
    pub fn owner(&self, path: &RootPath) -> Option<&Package> {
        self.owner.get(path).map(|index| &self.packages[*index])
    }

    fn read_dpkg(&mut self, places: &mut Places<'_>) {
        let status = places.database("/var/lib/dpkg/status");
        let info = RootPath::normalise(b"/var/lib/dpkg/info").and_then(|info| places.tree.real(&info));
        let Some((status, info)) = status.zip(info) else { return };
        let lists = lists(places.tree, &info);
        for stanza in status.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
            let Some(mut package) = dpkg_package(stanza) else { continue };
            for list in lists.get(package.name.as_bytes()).into_iter().flatten() {
                let content = places.tree.read_file(list, MAX_DATABASE).unwrap_or_default();
                package.files.extend(listed_files(&content).filter_map(|line| places.real_file(line)));
            }
            self.packages.push(package);
        }
    }

    fn read_apk(&mut self, places: &mut Places<'_>) {
        let database =
            places.database("/lib/apk/db/installed").or_else(|| places.database("/usr/lib/apk/db/installed"));
        for stanza in database.iter().flat_map(|text| text.split("\n\n")) {
            if let Some(package) = apk_package(stanza, places) {
                self.packages.push(package);
            }
        }
    }
}

/// The file lists of /var/lib/dpkg/info by package name: `nginx.list`, `libc6:amd64.list`.
fn lists<'a>(tree: &'a BaseTree, info: &RootPath) -> HashMap<&'a [u8], Vec<RootPath>> {
    let mut lists: HashMap<&[u8], Vec<RootPath>> = HashMap::new();
    for (name, _) in tree.node(info).map(|node| node.entries()).unwrap_or_default() {
        if let Some(stem) = name.strip_suffix(b".list") {
            let package = stem.split(|b| *b == b':').next().unwrap_or(stem);
            lists.entry(package).or_default().push(info.join(name));
        }
    }
    lists
}

/// The lines of a list that are no directories. A directory stands before what is in it; in the
/// base it may be a symlink (/lib), which then is not this package's.
fn listed_files(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = content.split(|b| *b == b'\n').filter(|line| line.len() > 1).peekable();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let inside = lines.peek().and_then(|next| next.strip_prefix(line));
            if line.first() == Some(&b'/') && inside.is_none_or(|rest| rest.first() != Some(&b'/')) {
                return Some(line);
            }
        }
    })
}

/// One paragraph of dpkg's status file; None if the package is not installed.
fn dpkg_package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    if field("Status")?.split(' ').next_back() != Some("installed") {
        return None;
    }
    let name = field("Package")?.to_owned();
    let source = field("Source").and_then(|source| source.split(' ').next()).unwrap_or(&name).to_owned();
    let system =
        field("Essential") == Some("yes") || matches!(field("Priority"), Some("required" | "important"));
    let depends = [field("Pre-Depends"), field("Depends")];
    Some(Package {
        version: field("Version").unwrap_or_default().to_owned(),
        source,
        system,
        depends: depends.into_iter().flatten().flat_map(dependencies).collect(),
        files: Vec::new(),
        name,
    })
}

/// The names in `libc6 (>= 2.34), a | b:any`; of alternatives all.
fn dependencies(field: &str) -> impl Iterator<Item = String> + use<'_> {
    field.split([',', '|']).filter_map(|one| one.trim().split([' ', ':', '(']).next()).map(str::to_owned)
}

/// One paragraph of apk's database.
fn apk_package(stanza: &str, places: &mut Places<'_>) -> Option<Package> {
    let mut package = Package::default();
    let mut directory = "";
    for line in stanza.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key {
            "P" => package.name = value.to_owned(),
            "V" => package.version = value.to_owned(),
            "o" => package.source = value.to_owned(),
            "D" => package.depends.extend(value.split(' ').filter_map(apk_name)),
            "F" => directory = value,
            "R" => package.files.extend(places.real_file(format!("/{directory}/{value}").as_bytes())),
            _ => {}
        }
    }
    package.system =
        matches!(package.source.as_str(), "musl" | "busybox" | "alpine-baselayout" | "apk-tools");
    (!package.name.is_empty()).then_some(package)
}

/// `musl>=1.2` is musl; `so:libc.musl-x86_64.so.1` and conflicts (`!x`) are not names.
fn apk_name(dependency: &str) -> Option<String> {
    let name = dependency.split(['=', '<', '>', '~']).next()?;
    (!name.is_empty() && !name.contains([':', '!', '/'])).then(|| name.to_owned())
}

/// Where listed names really are: on a merged /usr the lists say /lib/x for /usr/lib/x.
struct Places<'a> {
    tree: &'a BaseTree,
    known: HashMap<Vec<u8>, Option<RootPath>>,
}

impl Places<'_> {
    fn database(&self, path: &str) -> Option<String> {
        let content = self.tree.read_file(&RootPath::normalise(path.as_bytes())?, MAX_DATABASE)?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// The real path of the file or symlink `listed`; None for directories and what is not there.
    fn real_file(&mut self, listed: &[u8]) -> Option<RootPath> {
        let slash = listed.iter().rposition(|b| *b == b'/')?;
        let (directory, name) = (&listed[..slash], &listed[slash + 1..]);
        if !self.known.contains_key(directory) {
            let real = RootPath::normalise(directory).and_then(|path| self.tree.real(&path));
            self.known.insert(directory.to_vec(), real);
        }
        let real = self.known.get(directory)?.as_ref()?;
        let counts = self.tree.node(real)?.entry(name)?.counts();
        counts.then(|| real.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::sample::{Sample, path};

    #[test]
    fn dpkg_on_a_merged_usr() {
        let root = Sample::new("dpkg");
        root.file("/usr/lib/x86/libz.so.1", "z");
        root.link("/lib", "usr/lib");
        root.file(
            "/var/lib/dpkg/status",
            "Package: zlib1g\nStatus: install ok installed\nPriority: required\nSource: zlib (1:2)\nVersion: 1:1.2\n\
             Depends: libc6 (>= 2.14), a:any | b\nDescription: x\n Package: no\n\nPackage: gone\n\
             Status: deinstall ok config-files\nVersion: 1\n",
        );
        root.file("/var/lib/dpkg/info/zlib1g:amd64.list", "/.\n/lib\n/lib/x86\n/lib/x86/libz.so.1\n/gone\n");
        let distribution = Distribution::read(&root.tree());
        assert_eq!(distribution.packages().len(), 1);
        let owner = distribution.owner(&path("/usr/lib/x86/libz.so.1")).expect("owned");
        assert_eq!((owner.name.as_str(), owner.source.as_str(), owner.system), ("zlib1g", "zlib", true));
        assert_eq!(owner.depends, ["libc6", "a", "b"]);
        assert_eq!(owner.files, [path("/usr/lib/x86/libz.so.1")]);
    }

    #[test]
    fn apk() {
        let root = Sample::new("apk");
        root.file("/usr/sbin/nginx", "n");
        root.file(
            "/lib/apk/db/installed",
            "P:nginx\nV:1.26\no:nginx\nD:so:libc.musl-x86_64.so.1 pcre2>=10 !x\nF:usr\nF:usr/sbin\nR:nginx\nZ:Q1\n\n",
        );
        let distribution = Distribution::read(&root.tree());
        let owner = distribution.owner(&path("/usr/sbin/nginx")).expect("owned");
        assert_eq!((owner.name.as_str(), owner.version.as_str()), ("nginx", "1.26"));
        assert_eq!(owner.depends, ["pcre2"]);
    }
}
