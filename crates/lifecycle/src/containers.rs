//! All containers of a state directory.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use spec::portable::Portable;
use spec::{Error, Name, Result, ResultExt};

use crate::container::Container;
use crate::disk::{self, Durable};
use crate::lock::Lock;
use crate::record::{self, Record, Status};
use crate::{Home, RunOptions, new_id, resolve, volumes};

/// What a container is made from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How to run it.
    pub portable: &'a Portable,
    /// The root file system on this host.
    pub tree: &'a Path,
    /// For people: name and digest of the image.
    pub image: &'a str,
}

/// The containers of a state directory.
#[derive(Debug, Clone)]
pub struct Containers {
    lib: PathBuf,
    run: PathBuf,
}

impl Containers {
    /// Those of `home`.
    pub fn of(home: &Home) -> Self {
        Self { lib: home.lib().join("containers"), run: home.run().join("containers") }
    }

    /// Makes a container; it is not started yet. With `remove` it will not outlive its end, and is
    /// not written to survive a power failure either.
    ///
    /// # Errors
    /// Conflict if there is one of this name; whatever [`resolve`] refuses.
    pub fn create(&self, source: Source<'_>, mut options: RunOptions, remove: bool) -> Result<Container> {
        let name = options.name.clone();
        let dir = self.lib.join(&name);
        let id = new_id()?;
        options.volumes = Some(dir.join("volumes"));
        let mut spec = resolve(source.portable, source.tree, &options)?;
        spec.id = id;
        let lock = self.reserve(&name, &dir)?;
        let record = Record {
            version: record::VERSION,
            spec,
            image: source.image.to_owned(),
            created: record::now(),
            remove,
        };
        let durable = if remove { Durable::No } else { Durable::Yes };
        let made = volumes::prepare(source.portable, source.tree, &dir.join("volumes"))
            .and_then(|()| disk::write_json(&dir.join("container.json"), &record, durable));
        if let Err(error) = made {
            // The first failure is the one to tell.
            let _ = disk::remove_tree(&dir);
            return Err(error);
        }
        Ok(Container::new(record, dir, self.run.join(id.to_string()), Some(lock)))
    }

    fn reserve(&self, name: &Name, dir: &Path) -> Result<Lock> {
        let making = || format!("making {}", dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.lib).doing(making)?;
        for _ in 0..2 {
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // One whose command was killed half-way is removed by a look at it.
                    if self.open(name)?.is_some() {
                        return Err(taken(name));
                    }
                }
                result => {
                    result.doing(making)?;
                    return Lock::take(dir, name);
                }
            }
        }
        Err(taken(name))
    }

    /// All of them, by name. What is found broken is mended.
    pub fn list(&self) -> Result<Vec<Container>> {
        let entries = match fs::read_dir(&self.lib) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("reading {}", self.lib.display()))?,
        };
        let mut names: Vec<Name> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        let opened = names.iter().map(|name| self.open(name));
        opened.filter_map(Result::transpose).collect()
    }

    /// The one with this name, or whose id begins so.
    ///
    /// # Errors
    /// Not found, or several of them.
    pub fn find(&self, name_or_id: &str) -> Result<Container> {
        if let Ok(name) = name_or_id.parse::<Name>() {
            if let Some(container) = self.open(&name)? {
                return Ok(container);
            }
        }
        let all = self.list()?;
        let mut matching: Vec<_> =
            all.into_iter().filter(|container| container.id().to_string().starts_with(name_or_id)).collect();
        match (matching.pop(), matching.is_empty(), name_or_id.is_empty()) {
            (Some(container), true, false) => Ok(container),
            (Some(_), false, false) => {
                Err(Error::user(format!("several containers have an id that begins with {name_or_id}")))
            }
            _ => {
                Err(Error::not_found(format!("no container {name_or_id:?}"))
                    .hint("tsubo ps -a lists them all"))
            }
        }
    }

    fn open(&self, name: &Name) -> Result<Option<Container>> {
        let dir = self.lib.join(name);
        if !dir.is_dir() {
            return Ok(None);
        }
        let record = disk::read_json::<Record>(&dir.join("container.json"))?;
        let Some(record) = record else {
            // Without a record nothing was started; unless somebody is just writing it, it goes.
            if Lock::try_take(&dir)?.is_some() {
                disk::remove_tree(&dir)?;
                return Ok(None);
            }
            return Err(Error::conflict(format!("container {name} is just being made")));
        };
        let run = self.run.join(record.spec.id.to_string());
        let container = Container::new(record, dir, run, None);
        Ok(container.mend()?.then_some(container))
    }

    /// Removes what belongs to no container: run directories of containers that are gone.
    pub fn gc(&self) -> Result<Vec<String>> {
        let known: Vec<String> = self.list()?.iter().map(|container| container.id().to_string()).collect();
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.run).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let state = disk::read_json::<record::Running>(&entry.path().join("state.json"));
            let kept = matches!(state, Ok(Some(state)) if state.keeper.open().is_some());
            if !known.contains(&name) && !kept {
                disk::remove_tree(&entry.path())?;
                removed.push(name);
            }
        }
        Ok(removed)
    }
}

fn taken(name: &Name) -> Error {
    Error::conflict(format!("there is a container {name} already"))
        .hint(format!("remove it with tsubo rm {name}, or choose another --name"))
}

impl Status {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}
