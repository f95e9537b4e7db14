//! Hooks that a command does itself: before something, which they may prevent, and after it.

use std::sync::Mutex;

use spec::hooks::{Event, Hook, Verdict, When};
use spec::{Error, Result};

use super::{Detail, Owner, process};

/// What hooks that did not prevent anything have said that somebody should hear.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What hooks have said since this was asked last, for whoever is at the command line.
pub fn told() -> Vec<String> {
    TOLD.lock().map(|mut told| std::mem::take(&mut *told)).unwrap_or_default()
}

fn tell(lines: Vec<String>) {
    if let Ok(mut told) = TOLD.lock() {
        told.extend(lines);
    }
}

/// Asks every hook of this moment, in their order.
///
/// # Errors
/// Conflict, with the reason of the one that said no; those behind it are not asked.
pub fn before(owner: &Owner<'_>, event: Event, detail: &Detail) -> Result<()> {
    for hook in of(owner, &When::Before(event)) {
        let (verdict, lines) = one(owner, hook, detail);
        match hook.refusal(&verdict) {
            Some(why) => return Err(refused(owner, event, hook, why)),
            None => tell(lines),
        }
    }
    Ok(())
}

/// Does every hook of this moment, in their order, and waits for each.
pub fn after(owner: &Owner<'_>, event: Event, detail: &Detail) {
    of(owner, &When::After(event)).into_iter().for_each(|hook| tell(one(owner, hook, detail).1));
}

fn of<'a>(owner: &Owner<'a>, when: &When) -> Vec<&'a Hook> {
    let hooks = owner.spec.hooks.as_deref().filter(|_| !process::in_hook());
    hooks.map(|hooks| hooks.at(when).collect()).unwrap_or_default()
}

fn one(owner: &Owner<'_>, hook: &Hook, detail: &Detail) -> (Verdict, Vec<String>) {
    let begun = std::time::Instant::now();
    let (outcome, took) = match owner.begin(hook, detail.clone()) {
        Ok(running) => running.wait(),
        Err(error) => (process::failed(error.chain()), begun.elapsed()),
    };
    let lines = owner.settle(hook, &outcome, took);
    (outcome.verdict, lines)
}

fn refused(owner: &Owner<'_>, event: Event, hook: &Hook, why: &str) -> Error {
    let name = &owner.spec.name;
    Error::conflict(format!(
        "hook {:?} of container {name} does not let it {}: {why}",
        hook.name,
        event.word()
    ))
    .hint(format!("tsubo hooks {name} shows its hooks, and how they went"))
}
