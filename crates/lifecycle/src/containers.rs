//! All containers of a state directory.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spec::container::Spec;
use spec::hooks::Event;
use spec::portable::Portable;
use spec::{Error, Name, Result, ResultExt};

use crate::container::Container;
use crate::disk::{self, Durable};
use crate::events::{Events, Watch, What};
use crate::hooks::{self, Detail, Owner};
use crate::ledger::{self, Ledger};
use crate::lock::{ImagesLock, Lock};
use crate::networks::{Networks, show_files};
use crate::pinned::boot_id;
use crate::record::{self, Record, Running, Status};
use crate::tenants::Tenants;
use crate::{Home, Reason, RunOptions, damaged, new_id, rename, resolve, volumes};

/// After this time an empty group is nobody's: between its making and its first process are
/// milliseconds.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// So much of an id means it.
const SHORTEST_ID: usize = 4;

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

/// A container that cannot be read, and why.
pub type Damaged = (Name, Error);

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

    /// Those of the state directory that a job is of.
    pub(crate) fn beside(job: &crate::job::Job) -> Self {
        Self::around(&job.dir, &job.run)
    }

    /// What is only true while a container runs lies there.
    pub(crate) fn run_dir_of(&self, id: spec::Id) -> PathBuf {
        self.run.join(id.to_string())
    }

    /// What must survive a reboot lies here.
    pub(crate) fn state(&self) -> &Path {
        self.home()
    }

    /// Those that the container with these two directories is one of.
    pub(crate) fn around(dir: &Path, run: &Path) -> Self {
        let above = |dir: &Path| dir.parent().unwrap_or(dir).to_owned();
        Self { lib: above(dir), run: above(run) }
    }

    /// Makes a container; it is not started yet. With `remove` it will not outlive its end, and is
    /// not written to survive a power failure either.
    ///
    /// # Errors
    /// Conflict if there is one of this name; whatever [`resolve`](crate::resolve()) refuses.
    pub fn create(&self, source: Source<'_>, mut options: RunOptions, remove: bool) -> Result<Container> {
        let name = options.name.clone();
        let dir = self.lib.join(&name);
        let id = options.id.map_or_else(new_id, Ok)?;
        options.id = Some(id);
        let mut images = self.must_have(source)?;
        let volumes = self.volumes(&name);
        options.volumes = Some(volumes.clone());
        options.presets = self.presets();
        let (mut spec, mut notes) = resolve::explained(source.portable, source.tree, &options)?;
        notes.retain(|reason| reason.notable);
        spec.id = id;
        show_files(&mut spec, source.tree, &dir);
        if let Some(group) = &spec.group {
            Tenants::must_know(self.home(), group)?;
        }
        // One that is started later may be when there is room.
        if !options.life.standing && !options.overcommit {
            ledger::foresee(self, &spec)?;
        }
        let networks = self.networks();
        networks.foresee(&spec)?;
        networks.fits(&spec)?;
        let run = self.run.join(id.to_string());
        if spec.hooks.is_some() {
            drop(images);
            self.ask_create(&spec, &run, source.image)?;
            images = self.must_have(source)?;
        }
        let said = source.portable.limits.clone().merged(options.limits.clone());
        let wanted = volumes::Wanted::of(&said);
        let lock = self.reserve(&name, &dir)?;
        let mut record = Record {
            version: record::VERSION,
            spec,
            image: source.image.to_owned(),
            created: record::now(),
            remove,
            life: options.life,
            ports: source.portable.ports.clone(),
            overcommit: options.overcommit,
            asked: options.asked,
            service: options.service,
        };
        let durable = if remove { Durable::No } else { Durable::Yes };
        let new_volumes = Some(volumes.clone()).filter(|volumes| !volumes.exists());
        let made = networks.lease(&mut record.spec).and_then(|()| {
            volumes::prepare(source.portable, source.tree, &volumes, wanted, &mut record.spec)
        });
        let made = made.and_then(|unlimited| {
            notes.extend(unlimited.as_ref().map(Reason::of_volumes));
            disk::write_json(&dir.join("container.json"), &record, durable)
        });
        if let Err(error) = made {
            // The first failure is the one to tell.
            let _ = new_volumes.map(|volumes| volumes::remove(&volumes));
            let _ = disk::retire(&dir);
            networks.release(&record.spec);
            lock.discard();
            return Err(error);
        }
        let mut container = Container::new(record, dir, run, Some(lock));
        (container.notes, container.new_volumes) = (notes, new_volumes);
        container.tell(What::Create);
        drop(images);
        hooks::after(&container.owner("created", None), Event::Create, &Detail::new());
        Ok(container)
    }

    /// The networks that they are on.
    pub(crate) fn networks(&self) -> Networks {
        Networks::around(&self.lib.join("any"), &self.run.join("any"))
    }

    /// The image, which stays for as long as this is held.
    fn must_have(&self, source: Source<'_>) -> Result<ImagesLock> {
        let images = ImagesLock::shared(self.home())?;
        match fs::metadata(source.tree) {
            Ok(meta) if meta.is_dir() => Ok(images),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).doing(|| format!("looking at image {}", source.image))
            }
            _ => Err(Error::not_found(format!("image {} has just been removed", source.image))),
        }
    }

    /// Whether its hooks let it be made. It has no directory yet: one of its name may be another's.
    fn ask_create(&self, spec: &Spec, run: &Path, image: &str) -> Result<()> {
        let dir = self.lib.join(format!("%{}", spec.id));
        let owner = Owner { spec, dir: &dir, run, image, status: "creating", pid: None };
        hooks::before(&owner, Event::Create, &Detail::new())
    }

    /// What has happened to them, from the oldest event that is kept.
    pub fn events(&self) -> Events {
        Events::of(self.run.parent().unwrap_or(&self.run))
    }

    /// Tells when there are more events.
    ///
    /// # Errors
    /// When the run directory cannot be watched.
    pub fn watch(&self) -> Result<Watch> {
        Watch::of(self.run.parent().unwrap_or(&self.run))
    }

    /// Where the declared volumes of the container of this name are. They outlive it: the next one
    /// of the name finds them as they were left.
    pub fn volumes(&self, name: &Name) -> PathBuf {
        self.home().join("volumes").join(name)
    }

    /// Where presets of one's own are: in the state directory, and of the whole host.
    pub fn presets(&self) -> Vec<PathBuf> {
        vec![self.home().join("presets"), "/etc/tsubo/presets".into()]
    }

    /// Removes the declared volumes of a container that is gone; false if there are none.
    ///
    /// # Errors
    /// Conflict while there is a container of this name.
    pub fn remove_volumes(&self, name: &Name) -> Result<bool> {
        if self.has(name) {
            return Err(Error::conflict(format!("container {name} still uses its volumes"))
                .hint(format!("remove it with them: tsubo rm --volumes {name}")));
        }
        let dir = self.volumes(name);
        let lock = Lock::take(&self.lib.join(name), name)?;
        if self.has(name) {
            return Err(Error::conflict(format!("container {name} was just made, and uses its volumes")));
        }
        let removed = volumes::remove(&dir);
        lock.discard();
        removed
    }

    /// Removes what killed commands have left of volumes.
    fn sweep_volumes(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(self.home().join("volumes")).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = ::disk::left_of(&path).and_then(|name| name.parse::<Name>().ok());
            let Some(name) = name else { continue };
            // Somebody may just be at it.
            let Some(lock) = Lock::try_take(&self.lib.join(&name))? else { continue };
            let left = ::disk::Volumes::sweep(&self.volumes(&name))?;
            removed.extend(left.iter().map(|path| path.display().to_string()));
            if !self.has(&name) {
                lock.discard();
            }
        }
        Ok(removed)
    }

    /// From now on, for as long as it is held, no container is made: who removes an image looks
    /// for its containers, and removes it, in between.
    ///
    /// # Errors
    /// When the lock cannot be taken.
    pub fn hold_images(&self) -> Result<ImagesLock> {
        ImagesLock::exclusive(self.home())
    }

    fn home(&self) -> &Path {
        self.lib.parent().unwrap_or(&self.lib)
    }

    /// Makes the directory, under the lock: nobody else ever sees one that is being made without.
    fn reserve(&self, name: &Name, dir: &Path) -> Result<Lock> {
        if !matches!(self.open(name)?, Found::Nothing | Found::Making) {
            return Err(taken(name));
        }
        let lock = Lock::take(dir, name)?;
        make_directory(dir, name)?;
        Ok(lock)
    }

    /// All of them, by name. What is found broken is mended; what cannot be read is left out, as is
    /// what is just being made.
    pub fn list(&self) -> Result<Vec<Container>> {
        Ok(self.look()?.0)
    }

    /// All of them by name, and beside them those that cannot be read, with the reason.
    pub fn look(&self) -> Result<(Vec<Container>, Vec<Damaged>)> {
        disk::sweep(&self.lib);
        let (mut sound, mut damaged) = (Vec::new(), Vec::new());
        for name in self.names()? {
            match self.open(&name) {
                Ok(Found::Here(container)) => sound.push(*container),
                Ok(_) => {}
                Err(error) => damaged.push((name, error)),
            }
        }
        Ok((sound, damaged))
    }

    /// Whether this name is taken, whatever is behind it.
    pub fn has(&self, name: &Name) -> bool {
        self.lib.join(name).exists()
    }

    /// The names that are taken, whatever is behind them.
    pub fn names(&self) -> Result<Vec<Name>> {
        disk::names(&self.lib)
    }

    /// The one of this very name; None if there is none, or somebody is just making it.
    pub(crate) fn named(&self, name: &Name) -> Result<Option<Container>> {
        Ok(match self.open(name)? {
            Found::Here(container) => Some(*container),
            Found::Making | Found::Nothing => None,
        })
    }

    /// The one with this name, or whose id begins so.
    ///
    /// # Errors
    /// Not found, or several of them.
    pub fn find(&self, name_or_id: &str) -> Result<Container> {
        if let Ok(name) = name_or_id.parse::<Name>() {
            let way_out = || format!("to remove what is left of it: tsubo rm -f {name}");
            match self.open(&name).map_err(|error| error.hint(way_out()))? {
                Found::Here(container) => return Ok(*container),
                Found::Making => return Err(Error::conflict(format!("container {name} is just being made"))),
                Found::Nothing => {}
            }
        }
        // The name of a container that has just gone may be how an id begins.
        let all = if name_or_id.len() < SHORTEST_ID { Vec::new() } else { self.list()? };
        let mut matching: Vec<_> =
            all.into_iter().filter(|container| container.id().to_string().starts_with(name_or_id)).collect();
        match (matching.pop(), matching.is_empty()) {
            (Some(container), true) => Ok(container),
            (Some(_), false) => {
                Err(Error::user(format!("several containers have an id that begins with {name_or_id}")))
            }
            _ => {
                Err(Error::not_found(format!("no container {name_or_id:?}"))
                    .hint("tsubo ps -a lists them all"))
            }
        }
    }

    /// The container with this id as it runs, where its keeper says so and it has this name: without what was
    /// written when it was made, which is a hundred times as much. None is no answer.
    ///
    /// # Errors
    /// What is there and cannot be read.
    pub fn running(&self, id: &str, name: &str) -> Result<Option<Running>> {
        let (Ok(id), Ok(name)) = (id.parse::<spec::Id>(), name.parse::<Name>()) else { return Ok(None) };
        if self.lib.join(&name).join("exit.json").exists() {
            return Ok(None);
        }
        let state = disk::read_json::<Running>(&self.run_dir_of(id).join(crate::state::STATE))?;
        let Some(state) = state.filter(|state| boot_id().is_ok_and(|boot| boot == state.boot)) else {
            return Ok(None);
        };
        Ok(state.keeper.find()?.map(|_| state))
    }

    /// Removes the one with this name or id; with `force` also one that runs, or cannot be read.
    ///
    /// # Errors
    /// Not found, or it runs.
    pub fn remove(&self, name_or_id: &str, force: bool) -> Result<()> {
        match (self.find(name_or_id), name_or_id.parse()) {
            (Ok(container), _) => container.remove(force),
            (Err(_), Ok(name)) if force && self.is_damaged(&name) => {
                damaged::remove(&self.lib, &self.run, &name)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn is_damaged(&self, name: &Name) -> bool {
        disk::read_json::<Record>(&self.lib.join(name).join("container.json")).is_err()
    }

    fn open(&self, name: &Name) -> Result<Found> {
        let dir = self.lib.join(name);
        if !dir.is_dir() {
            return Ok(Found::Nothing);
        }
        let Some(mut record) = disk::read_json::<Record>(&dir.join("container.json"))? else {
            return without_record(&dir);
        };
        if record.spec.name != *name {
            record = renamed(&dir, name, record)?;
        }
        let run = self.run.join(record.spec.id.to_string());
        let container = Container::new(record, dir, run, None);
        Ok(if container.mend()? { Found::Here(Box::new(container)) } else { Found::Nothing })
    }

    /// Removes what belongs to no container: run directories of containers that are gone, and
    /// groups that have been empty for long. Networks that others have made come
    /// [after it](Self::take_back_from_others).
    pub fn gc(&self) -> Result<Vec<String>> {
        cgroup::Room::hold();
        let mut removed = disk::sweep(&self.lib);
        removed.extend(self.sweep_volumes()?);
        let lost = ledger::settle(&Ledger::beside(&self.run.join("any")), self)?;
        removed.extend((lost > 0).then(|| format!("promises to {lost} containers that are gone")));
        removed.extend(self.networks().gc()?);
        removed.extend(self.networks().sweep()?);
        // Before the containers are listed: those that are started meanwhile are not looked at.
        let entries: Vec<_> = fs::read_dir(&self.run).into_iter().flatten().flatten().collect();
        let known: Vec<String> = self.list()?.iter().map(|container| container.id().to_string()).collect();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let state = disk::read_json::<record::Running>(&entry.path().join(crate::state::STATE));
            let kept = matches!(state, Ok(Some(state)) if !matches!(state.keeper.find(), Ok(None)));
            if !known.contains(&name) && !kept {
                disk::remove_tree(&entry.path())?;
                removed.push(name);
            }
        }
        let groups = cgroup::Group::ids()?.into_iter().filter(|id| !known.contains(&id.to_string()));
        removed
            .extend(groups.filter(|id| remove_empty(*id, FORGOTTEN)).map(|id| format!("control group {id}")));
        Ok(removed)
    }
}

/// Removes a group without processes that is older than `age`. It may belong to another state
/// directory, where a container is started in less time, or is held until it starts.
fn remove_empty(id: spec::Id, age: Duration) -> bool {
    let Ok(group) = cgroup::Group::of(id) else { return false };
    // One that cannot be removed is in use after all.
    group.age() >= age && group.processes().is_empty() && !group.is_held() && group.remove().is_ok()
}

/// Makes the directory of a container, of which the caller has the lock. Mostly nothing is in the way.
fn make_directory(dir: &Path, name: &Name) -> Result<()> {
    let make = || DirBuilder::new().mode(0o700).create(dir);
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = dir.parent().unwrap_or(dir);
            DirBuilder::new().recursive(true).mode(0o700).create(above).and_then(|()| make())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if dir.join("container.json").exists() {
                return Err(taken(name));
            }
            // Its command was killed before it had a record.
            disk::retire(dir)?;
            make()
        }
        made => made,
    };
    made.doing(|| format!("making {}", dir.display()))
}

/// What is behind a name.
enum Found {
    Nothing,
    /// A command is at it.
    Making,
    Here(Box<Container>),
}

/// Without a record nothing was started; unless somebody is just writing it, it goes.
fn without_record(dir: &Path) -> Result<Found> {
    let Some(lock) = Lock::try_take(dir)? else { return Ok(Found::Making) };
    if dir.join("container.json").exists() {
        return Ok(Found::Making);
    }
    disk::retire(dir)?;
    lock.discard();
    Ok(Found::Nothing)
}

/// The name of its directory is the truth. Unless somebody is just renaming it, the rest follows.
fn renamed(dir: &Path, name: &Name, mut record: Record) -> Result<Record> {
    if let Some(_lock) = Lock::try_take(dir)? {
        rename::finish(dir, name)?;
        record = disk::read_json(&dir.join("container.json"))?.unwrap_or(record);
    }
    record.spec.name = name.clone();
    Ok(record)
}

pub(crate) fn taken(name: &Name) -> Error {
    Error::conflict(format!("there is a container {name} already"))
        .hint(format!("remove it with tsubo rm {name}, or choose another --name"))
}

impl Status {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_when_it_is_old_and_empty() {
        let id = new_id().expect("id");
        let Ok(Some(group)) = cgroup::Group::create(id) else {
            eprintln!("SKIPPED: no control groups can be made here");
            return;
        };
        let age = Duration::from_millis(300);
        assert!(!remove_empty(id, age), "too young");
        let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        for entry in group.entry().expect("entry").tasks {
            rustix::io::write(&entry, sleeper.id().to_string().as_bytes()).expect("enter");
        }
        std::thread::sleep(2 * age);
        let used = !group.processes().is_empty();
        let removed = used && remove_empty(id, age);
        sleeper.kill().and_then(|()| sleeper.wait()).expect("the end");
        assert!(!removed, "in use");
        let hold = group.hold().expect("hold");
        assert!(!remove_empty(id, age), "somebody waits with it");
        drop(hold);
        assert!(remove_empty(id, age));
        assert!(!cgroup::Group::ids().expect("ids").contains(&id));
    }
}
