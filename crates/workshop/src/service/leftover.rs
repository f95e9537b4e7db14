//! Control groups of watched services, noted on disk so that those of a killed command are found.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroup::{Group, Peak};
use spec::{Id, Result, ResultExt};

/// The groups of a service, with a note of their id beside its log. Both go when it is dropped.
#[derive(Debug)]
pub struct Noted {
    group: Option<Group>,
    note: PathBuf,
}

impl Noted {
    /// Makes the groups of `id`; the note is written first, beside `log`.
    ///
    /// # Errors
    /// When the note cannot be written or the groups not be made.
    pub fn create(id: Id, log: &Path) -> Result<Self> {
        let note = log.with_extension("group");
        fs::write(&note, id.to_string()).doing(|| format!("writing {}", note.display()))?;
        Ok(Self { group: Group::create(id)?, note })
    }

    /// As [`Group::admit`].
    ///
    /// # Errors
    /// When the groups cannot be opened.
    pub fn admit(&self, tasks: &mut Vec<OwnedFd>, born_in: &mut Option<OwnedFd>) -> Result<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.admit(tasks, born_in))
    }

    /// The groups, where there are any.
    pub fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// As [`Group::peak`].
    pub fn peak(&self) -> Peak {
        self.group.as_ref().map(Group::peak).unwrap_or_default()
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        // What does not go now is found by its note.
        let gone = self.group.as_ref().is_none_or(|group| group.kill().and_then(|()| group.remove()).is_ok());
        if gone {
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// Ends and removes what the notes in `dir` tell of: groups of commands that were killed.
///
/// # Errors
/// When something in them survives.
pub fn collect(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "group") {
            let noted = fs::read_to_string(entry.path()).unwrap_or_default();
            if let Ok(id) = noted.trim().parse::<Id>() {
                let group = Group::of(id)?;
                group.kill().and_then(|()| group.remove())?;
            }
            fs::remove_file(entry.path()).doing(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_killed_command_are_found_by_their_note() {
        let dir = tempfile::tempdir().expect("tempdir");
        let id = Id::from_bytes([0xee, 1, 2, 3, 4, std::process::id() as u8]);
        // A killed command drops nothing.
        std::mem::forget(Noted::create(id, &dir.path().join("test.log")).expect("groups"));
        collect(dir.path()).expect("collect");
        assert!(!Group::ids().expect("ids").contains(&id));
        assert!(!dir.path().join("test.group").exists());
    }
}
