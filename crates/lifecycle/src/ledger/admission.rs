//! Letting a container in: what is done when there is no room, and when the file is no good.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ::disk::{Kind as Held, Volumes};
use spec::container::Spec;
use spec::{Promise, Result};

use super::slot::boot_tag;
use super::{Answer, Bounds, Entry, Kind, Ledger};
use crate::pinned::{Pinned, boot_id};
use crate::record::Status;
use crate::{Containers, Home};

/// Who asks for what.
pub(crate) struct Asking<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) keeper: Pinned,
    /// Whether it is let in even where there is no room.
    pub(crate) overcommit: bool,
}

/// Promises a container what it asks for.
///
/// # Errors
/// Conflict, with what is missing and the ways out; nothing has changed then.
pub(crate) fn admit(ledger: &Ledger, containers: &Containers, asking: &Asking<'_>) -> Result<()> {
    let Asking { spec, keeper, overcommit } = *asking;
    let promise = untaken(spec, containers);
    if promise.is_empty() {
        return ledger.release(spec.id);
    }
    let entry = Entry { id: spec.id, promise, keeper, boot: boot_tag(&boot_id()?) };
    let state = (promise.disk > 0).then(|| containers.state());
    let ask = || ledger.promise(&entry, (!overcommit).then(|| Bounds::of_host(state)).as_ref());
    decide(ledger, containers, spec, &ask)
}

/// Refuses what would be refused to a container that is yet to be made: nothing of it is made then.
///
/// # Errors
/// As [`admit`].
pub(crate) fn foresee(containers: &Containers, spec: &Spec) -> Result<()> {
    let promise = spec.promised();
    if promise.is_empty() {
        return Ok(());
    }
    // Volumes of that name may be there already.
    let taken = if promise.disk > 0 { taken(&containers.volumes(&spec.name)) } else { None };
    let promise = Promise { disk: promise.disk.saturating_sub(taken.unwrap_or(0)), ..promise };
    let ledger = Ledger::beside(&containers.run_dir_of(spec.id));
    let state = (promise.disk > 0).then(|| containers.state());
    let ask = || ledger.ask(spec.id, promise, &Bounds::of_host(state));
    decide(&ledger, containers, spec, &ask)
}

fn decide(
    ledger: &Ledger,
    containers: &Containers,
    spec: &Spec,
    ask: &dyn Fn() -> Result<Answer>,
) -> Result<()> {
    let mut answer = ask()?;
    if answer == Answer::Damaged {
        ledger.replace(&running(containers)?)?;
        answer = ask()?;
    }
    // Only now it is worth while to look who is really there, and what they have taken by now.
    if let Answer::Short(short) = answer {
        let mut better = settle(ledger, containers)?;
        if short.kind == Kind::Disk {
            better += recount(ledger, containers)?;
        }
        if better > 0 {
            answer = ask()?;
        }
    }
    match answer {
        Answer::Short(short) => Err(short.refusal(&spec.name)),
        Answer::Promised | Answer::Damaged => Ok(()),
    }
}

/// What it is promised, without what of the disk it has taken already: that is not free any more.
fn untaken(spec: &Spec, containers: &Containers) -> Promise {
    let promise = spec.promised();
    let disk = match promise.disk {
        0 => 0,
        said => taken(&containers.volumes(&spec.name)).map_or(0, |taken| said.saturating_sub(taken)),
    };
    Promise { disk, ..promise }
}

/// How much of the disk volumes have taken; None where there are none: fresh directories are memory.
fn taken(volumes: &Path) -> Option<u64> {
    match Volumes::open(volumes) {
        Ok(None) => None,
        Ok(Some(open)) if open.kind() == Held::Image => Some(on_disk(volumes)),
        // Where nobody counts, it is as if nothing were there.
        Ok(Some(open)) => Some(open.usage(None).ok().and_then(|usage| usage.bytes).unwrap_or(0)),
        Err(_) => Some(0),
    }
}

/// An image takes what was written to it once and not given back.
fn on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.blocks() * 512)).sum()
}

/// What running containers have written since they were let in is theirs already. Returns for how
/// many that makes a difference.
fn recount(ledger: &Ledger, containers: &Containers) -> Result<usize> {
    let now = running(containers)?;
    let mut better = 0;
    for entry in ledger.entries()? {
        let disk = now.iter().find(|other| other.id == entry.id).map(|other| other.promise.disk);
        if let Some(disk) = disk.filter(|disk| *disk < entry.promise.disk) {
            ledger.promise(&Entry { promise: Promise { disk, ..entry.promise }, ..entry }, None)?;
            better += 1;
        }
    }
    Ok(better)
}

/// Forgets those whose keepers are gone, and returns how many those were. What such a keeper has left
/// running is ended first: it uses what would be promised to somebody else.
pub(crate) fn settle(ledger: &Ledger, containers: &Containers) -> Result<usize> {
    let boot = boot_tag(&boot_id()?);
    let lost = |entry: &Entry| entry.boot != boot || matches!(entry.keeper.find(), Ok(None));
    let lost: Vec<Entry> = ledger.entries()?.into_iter().filter(lost).collect();
    if !lost.is_empty() {
        // Every look at a container ends what is left of it.
        containers.list()?;
        // One that was started again meanwhile has another keeper.
        ledger.forget(&|entry| lost.contains(entry))?;
    }
    Ok(lost.len())
}

/// The promises as the containers themselves tell, where the file does not.
fn running(containers: &Containers) -> Result<Vec<Entry>> {
    let boot = boot_tag(&boot_id()?);
    let all = containers.list()?.into_iter().filter_map(|one| match one.status() {
        Ok(Status::Running(state)) => {
            let promise = untaken(&one.record().spec, containers);
            let entry = Entry { id: one.id(), promise, keeper: state.keeper, boot };
            (!promise.is_empty()).then_some(entry)
        }
        _ => None,
    });
    Ok(all.collect())
}

/// What is promised now, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What there is.
    pub bounds: Bounds,
    /// What of it is promised.
    pub promised: Promise,
    /// To so many.
    pub containers: usize,
}

impl Room {
    /// Looks, with those left out that have gone without a word.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn now(home: &Home) -> Result<Self> {
        let (ledger, containers) = (Ledger::of(home), Containers::of(home));
        settle(&ledger, &containers)?;
        let entries = ledger.entries()?;
        let promised = entries.iter().map(|entry| entry.promise).fold(Promise::default(), Promise::plus);
        Ok(Self { bounds: Bounds::of_host(Some(home.lib())), promised, containers: entries.len() })
    }
}
