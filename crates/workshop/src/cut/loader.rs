//! Finding a library as the dynamic loader does (ld.so(8), musl's where there is no other).

use std::collections::HashMap;

use spec::RootPath;

use super::boundaries::library_directories;
use super::elf::{self, Program};
use super::scene::{Scene, at, is_foreign};

/// The loader's own index of libraries.
pub(super) const CACHE: &str = "/etc/ld.so.cache";
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const CACHE_HEADER: usize = 48;
const CACHE_ENTRY: usize = 24;

/// Looks up libraries in one base.
pub(super) struct Loader<'a> {
    scene: &'a Scene<'a>,
    /// What /etc/ld.so.cache says: paths by name.
    cache: HashMap<Vec<u8>, Vec<RootPath>>,
    usual: Vec<RootPath>,
    environment: Vec<Vec<u8>>,
}

/// A library that was found.
pub(super) struct Found {
    pub(super) path: RootPath,
    /// Only the loader's index knows it.
    pub(super) by_cache: bool,
}

impl<'a> Loader<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Self {
        let cache = scene.tree.read_file(&at(CACHE), 64 << 20).and_then(|bytes| parse_cache(&bytes));
        let environment = scene.request.env.get("LD_LIBRARY_PATH").map(String::as_bytes).unwrap_or_default();
        Self {
            cache: cache.unwrap_or_default(),
            usual: library_directories(scene).into_iter().chain(musl_path(scene)).collect(),
            environment: environment.split(|b| matches!(b, b':' | b';')).map(<[u8]>::to_vec).collect(),
            scene,
        }
    }

    /// The library `name` that `program` at `path` needs. `inherited` are the (expanded) DT_RPATH
    /// directories of the program itself and of those that load it.
    pub(super) fn find(
        &self,
        name: &[u8],
        path: &RootPath,
        program: &Program,
        inherited: &[Vec<u8>],
    ) -> Option<Found> {
        let fits = |path: &RootPath| self.fits(path, program);
        if name.contains(&b'/') {
            let path = RootPath::normalise(&self.expand(name, path)).filter(fits)?;
            return Some(Found { path, by_cache: false });
        }
        let inherited: &[Vec<u8>] = if program.runpath.is_empty() { inherited } else { &[] };
        let runpath = program.runpath.iter().map(|directory| self.expand(directory, path));
        let told = inherited.iter().chain(&self.environment).cloned().chain(runpath);
        let told = told.filter(|dir| dir.first() == Some(&b'/')).filter_map(|dir| RootPath::normalise(&dir));
        if let Some(path) = told.map(|directory| directory.join(name)).find(fits) {
            return Some(Found { path, by_cache: false });
        }
        if let Some(path) = self.usual.iter().map(|directory| directory.join(name)).find(fits) {
            return Some(Found { path, by_cache: self.is_only_cached(name, program) });
        }
        let path = self.cache.get(name)?.iter().find(|path| fits(path))?.clone();
        Some(Found { path, by_cache: true })
    }

    /// Whether everything is there that the library at `path` names as needed.
    pub(super) fn has_needed(&self, path: &RootPath) -> bool {
        let Some(program) = elf::read(&self.scene.tree, path) else { return true };
        let rpath: Vec<Vec<u8>> =
            program.rpath.iter().map(|directory| self.expand(directory, path)).collect();
        program.needed.iter().all(|name| self.find(name, path, &program, &rpath).is_some())
    }

    /// glibc looks into its index before the usual directories: where the index names a library
    /// outside the directories that are built into the loader, it is needed to find it.
    fn is_only_cached(&self, name: &[u8], program: &Program) -> bool {
        let indexed =
            self.cache.get(name).and_then(|paths| paths.iter().find(|path| self.fits(path, program)));
        indexed.is_some_and(|path| path.is_within(&at("/usr/local")))
    }

    fn fits(&self, path: &RootPath, program: &Program) -> bool {
        let real = self.scene.tree.real(path).filter(|real| !is_foreign(real));
        real.and_then(|real| elf::read(&self.scene.tree, &real))
            .is_some_and(|library| library.abi == program.abi)
    }

    /// Replaces $ORIGIN by the directory of `program` and $LIB by the usual directory's name.
    pub(super) fn expand(&self, text: &[u8], program: &RootPath) -> Vec<u8> {
        let origin = program.parent().unwrap_or_else(RootPath::root);
        let lib = self.usual.first().and_then(|usual| usual.below(&at("/usr"))).unwrap_or(b"lib");
        let replaced = replace(text, b"$ORIGIN", origin.as_bytes());
        let replaced = replace(&replaced, b"${ORIGIN}", origin.as_bytes());
        replace(&replace(&replaced, b"$LIB", lib), b"${LIB}", lib)
    }
}

fn replace(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(what) {
            out.extend_from_slice(with);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// musl's search path: one file per machine, directories apart by newline or colon.
fn musl_path(scene: &Scene<'_>) -> Vec<RootPath> {
    let files = scene.entries(&at("/etc")).into_iter();
    let files = files.filter(|(path, _)| path.name().is_some_and(|name| name.starts_with(b"ld-musl-")));
    let texts = files.filter_map(|(path, _)| scene.tree.read_file(&path, 1 << 16));
    let lines = texts
        .flat_map(|text| text.split(|b| matches!(b, b'\n' | b':')).map(<[u8]>::to_vec).collect::<Vec<_>>());
    lines.filter(|line| line.first() == Some(&b'/')).filter_map(|line| RootPath::normalise(&line)).collect()
}

/// Reads glibc's index, also where it follows the old format in the same file.
fn parse_cache(bytes: &[u8]) -> Option<HashMap<Vec<u8>, Vec<RootPath>>> {
    let start = bytes.windows(CACHE_MAGIC.len()).position(|part| part == CACHE_MAGIC)?;
    let bytes = &bytes[start..];
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let text = |at: usize| bytes.get(at..)?.split(|b| *b == 0).next();
    let mut cache: HashMap<Vec<u8>, Vec<RootPath>> = HashMap::new();
    for index in 0..number(CACHE_MAGIC.len())? {
        let entry = CACHE_HEADER + index * CACHE_ENTRY;
        let (Some(key), Some(value)) = (number(entry + 4), number(entry + 8)) else { break };
        let (Some(name), Some(path)) = (text(key), text(value).and_then(RootPath::normalise)) else {
            continue;
        };
        cache.entry(name.to_vec()).or_default().push(path);
    }
    Some(cache)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, has};
    use super::*;

    /// A shell of the host with its libraries where they belong, in `root`.
    fn host_program(root: &Sample, program: &str) -> Vec<PathBuf> {
        let output = std::process::Command::new("ldd").arg(program).output().expect("ldd");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let libraries: Vec<PathBuf> =
            text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
        for library in &libraries {
            root.file(library.to_str().expect("text"), std::fs::read(library).expect("library"));
        }
        root.program(program, std::fs::read(program).expect("program"));
        libraries
    }

    #[test]
    fn an_executed_program_brings_its_loader_and_libraries() {
        let root = Sample::new("ls");
        let libraries = host_program(&root, "/bin/ls");
        assert!(libraries.len() >= 3, "{libraries:?}");
        let cut = root.cut(Level::Exact, &[("/bin/ls", Use::Executed)]);
        for library in &libraries {
            assert!(has(&cut, library.to_str().expect("text")), "{library:?} of {:?}", cut.paths);
        }
        let read = root.cut(Level::Exact, &[("/bin/ls", Use::Opened)]);
        assert_eq!(read.report.files, 1, "opened as data it needs nothing");
    }

    #[test]
    fn origin_and_old_indices() {
        assert_eq!(replace(b"$ORIGIN/../lib", b"$ORIGIN", b"/opt/x/bin"), b"/opt/x/bin/../lib");
        assert!(parse_cache(b"garbage").is_none());
        let mut cut_short = CACHE_MAGIC.to_vec();
        cut_short.extend([255; 8]);
        assert_eq!(parse_cache(&cut_short).map(|cache| cache.len()), Some(0));
        if let Ok(bytes) = std::fs::read(CACHE) {
            let cache = parse_cache(&bytes).expect("the host's index");
            assert!(cache.keys().any(|name| name.starts_with(b"libc.so")));
        }
    }
}
