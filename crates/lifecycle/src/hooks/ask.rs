//! Hooks that a command does itself: before something, which they may prevent, and after it.

use spec::hooks::{Event, Hook, OnError, Verdict, When};
use spec::{Error, Result};

use super::{Detail, Owner, process};

/// What hooks that did not prevent anything have said that somebody should hear.
pub type Asked = Vec<String>;

/// Asks every hook of this moment, in their order.
///
/// # Errors
/// Conflict, with the reason of the one that said no; those behind it are not asked.
pub fn before(owner: &Owner<'_>, event: Event, detail: &Detail) -> Result<Asked> {
    let mut told = Asked::new();
    for hook in of(owner, &When::Before(event)) {
        let (verdict, lines) = one(owner, hook, detail);
        told.extend(lines);
        let no = match &verdict {
            Verdict::Veto(why) => Some(why.clone()),
            Verdict::Failed(why) | Verdict::Overdue(why) if hook.on_error == OnError::Abort => {
                Some(why.clone())
            }
            _ => None,
        };
        if let Some(why) = no {
            return Err(refused(owner, event, hook, &why));
        }
    }
    Ok(told)
}

/// Does every hook of this moment, in their order, and waits for each.
pub fn after(owner: &Owner<'_>, event: Event, detail: &Detail) -> Asked {
    of(owner, &When::After(event)).into_iter().flat_map(|hook| one(owner, hook, detail).1).collect()
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
