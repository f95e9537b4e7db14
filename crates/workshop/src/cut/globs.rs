//! `--keep` and `--drop`: globs over the paths of the container.

use std::cell::RefCell;
use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use spec::{Error, Result, RootPath};

/// A set of globs. `*` stays within a directory, `**` does not; a directory that matches covers
/// all that is below it.
pub(super) struct Globs {
    flag: &'static str,
    texts: Vec<String>,
    set: GlobSet,
    /// Indices of those that matched something.
    matched: RefCell<BTreeSet<usize>>,
}

impl Globs {
    pub(super) fn new(flag: &'static str, texts: &[String]) -> Result<Self> {
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            builder.add(glob(flag, text)?);
        }
        let set = builder
            .build()
            .map_err(|error| Error::user(format!("{flag}: too much to match")).because(error))?;
        Ok(Self { flag, texts: texts.to_vec(), set, matched: RefCell::default() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether a glob matches `path` or a directory above it.
    pub(super) fn covers(&self, path: &RootPath) -> bool {
        if self.is_empty() {
            return false;
        }
        let hits: Vec<usize> = std::iter::once(path.clone())
            .chain(path.ancestors())
            .flat_map(|path| self.set.matches(path.as_path()))
            .collect();
        self.matched.borrow_mut().extend(&hits);
        !hits.is_empty()
    }

    /// A warning for each glob that matched nothing: most likely a slip of the pen.
    pub(super) fn idle(&self) -> Vec<String> {
        let matched = self.matched.borrow();
        let idle = self.texts.iter().enumerate().filter(|(index, _)| !matched.contains(index));
        idle.map(|(_, text)| format!("{} {text:?} matches nothing", self.flag)).collect()
    }
}

fn glob(flag: &str, text: &str) -> Result<globset::Glob> {
    if !text.starts_with(['/', '*']) {
        return Err(Error::user(format!("{flag} {text:?} is not a path of the container"))
            .hint("start it with / or **/ as in /srv/site/**/*.html"));
    }
    let trimmed = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    GlobBuilder::new(trimmed)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| Error::user(format!("{flag} {text:?} is not a glob")).because(error))
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Asked, Sample, assert_files, has, path};
    use super::*;

    fn root() -> Sample {
        let root = Sample::new("globs");
        for file in ["/srv/a/1", "/srv/a/deep/2", "/srv/b/3", "/opt/x.txt", "/opt/y.bin"] {
            root.file(file, "x");
        }
        root
    }

    fn asked(keep: &[&str], drop: &[&str]) -> Asked {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        Asked { level: Level::Exact, keep: owned(keep), drop: owned(drop), ..Asked::default() }
    }

    #[test]
    fn keep_is_stronger_than_drop_and_drop_than_use() {
        let root = root();
        let seen = root.seen(&[("/srv/b/3", Use::Opened), ("/opt/y.bin", Use::Opened)]);
        let cut = asked(&["/srv/a/deep"], &["/srv", "/opt/nothing"]).cut(&root, &seen).expect("cut");
        assert_files(&cut, &["/", "/opt/y.bin", "/srv/a/deep", "/srv/a/deep/2"]);
        assert!(has(&cut, "/srv/a"), "the way to what is kept");
        assert!(cut.warnings.iter().any(|w| w.contains("/srv/b/3 was used")), "{:?}", cut.warnings);
        assert!(cut.warnings.iter().any(|w| w.contains("matches nothing")), "{:?}", cut.warnings);
    }

    #[test]
    fn stars_and_mistakes() {
        let root = root();
        let cut = asked(&["/**/*.txt"], &[]).cut(&root, &root.seen(&[])).expect("cut");
        assert_files(&cut, &["/", "/opt/x.txt"]);
        for bad in ["srv", "/[", ""] {
            let error = asked(&[bad], &[]).cut(&root, &root.seen(&[])).expect_err(bad);
            assert_eq!(error.kind(), spec::ErrorKind::User);
        }
        let globs = Globs::new("--keep", &["/srv/*".to_owned()]).expect("globs");
        assert!(globs.covers(&path("/srv/a/deep/2")) && !globs.covers(&path("/srv")));
    }
}
