//! Small files that are written whole, and read back.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use spec::{Error, Name, Result, ResultExt};

/// Whether a write must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

/// Writes to a temporary name and renames: a reader sees the old or the new content.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, durable: Durable) -> Result<()> {
    let text = serde_json::to_vec_pretty(value);
    let text =
        text.map_err(|cause| Error::internal(format!("encoding {}", path.display())).because(cause))?;
    write_whole(path, &text, durable).doing(|| format!("writing {}", path.display()))
}

/// The same with plain text.
pub(crate) fn write_text(path: &Path, text: &str) -> std::io::Result<()> {
    write_whole(path, text.as_bytes(), Durable::Yes)
}

fn write_whole(path: &Path, bytes: &[u8], durable: Durable) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| match durable {
        Durable::Yes => file.sync_all(),
        Durable::No => Ok(()),
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    match path.parent() {
        Some(parent) if durable == Durable::Yes => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads a file back; None if it is not there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        text => text.doing(|| format!("reading {}", path.display()))?,
    };
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|cause| Error::internal(format!("{} is damaged", path.display())).because(cause))
}

/// Removes a file; gone already is as good.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", path.display())),
    }
}

/// What the name of a directory that is being removed begins with: that of no container.
const GONE: &str = ".gone-";

/// What is mostly in a container's directory, and nothing else.
const MOSTLY: [&str; 2] = ["container.json", "log"];

/// Removes a container's directory. It leaves its name in one step, so that nobody ever sees half
/// a container, or loses a new one of this name to a removal that is still at work.
pub(crate) fn retire(dir: &Path) -> Result<()> {
    let gone = dir.with_file_name(format!("{GONE}{}", crate::new_id()?));
    match fs::rename(dir, &gone) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result.doing(|| format!("removing {}", dir.display()))?,
    }
    // Another command that looks may be removing it too, which either of them can stumble over.
    (0..3).find_map(|_| remove_few(&gone, &MOSTLY).ok()).map_or_else(|| remove_tree(&gone), Ok)
}

/// Removes what killed commands have begun to remove; says what could be.
pub(crate) fn sweep(containers: &Path) -> Vec<String> {
    let entries = fs::read_dir(containers).into_iter().flatten().flatten();
    let gone = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(GONE));
    let removed = gone.filter(|entry| remove_tree(&entry.path()).is_ok());
    removed.map(|entry| entry.path().display().to_string()).collect()
}

/// The names that are taken in a directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<Name>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("reading {}", dir.display()))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut names: Vec<Name> = names.collect();
    names.sort();
    Ok(names)
}

/// Removes a directory that mostly holds these files and nothing else: to look what is in it takes
/// longer than to remove them.
pub(crate) fn remove_few(path: &Path, files: &[&str]) -> Result<()> {
    for file in files {
        // What stays keeps the directory from going, and is dealt with below.
        let _ = fs::remove_file(path.join(file));
    }
    fs::remove_dir(path).or_else(|_| remove_tree(path))
}

/// Removes a directory with everything in it; gone already is as good.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", path.display())),
    }
}
