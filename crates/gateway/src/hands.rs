//! What is done to containers: all that takes the kernel or a disk its time. Each of these functions
//! waits, so they are called on threads that may.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::{
    Container, Containers, Handle, Home, KeeperProcess, Launch, Prepared, RunOptions, Service as Owner,
    Socket, Source, Status, Update,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use spec::activation::Activation;
use spec::life::Life;
use spec::limits::Limits;
use spec::{Error, ErrorKind, Name, Result, ResultExt};
use store::{Image, Install, Store};

use crate::config::ServiceConfig;
use crate::settings::Settings;
use crate::sign::Sign;

/// Between a request to end and the end.
pub const STOP_TIME: Duration = Duration::from_secs(10);

/// A container that runs, as far as a gateway has to do with it.
#[derive(Debug)]
pub struct Running {
    /// Readable when its first process has ended.
    pub first: OwnedFd,
    /// Its network; None for the host's own.
    pub network: Option<OwnedFd>,
    /// Its control groups.
    pub group: Option<cgroup::Group>,
    /// It, on this host.
    pub pid: i32,
    /// What is looked for before it is asked whether it is ready.
    pub sign: Option<Sign>,
    /// Its keeper, if that is our child: somebody has to reap it.
    pub keeper: Option<KeeperProcess>,
    /// When it was started, so long ago.
    pub age: Duration,
    /// Its processes are held.
    pub frozen: bool,
}

/// An instance that somebody started before us.
#[derive(Debug)]
pub struct Found {
    /// Its service.
    pub owner: Owner,
    /// Its number among the instances of that.
    pub number: u32,
    /// As it runs; None where it does not.
    pub running: Option<Running>,
}

/// What their packages say, for services: many often have the same one.
pub fn settle_all<'a>(home: &Home, told: &'a [ServiceConfig]) -> Vec<Result<Settings>> {
    let mut known: HashMap<&'a str, Image> = HashMap::new();
    let mut choices: Vec<Arc<Activation>> = Vec::new();
    let settle = |told: &'a ServiceConfig| {
        let mut settings = match known.get(told.package.as_str()) {
            Some(image) => Settings::of(told, image)?,
            None => {
                let image = image(home, &told.package)?;
                Settings::of(told, known.entry(&told.package).or_insert(image))?
            }
        };
        match choices.iter().find(|one| **one == settings.activation) {
            Some(same) => settings.activation = Arc::clone(same),
            None => choices.push(Arc::clone(&settings.activation)),
        }
        Ok(settings)
    };
    told.iter().map(settle).collect()
}

fn image(home: &Home, package: &str) -> Result<Image> {
    let store = Store::open(&home.lib().join("store"))?;
    if !package.contains('/') {
        return store.image(package);
    }
    store.install(Path::new(package), Install { sync: true }, &|_, _| ())
}

/// The name of an instance's container.
///
/// # Errors
/// When it is too long.
pub fn name_of(service: &str, number: u32) -> Result<Name> {
    format!("{service}.{number}").parse()
}

/// Starts an instance, with what was prepared for that if anything was: its container is made if there is none
/// that it can be.
///
/// # Errors
/// Whatever keeps it from running; a container of that name that is nobody's instance.
pub fn start(
    home: &Home,
    told: &ServiceConfig,
    settings: &Settings,
    number: u32,
    prepared: Option<Prepared>,
    sockets: Vec<Socket>,
) -> Result<Running> {
    let container = container(home, &Containers::of(home), told, settings, number, true)?;
    if container.status()?.is_running() {
        return running(&container)?.ok_or_else(|| Error::conflict("it has just ended"));
    }
    let launch = Launch { overcommit: told.overcommit, sockets, ..Launch::default() };
    let sign = Sign::of(settings.activation.ready.as_ref(), &container)?;
    let session = match prepared {
        Some(prepared) => container.start_prepared(prepared, launch)?,
        None => container.start_again(launch)?,
    };
    let keeper = session.into_keeper();
    match running(&container) {
        Ok(Some(running)) => Ok(Running { keeper, sign, ..running }),
        Ok(None) | Err(_) => {
            keeper.into_iter().for_each(|keeper| reap(&keeper));
            Err(ended(&container))
        }
    }
}

/// Waits for the keeper of a container that has ended.
fn reap(keeper: &KeeperProcess) {
    let mut polled = [PollFd::new(keeper, PollFlags::IN)];
    let time = Timespec { tv_sec: STOP_TIME.as_secs() as i64, tv_nsec: 0 };
    // One that does not end is a zombie when it has.
    let _ = rustix::event::poll(&mut polled, Some(&time));
    let _ = keeper.reap();
}

/// The container of that name, if it is what this instance would be made as; an older one is removed.
fn existing(
    containers: &Containers,
    name: &Name,
    settings: &Settings,
    force: bool,
) -> Result<Option<Container>> {
    if !containers.has(name) {
        return Ok(None);
    }
    let container = match containers.find(name.as_str()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    match &container.record().service {
        Some(owner) if owner.version == settings.version => Ok(Some(container)),
        // One that runs answers requests, perhaps: it is not for who only prepares to end it.
        Some(_) if !force && container.status()?.is_running() => {
            Err(Error::conflict(format!("container {name} of an older version runs")))
        }
        Some(_) => container.remove(true).map(|()| None),
        None => Err(Error::conflict(format!("container {name} is no instance of a service"))
            .hint(format!("rename or remove it: tsubo rename {name} OTHER"))),
    }
}

fn make(
    home: &Home,
    containers: &Containers,
    told: &ServiceConfig,
    settings: &Settings,
    name: Name,
) -> Result<Container> {
    let store = Store::open(&home.lib().join("store"))?;
    let image =
        store.image(&settings.digest).doing(|| format!("looking for the package of {}", told.name))?;
    let options = RunOptions {
        args: told.command.clone(),
        env: told.environment.clone(),
        life: Life { standing: true, ..Life::default() },
        isolation: (*told.isolation).clone(),
        limits: settings.limits(told),
        network: (*told.network).clone(),
        as_packaged: told.as_packaged,
        overcommit: told.overcommit,
        service: Some(Owner { name: told.name.to_string(), version: settings.version.clone() }),
        ..RunOptions::named(name)
    };
    let label = format!("{}@{}", image.name, image.digest.short());
    let source = Source { portable: &image.portable, tree: &image.tree, image: &label };
    containers.create(source, options, false)
}

/// Makes the container of an instance beforehand, so that its first request waits for less; with `park` also what
/// its next start takes.
///
/// # Errors
/// As [`start`]; conflict if it runs.
pub fn prepare(
    home: &Home,
    told: &ServiceConfig,
    settings: &Settings,
    number: u32,
    park: bool,
) -> Result<Option<Prepared>> {
    let containers = Containers::of(home);
    let container = container(home, &containers, told, settings, number, false)?;
    if !park {
        return Ok(None);
    }
    container.prepare(&Launch { overcommit: told.overcommit, ..Launch::default() }).map(Some)
}

/// The container of an instance, made if there is none that it can be.
fn container(
    home: &Home,
    containers: &Containers,
    told: &ServiceConfig,
    settings: &Settings,
    number: u32,
    force: bool,
) -> Result<Container> {
    let name = name_of(told.name.as_str(), number)?;
    if let Some(container) = existing(containers, &name, settings, force)? {
        return Ok(container);
    }
    // Who makes one holds it until it is started; it is found again as any other is.
    drop(make(home, containers, told, settings, name.clone())?);
    containers.find(name.as_str())
}

fn running(container: &Container) -> Result<Option<Running>> {
    let Status::Running(state) = container.status()? else { return Ok(None) };
    let Handle { first, network, .. } = container.handle_of(&state)?;
    Ok(Some(Running {
        first,
        network,
        pid: state.first.pid,
        sign: None,
        age: state.age(),
        frozen: state.is_paused(),
        group: state.group,
        keeper: None,
    }))
}

/// Why one that was just started does not run.
fn ended(container: &Container) -> Error {
    let code = match container.status() {
        Ok(Status::Exited(ended)) => format!("it ended at once with code {}", ended.code),
        _ => "it ended at once".to_owned(),
    };
    Error::failed(code).hint(format!("tsubo logs {} tells why", container.name()))
}

/// Ends an instance, which has so long to do that itself. One that has ended already is as good.
///
/// # Errors
/// When it does not end.
pub fn stop(home: &Home, name: &Name, time: Duration) -> Result<()> {
    let containers = Containers::of(home);
    let container = match containers.find(name.as_str()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    match container.stop(time) {
        Err(_) if !container.status()?.is_running() => Ok(()),
        stopped => stopped,
    }
}

/// Removes the container of an instance, not its volumes; with `force` also one that runs.
///
/// # Errors
/// When it cannot be.
pub fn remove(home: &Home, name: &Name, force: bool) -> Result<()> {
    let containers = Containers::of(home);
    match containers.find(name.as_str()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        found => found?.remove(force),
    }
}

/// Holds its processes.
///
/// # Errors
/// When this host cannot do that, or it has ended.
pub fn freeze(home: &Home, name: &Name) -> Result<()> {
    Containers::of(home).find(name.as_str())?.pause()
}

/// Takes back the memory that it can do without.
///
/// # Errors
/// When this host cannot do that, or it has ended.
pub fn reclaim(home: &Home, name: &Name) -> Result<()> {
    Containers::of(home).find(name.as_str())?.reclaim(None).map(drop)
}

/// Gives it other limits.
///
/// # Errors
/// When the host has no room for them, or cannot enforce them; nothing has changed then.
pub fn limit(home: &Home, name: &Name, limits: &Limits) -> Result<()> {
    let resources = limits.resources(lifecycle::disk_of::path)?;
    let update = Update { resources, ..Update::default() };
    Containers::of(home).find(name.as_str())?.update(|_life| (), &update)
}

/// Lets its processes go on.
///
/// # Errors
/// When it has ended.
pub fn thaw(home: &Home, name: &Name) -> Result<()> {
    let container = Containers::of(home).find(name.as_str())?;
    container.unpause().or_else(|error| match container.status() {
        // Somebody else was first.
        Ok(Status::Running(state)) if !state.is_paused() => Ok(()),
        _ => Err(error),
    })
}

/// The instances that there are, of whatever service.
///
/// # Errors
/// When the containers cannot be listed.
pub fn survey(home: &Home) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for container in Containers::of(home).list()? {
        let Some(owner) = container.record().service.clone() else { continue };
        let number = container.name().as_str().rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let Some(number) = number else { continue };
        // One that is just ending does not run.
        all.push(Found { owner, number, running: running(&container).unwrap_or_default() });
    }
    Ok(all)
}
