//! Hooks of a container that lives: timers, signals, what happens to it, and what runs short.
//!
//! Each is a process of its own, so that none holds up the keeper, or another. Those of one moment are
//! done one after the other; one that is still at it when it is due again is passed over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lifecycle::events::What;
use lifecycle::hooks::{Detail, Owner, Running};
use lifecycle::networks;
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};
use spec::hooks::{Event, Hook, Outcome, Verdict, When};
use spec::protocol::Stream;
use spec::{Error, Result};

use crate::keep::Keeper;
use crate::shortage::{Shortage, ShortageAtRest};

/// So many moments may be under way at once.
const MOST: usize = 16;

/// What the hooks of a running container wait for.
pub(crate) struct Hooks {
    timers: Vec<Timer>,
    chains: Vec<Chain>,
    shortage: Option<Shortage>,
    /// Whether it is started again, while somebody is asked.
    gate: Gate,
    is_ready: bool,
    /// What follows from its end was told already, as it was to be started again.
    end_is_told: bool,
}

/// One hook of time.
struct Timer {
    hook: usize,
    /// None when it was its last time.
    next: Option<Instant>,
    is_repeated: bool,
}

/// The hooks of one moment.
struct Chain {
    running: Running,
    rest: VecDeque<usize>,
    detail: Detail,
    /// It comes before something, and may prevent it.
    is_gate: bool,
}

/// Whether something may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Asking,
    Shut(String),
}

/// [`Hooks`] on their way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct HooksAtRest {
    timers: Vec<(usize, Option<Duration>)>,
    shortage: Option<ShortageAtRest>,
    is_ready: bool,
}

impl Hooks {
    /// From the start of the container on; None where it has no hooks: they cost nothing.
    pub(crate) fn of(spec: &spec::container::Spec) -> Option<Box<Self>> {
        let list = &spec.hooks.as_deref()?.list;
        let timers = list.iter().enumerate().filter_map(|(hook, one)| {
            let first = first(&one.when)?;
            let is_repeated = matches!(one.when, When::Every { .. });
            Some(Timer { hook, next: Some(Instant::now() + first), is_repeated })
        });
        Some(Box::new(Self {
            timers: timers.collect(),
            chains: Vec::new(),
            shortage: Shortage::of(list),
            gate: Gate::Open,
            is_ready: false,
            end_is_told: false,
        }))
    }

    /// What a program that takes our place must know; None while one is under way.
    pub(crate) fn at_rest(&self) -> Option<HooksAtRest> {
        let left =
            |timer: &Timer| (timer.hook, timer.next.map(|at| at.saturating_duration_since(Instant::now())));
        let is_quiet = self.chains.is_empty() && self.gate == Gate::Open;
        is_quiet.then(|| HooksAtRest {
            timers: self.timers.iter().map(left).collect(),
            shortage: self.shortage.as_ref().map(Shortage::at_rest),
            is_ready: self.is_ready,
        })
    }

    pub(crate) fn adopt(rest: HooksAtRest, spec: &spec::container::Spec) -> Option<Box<Self>> {
        let mut hooks = Self::of(spec)?;
        for (hook, left) in rest.timers {
            let own = hooks.timers.iter_mut().find(|own| own.hook == hook);
            own.into_iter().for_each(|own| own.next = left.map(|left| Instant::now() + left));
        }
        hooks.is_ready = rest.is_ready;
        if let (Some(shortage), Some(rest)) = (&mut hooks.shortage, rest.shortage) {
            shortage.adopt(rest);
        }
        Some(hooks)
    }

    /// What of an earlier life of the container goes on: what is under way, and what is done again and
    /// again.
    fn follow(&mut self, earlier: Self) {
        self.chains = earlier.chains;
        for timer in earlier.timers.into_iter().filter(|timer| timer.next.is_some()) {
            let own = self.timers.iter_mut().find(|own| own.hook == timer.hook);
            own.into_iter().filter(|own| own.is_repeated).for_each(|own| own.next = timer.next);
        }
    }

    /// When there is something to do though nothing happens.
    pub(crate) fn due(&self, is_resting: bool) -> Option<Instant> {
        let chains = self.chains.iter().map(|chain| chain.running.deadline()).min();
        if is_resting {
            // Nothing else is done between two lives.
            return chains;
        }
        let timers = self.timers.iter().filter_map(|timer| timer.next);
        timers.chain(chains).chain(self.shortage.as_ref().map(Shortage::due)).min()
    }

    fn is_quiet(&self, is_resting: bool) -> bool {
        self.chains.is_empty() && self.due(is_resting).is_none_or(|due| due > Instant::now())
    }

    /// What tells that there is something to do.
    pub(crate) fn watch<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        let fds = self.chains.iter().flat_map(|chain| chain.running.fds());
        polled.extend(fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    }

    fn is_busy(&self, hook: &Hook) -> bool {
        self.chains.iter().any(|chain| chain.running.hook().name == hook.name)
    }

    /// Those whose time has come; what was missed does not pile up.
    fn take_due(&mut self, list: &[Hook]) -> Vec<usize> {
        let now = Instant::now();
        let due = self.timers.iter_mut().filter(|timer| timer.next.is_some_and(|at| at <= now));
        due.map(|timer| {
            timer.next = next(&list[timer.hook].when).map(|time| now + time);
            timer.hook
        })
        .collect()
    }
}

/// From the start to the first time.
fn first(when: &When) -> Option<Duration> {
    match when {
        When::Once(time) => Some(Duration::from_millis(*time)),
        every => next(every),
    }
}

/// From one time to the next.
fn next(when: &When) -> Option<Duration> {
    let When::Every { interval, jitter } = when else { return None };
    Some(Duration::from_millis(interval + chance(*jitter)))
}

/// A number up to this one.
fn chance(most: u64) -> u64 {
    if most == 0 {
        return 0;
    }
    let mut bytes = [0; 8];
    // Without chance they are only done at once.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes) % (most + 1)
}

impl Keeper {
    /// The container runs, for the first time or again.
    pub(crate) fn begin_hooks(&mut self, is_again: bool) {
        if self.job.spec.hooks.is_none() {
            return;
        }
        let earlier = std::mem::replace(&mut self.hooks, Hooks::of(&self.job.spec));
        if let (Some(hooks), Some(earlier)) = (&mut self.hooks, earlier) {
            hooks.follow(*earlier);
        }
        if networks::is_wired(&self.job.spec) {
            self.happen(&When::After(Event::Network), Detail::new());
        }
        self.happen(&When::After(Event::Start), Detail::new());
        if is_again {
            self.happen(&When::After(Event::Restart), Detail::new());
        }
        if self.job.life.health.is_none() {
            self.tell_ready();
        }
    }

    /// It is ready, as far as anybody can tell.
    pub(crate) fn tell_ready(&mut self) {
        let is_new = self.hooks.as_mut().is_some_and(|hooks| !std::mem::replace(&mut hooks.is_ready, true));
        if is_new {
            self.happen(&When::After(Event::Ready), Detail::new());
        }
    }

    /// Begins the hooks of a moment.
    pub(crate) fn happen(&mut self, when: &When, detail: Detail) {
        let numbers = self.owner().at(when);
        self.begin_chain(numbers, detail, false);
    }

    /// Does the hooks of a signal.
    ///
    /// # Errors
    /// Not found where it has none.
    pub(crate) fn fire(&mut self, number: i32) -> Result<()> {
        let when = When::Signal(number);
        if self.owner().at(&when).is_empty() {
            let name = &self.job.spec.name;
            return Err(Error::not_found(format!(
                "container {name} has no hook for signal {}",
                spec::signal::name(number)
            ))
            .hint(format!(
                "tsubo hooks {name} lists its hooks; tsubo kill -s SIGNAL {name} signals its first process"
            )));
        }
        self.happen(&when, Detail::from([("signal".to_owned(), number.into())]));
        Ok(())
    }

    /// Asks whether it is started again: the answer is [`Keeper::gate`].
    pub(crate) fn ask_restart(&mut self, code: i32) {
        let mut numbers = self.owner().at(&When::Before(Event::Restart));
        if networks::is_wired(&self.job.spec) {
            numbers.extend(self.owner().at(&When::Before(Event::Network)));
        }
        if !numbers.is_empty() {
            let detail = Detail::from([("code".to_owned(), code.into())]);
            self.begin_chain(numbers, detail, true);
        }
    }

    /// It has ended, and is to be started again: hooks may say no until then.
    pub(crate) fn tell_hooks_of_end(&mut self, code: i32) {
        let Some(hooks) = &mut self.hooks else { return };
        hooks.end_is_told = true;
        let detail = || Detail::from([("code".to_owned(), code.into())]);
        if self.is_oom_untold() {
            self.happen(&When::After(Event::Oom), detail());
        }
        if code != 0 {
            self.happen(&When::After(Event::Failure), detail());
        }
        self.ask_restart(code);
    }

    /// It has ended for want of memory, and that was not seen while it lived.
    fn is_oom_untold(&self) -> bool {
        let told = self.hooks.as_ref().and_then(|hooks| Some(hooks.shortage.as_ref()?.ooms()));
        self.restarts.oom.get() && self.restarts.kills.get() > told.unwrap_or(0)
    }

    /// What those say who were asked.
    pub(crate) fn gate(&self) -> Gate {
        self.hooks.as_ref().map_or(Gate::Open, |hooks| hooks.gate.clone())
    }

    /// Does what is due.
    pub(crate) fn serve_hooks(&mut self) {
        // Each piece of output comes by here: mostly there is nothing to do.
        if self.hooks.as_ref().is_none_or(|hooks| hooks.is_quiet(self.restarts.is_resting())) {
            return;
        }
        let Some(mut hooks) = self.hooks.take() else { return };
        let list = self.job.spec.hooks.as_deref().map(|all| all.list.clone()).unwrap_or_default();
        let ended = end_all(&mut hooks.chains);
        let due = if self.restarts.is_resting() { Vec::new() } else { hooks.take_due(&list) };
        let short = match (&mut hooks.shortage, self.restarts.is_resting()) {
            (Some(shortage), false) => shortage.look(&list, &self.job, self.group.as_ref(), self.task.pid()),
            _ => Vec::new(),
        };
        self.hooks = Some(hooks);
        for (chain, outcome) in ended {
            self.go_on(chain, &outcome);
        }
        due.into_iter().for_each(|number| self.begin_chain(vec![number], Detail::new(), false));
        short.into_iter().for_each(|(number, detail)| self.begin_chain(vec![number], detail, false));
    }

    fn owner(&self) -> Owner<'_> {
        let job = &self.job;
        let (status, pid) = match self.restarts.is_resting() {
            true => ("stopped", None),
            false => ("running", Some(self.task.pid())),
        };
        Owner { spec: &job.spec, dir: &job.dir, run: &job.run, image: &job.image, status, pid }
    }

    fn hook(&self, number: usize) -> Option<Hook> {
        self.job.spec.hooks.as_deref()?.list.get(number).cloned()
    }

    /// Begins with the first that can be begun.
    fn begin_chain(&mut self, numbers: Vec<usize>, detail: Detail, is_gate: bool) {
        let mut rest = VecDeque::from(numbers);
        while let Some(hook) = rest.pop_front().and_then(|number| self.hook(number)) {
            let Some(hooks) = &mut self.hooks else { return };
            if hooks.is_busy(&hook) || (hooks.chains.len() >= MOST && !is_gate) {
                self.tell_skipped(&hook);
                continue;
            }
            if is_gate {
                hooks.gate = Gate::Asking;
            }
            let begun = self.owner().begin(&hook, detail.clone());
            match (begun, &mut self.hooks) {
                (Ok(running), Some(hooks)) => {
                    return hooks.chains.push(Chain { running, rest, detail, is_gate });
                }
                (Ok(_), None) => return,
                (Err(error), _) => {
                    let outcome = Outcome { verdict: Verdict::Failed(error.chain()), ..Outcome::default() };
                    if self.conclude(&hook, &outcome, Duration::ZERO, is_gate) {
                        return;
                    }
                }
            }
        }
        if let (true, Some(hooks)) = (is_gate, &mut self.hooks) {
            hooks.gate = Gate::Open;
        }
    }

    /// Takes in how one went; then comes the next of its moment.
    fn go_on(&mut self, chain: Chain, outcome: &Outcome) {
        let (hook, took) = (chain.running.hook().clone(), chain.running.took());
        let is_shut = self.conclude(&hook, outcome, took, chain.is_gate);
        if !is_shut {
            self.begin_chain(chain.rest.into(), chain.detail, chain.is_gate);
        }
    }

    /// Whether what it comes before shall not be done.
    fn conclude(&mut self, hook: &Hook, outcome: &Outcome, took: Duration, is_gate: bool) -> bool {
        for line in self.owner().settle(hook, outcome, took) {
            self.log.add(Stream::Error, format!("tsubo-keeper: {line}\n").as_bytes());
        }
        let no = hook.refusal(&outcome.verdict);
        match (no.filter(|_| is_gate), &mut self.hooks) {
            (Some(why), Some(hooks)) => hooks.gate = Gate::Shut(format!("hook {:?}: {why}", hook.name)),
            _ => return false,
        }
        true
    }

    fn tell_skipped(&self, hook: &Hook) {
        let why = Some("it is still at it, or too many are".to_owned());
        let (hook, outcome) = (hook.name.clone(), "skipped".to_owned());
        self.tell([What::Hook { hook, outcome, why, changed: Vec::new(), milliseconds: 0 }]);
    }

    /// The container has ended for good, and nobody will be here to wait for its last hooks.
    pub(crate) fn leave_hooks(&mut self, code: i32) {
        let is_told = self.hooks.as_ref().is_some_and(|hooks| hooks.end_is_told);
        let is_oom = self.is_oom_untold() && !is_told;
        let Some(all) = self.job.spec.hooks.as_deref() else { return };
        // Those that are still at it were for a container that lived.
        self.hooks = None;
        let mut events: Vec<Event> = is_oom.then_some(Event::Oom).into_iter().collect();
        events.extend(match self.restarts.quitting {
            true => Some(Event::Stop),
            false => (code != 0 && !is_told).then_some(Event::Failure),
        });
        events.extend(self.job.remove.then_some(Event::Cleanup));
        let detail = Detail::from([("code".to_owned(), code.into())]);
        let hooks: Vec<(&Hook, Detail)> = events
            .into_iter()
            .flat_map(|event| all.at(&When::After(event)).collect::<Vec<_>>())
            .map(|hook| (hook, detail.clone()))
            .collect();
        let job = &self.job;
        let owner = Owner {
            spec: &job.spec,
            dir: &job.dir,
            run: &job.run,
            image: &job.image,
            status: "stopped",
            pid: None,
        };
        if let Err(error) = owner.leave(&hooks) {
            self.log.add(Stream::Error, format!("tsubo-keeper: {}\n", error.chain()).as_bytes());
        }
    }
}

/// Those that have ended, taken out.
fn end_all(chains: &mut Vec<Chain>) -> Vec<(Chain, Outcome)> {
    let (mut ended, mut going) = (Vec::new(), Vec::new());
    for mut chain in chains.drain(..) {
        match chain.running.outcome() {
            Some(outcome) => ended.push((chain, outcome)),
            None => going.push(chain),
        }
    }
    *chains = going;
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_their_jitter_and_moments_their_once() {
        let time = |text: &str| first(&text.parse().expect("a moment"));
        assert_eq!(time("after 5s"), Some(Duration::from_secs(5)));
        assert_eq!(next(&"after 5s".parse().expect("a moment")), None);
        assert_eq!(time("every 5s"), Some(Duration::from_secs(5)));
        let jittered: Vec<u128> =
            (0..50).filter_map(|_| time("every 1s jitter 1s")).map(|time| time.as_millis()).collect();
        assert!(jittered.iter().all(|time| (1000..=2000).contains(time)), "{jittered:?}");
        assert!(jittered.iter().any(|time| *time != jittered[0]));
        assert_eq!(time("health"), None);
    }
}
