//! Where the state of containers is: one directory each, under its id.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use spec::{Error, Result, ResultExt};

/// The longest id.
const LONGEST: usize = 1024;

/// What a directory on its way out begins with: no id does.
const GONE: char = '~';

/// The id of a container: letters, digits and `_ + - .`, one name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id(String);

impl Id {
    /// Checks it.
    ///
    /// # Errors
    /// What would be another path, or no file's name. (The words are runc's.)
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fine = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
        let sound = (1..=LONGEST).contains(&text.len()) && text.chars().all(fine);
        if sound && !matches!(text, "." | "..") {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::user(format!("invalid container ID format: {shown:?}"))
            .hint("letters, digits, '_', '+', '-' and '.', 1024 at most, and neither . nor .."))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The root of all state.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// What was asked for, or the usual place.
    ///
    /// # Errors
    /// Without root, where nothing tells of a place of one's own.
    pub(crate) fn new(asked: Option<&str>) -> Result<Self> {
        let root = match asked.filter(|path| !path.is_empty()) {
            Some(path) => std::path::absolute(path).doing(|| format!("finding {path}"))?,
            None if rustix::process::geteuid().is_root() => PathBuf::from("/run/tsubo-oci"),
            None => {
                let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
                let dir = dir.ok_or_else(|| {
                    Error::user("XDG_RUNTIME_DIR is not set, so there is no place for the state")
                        .hint("name one with --root DIR")
                })?;
                Path::new(&dir).join("tsubo-oci")
            }
        };
        Ok(Self { root })
    }

    /// Where the state of a container is.
    pub(crate) fn place(&self, id: &Id) -> PathBuf {
        self.root.join(&id.0)
    }

    /// Makes the directory of a new container: of two that try one gets it.
    ///
    /// # Errors
    /// Conflict where there is a container of this id.
    pub(crate) fn claim(&self, id: &Id) -> Result<PathBuf> {
        let place = self.place(id);
        let mut private = DirBuilder::new();
        private.mode(0o700);
        let made = match private.create(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                private
                    .recursive(true)
                    .create(&self.root)
                    .doing(|| format!("making {}", self.root.display()))?;
                private.recursive(false).create(&place)
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::conflict(format!("container with id exists: {}", id.0))
                    .hint("delete removes it; another id is free"))
            }
            made => made.doing(|| format!("making {}", place.display())).map(|()| place),
        }
    }

    /// Removes the directory of a container. It leaves its name in one step: nobody sees half a
    /// container, and a new one of this id is never touched. What a killed removal has left goes too.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn retire(&self, id: &Id) -> Result<()> {
        let place = self.place(id);
        let doing = || format!("removing {}", place.display());
        // A name of a file has 255 bytes at most.
        let gone = self.root.join(format!("{GONE}{}", &id.0[..id.0.len().min(254)]));
        let mut moved = fs::rename(&place, &gone);
        if moved.as_ref().is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty) {
            remove(&gone).doing(doing)?;
            moved = fs::rename(&place, &gone);
        }
        match moved {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.doing(doing)?,
        }
        remove(&gone).doing(doing)
    }

    /// Every id.
    ///
    /// # Errors
    /// A root that cannot be read.
    pub(crate) fn ids(&self) -> Result<Vec<Id>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("reading {}", self.root.display()))?,
        };
        let mut ids: Vec<Id> =
            entries.flatten().filter_map(|entry| Id::parse(entry.file_name().to_str()?).ok()).collect();
        ids.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(ids)
    }
}

/// What is gone already is as good. What is mostly there goes without being looked for.
fn remove(directory: &Path) -> std::io::Result<()> {
    for file in crate::record::FILES {
        let _ = fs::remove_file(directory.join(file));
    }
    if fs::remove_dir(directory).is_ok() {
        return Ok(());
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn ids() {
        for id in ["web", "a+b_c-d.e", ".x", "-x", "0", &"x".repeat(1024)] {
            assert_eq!(Id::parse(id).expect(id).as_str(), id);
        }
        for id in ["", ".", "..", "../x", "a/b", "a b", "~1", "a\0", "ä", "a\n", "%2e", &"x".repeat(1025)] {
            assert!(Id::parse(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn one_of_two_gets_an_id_and_what_is_removed_is_free_again() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home { root: dir.path().join("deep/state") };
        let id = Id::parse("web").expect("id");
        let place = home.claim(&id).expect("free");
        assert_eq!(fs::metadata(&place).expect("dir").mode() & 0o7777, 0o700);
        assert!(home.claim(&id).expect_err("taken").to_string().contains("container with id exists: web"));
        assert_eq!(home.ids().expect("ids"), std::slice::from_ref(&id));
        home.retire(&id).expect("removed");
        home.retire(&id).expect("twice");
        fs::create_dir_all(home.root.join("~web/left")).expect("what a killed removal leaves");
        home.retire(&id).expect("removed");
        home.claim(&id).expect("free");
        fs::create_dir_all(home.root.join("~web/left")).expect("the same");
        home.retire(&id).expect("removed");
        assert_eq!(fs::read_dir(&home.root).expect("root").count(), 0);
    }
}
