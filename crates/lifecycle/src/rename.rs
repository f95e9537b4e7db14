//! Another name: the container's directory and its declared volumes move, and its record says so.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use spec::container::{MountKind, Spec};
use spec::protocol::Request;
use spec::{Error, Name, Result, ResultExt};

use crate::container::Container;
use crate::containers::taken;
use crate::disk::{self, Durable};
use crate::events::What;
use crate::lock::Lock;
use crate::networks::Networks;
use crate::record::{Record, Status};

impl Container {
    /// Gives it another name. Its host name stays what it was.
    ///
    /// # Errors
    /// Conflict if the name is taken.
    pub fn rename(&self, to: &Name) -> Result<()> {
        if to == self.name() {
            return Err(Error::user(format!("container {to} has this name already")));
        }
        let own = Lock::take(self.dir(), self.name())?;
        self.must_be_current()?;
        let dir = self.dir().with_file_name(to.as_str());
        let others = Lock::take(&dir, to)?;
        if dir.exists() {
            return Err(taken(to));
        }
        self.volumes_can_follow(to)?;
        match self.status()? {
            // Its keeper writes there, and has to know in the same moment.
            Status::Running(_) => self.order(&Request::Rename { name: to.clone() })?,
            _ => move_directory(self.dir(), to).map(drop)?,
        }
        Networks::around(self.dir(), self.run_dir()).rename(&self.record().spec, to);
        drop(others);
        own.discard();
        let mut subject = self.subject();
        subject.name = to;
        subject.tell(What::Rename { from: self.name().clone() });
        Ok(())
    }

    /// Volumes outlive their container. Those that an earlier one of the new name has left would be
    /// in the way when half is done.
    fn volumes_can_follow(&self, to: &Name) -> Result<()> {
        let volumes = self.dir().ancestors().nth(2).unwrap_or(self.dir()).join("volumes");
        let left = fs::read_dir(volumes.join(to)).is_ok_and(|mut entries| entries.next().is_some());
        if left && volumes.join(self.name()).exists() {
            return Err(Error::conflict(format!("volumes of an earlier container {to} are still there"))
                .hint(format!("remove them with tsubo rm --volumes {to}, or choose another name")));
        }
        Ok(())
    }
}

/// Moves a container's directory, and what hangs on its name. The name of the directory is the
/// truth: what is left undone here is done by [`finish`] when somebody looks.
pub fn move_directory(dir: &Path, to: &Name) -> Result<PathBuf> {
    let new = dir.with_file_name(to.as_str());
    let moved = rustix::fs::renameat_with(CWD, dir, CWD, &new, RenameFlags::NOREPLACE);
    moved.map_err(std::io::Error::from).doing(|| format!("renaming {} to {to}", dir.display()))?;
    finish(&new, to)?;
    Ok(new)
}

/// Makes volumes and record follow the name of the directory.
pub(crate) fn finish(dir: &Path, name: &Name) -> Result<()> {
    let file = dir.join("container.json");
    let Some(mut record) = disk::read_json::<Record>(&file)? else { return Ok(()) };
    let old = std::mem::replace(&mut record.spec.name, name.clone());
    if old == *name {
        return Ok(());
    }
    let home = dir.parent().and_then(Path::parent).unwrap_or(dir);
    let (from, to) = (home.join("volumes").join(&old), home.join("volumes").join(name));
    // Those of a container that has taken the old name meanwhile stay.
    if !dir.with_file_name(old.as_str()).exists() {
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format!("moving the volumes {}", from.display()), error)
                    .hint(format!("{} may be in the way", to.display())));
            }
            _ => {}
        }
    }
    move_sources(&mut record.spec, &from, &to);
    move_sources(&mut record.spec, &dir.with_file_name(old.as_str()), dir);
    let durable = if record.remove { Durable::No } else { Durable::Yes };
    disk::write_json(&file, &record, durable)
}

/// Makes a spec that is in use follow as well: its name, and where its declared volumes and files are now.
pub fn follow(spec: &mut Spec, dir: &Path, name: Name) {
    let volumes = dir.ancestors().nth(2).unwrap_or(dir).join("volumes");
    let old = std::mem::replace(&mut spec.name, name);
    let (from, to) = (volumes.join(&old), volumes.join(&spec.name));
    move_sources(spec, &from, &to);
    move_sources(spec, &dir.with_file_name(old.as_str()), dir);
}

fn move_sources(spec: &mut Spec, from: &Path, to: &Path) {
    if spec.kept.as_deref() == Some(from) {
        spec.kept = Some(to.to_owned());
    }
    for mount in &mut spec.mounts {
        if let MountKind::Bind(bind) = &mut mount.what {
            if let Ok(below) = bind.source.strip_prefix(from) {
                bind.source = to.join(below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Id;
    use spec::container::{Bind, Mount, MountFlags, Process, Root};

    #[test]
    fn a_running_containers_next_life_has_its_volumes_where_they_are_now() {
        let (root, process) = (Root::Tree { path: "/tree".into() }, Process::new(vec!["true".into()]));
        let mut spec = Spec::new(Id::from_bytes([1; 6]), "old".parse().expect("name"), root, process);
        let bound = |source: &str| Mount {
            at: "/data".parse().expect("path"),
            what: MountKind::Bind(Bind::of(source)),
            flags: MountFlags::default(),
        };
        spec.mounts =
            ["/lib/volumes/old/data", "/lib/containers/old/etc/hosts", "/srv/old"].map(bound).to_vec();
        follow(&mut spec, Path::new("/lib/containers/new"), "new".parse().expect("name"));
        let moved = ["/lib/volumes/new/data", "/lib/containers/new/etc/hosts", "/srv/old"].map(bound);
        assert_eq!(spec.mounts, moved);
        assert_eq!(spec.name.as_str(), "new");
    }
}
