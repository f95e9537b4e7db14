//! Letting a container in: what is done when there is no room, and when the file is no good.

use spec::{Id, Name, Promise, Result};

use super::slot::boot_tag;
use super::{Answer, Bounds, Entry, Ledger};
use crate::pinned::{Pinned, boot_id};
use crate::record::Status;
use crate::{Containers, Home};

/// Who asks for what.
pub(crate) struct Asking<'a> {
    pub(crate) name: &'a Name,
    pub(crate) id: Id,
    pub(crate) keeper: Pinned,
    pub(crate) promise: Promise,
    /// Whether it is let in even where there is no room.
    pub(crate) overcommit: bool,
}

/// Promises a container what it asks for.
///
/// # Errors
/// Conflict, with what is missing and the ways out; nothing has changed then.
pub(crate) fn admit(ledger: &Ledger, containers: &Containers, asking: &Asking<'_>) -> Result<()> {
    let Asking { id, keeper, promise, .. } = *asking;
    let entry = Entry { id, promise, keeper, boot: boot_tag(&boot_id()?) };
    let state = (promise.disk > 0).then(|| containers.state());
    let bounds = (!asking.overcommit).then(|| Bounds::of_host(state));
    let ask = || ledger.promise(&entry, bounds.as_ref());
    let mut answer = ask()?;
    if answer == Answer::Damaged {
        ledger.replace(&running(containers)?)?;
        answer = ask()?;
    }
    // Only now it is worth while to look who is really there.
    if matches!(answer, Answer::Short(_)) && settle(ledger, containers)? > 0 {
        answer = ask()?;
    }
    match answer {
        Answer::Short(short) => Err(short.refusal(asking.name)),
        Answer::Promised | Answer::Damaged => Ok(()),
    }
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
            let promise = one.record().spec.promised();
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
