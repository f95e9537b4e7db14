//! The restart policy: the same keeper starts its container again, after a while that doubles.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lifecycle::events::What;
use lifecycle::living;
use lifecycle::networks::Wired;
use serde::{Deserialize, Serialize};
use spec::protocol::Stream;

use crate::hooks::Gate;
use crate::keep::Keeper;
use crate::network::{Namespaces, Ports, Wiring};
use crate::task::{Setup, Task};

/// The first pause between an end and the next start.
const FIRST: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// After running for so long it is well again: the pauses begin anew.
const WELL: Duration = Duration::from_secs(10);

/// Where the policy stands. Times are of the monotonic clock, which nobody sets.
pub(crate) struct Restarts {
    /// How often it was started again.
    pub(crate) times: u32,
    /// It was asked to end, and stays ended.
    pub(crate) quitting: bool,
    /// The kernel has killed for lack of memory in this life.
    pub(crate) oom: Cell<bool>,
    /// How often it did by then.
    pub(crate) kills: Cell<u64>,
    begun: Instant,
    pause: Duration,
    /// Why it could not be started again.
    pub(crate) failure: Option<String>,
    /// It has ended with this code and is started at this moment.
    rest: Option<(i32, Instant)>,
}

impl Restarts {
    pub(crate) fn new() -> Self {
        Self {
            times: 0,
            quitting: false,
            oom: Cell::new(false),
            kills: Cell::new(0),
            begun: Instant::now(),
            pause: FIRST,
            failure: None,
            rest: None,
        }
    }

    /// When it is started again, if it waits for that.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.rest.map(|(_, at)| at)
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.rest.is_some()
    }

    /// What a program that takes our place must know of it; None while it is at work.
    pub(crate) fn at_rest(&self) -> Option<RestartsAtRest> {
        let quiet = self.rest.is_none() && !self.quitting && self.failure.is_none();
        quiet.then(|| RestartsAtRest {
            times: self.times,
            oom: self.oom.get(),
            ran: self.begun.elapsed(),
            pause: self.pause,
        })
    }

    pub(crate) fn adopt(rest: &RestartsAtRest) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(rest.ran).unwrap_or(now);
        Self { times: rest.times, oom: Cell::new(rest.oom), begun, pause: rest.pause, ..Self::new() }
    }

    fn rest(&mut self, code: i32) {
        self.pause = next_pause(self.pause, self.begun.elapsed(), self.times == 0);
        self.rest = Some((code, Instant::now() + self.pause));
    }
}

/// [`Restarts`] on their way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct RestartsAtRest {
    times: u32,
    oom: bool,
    ran: Duration,
    pause: Duration,
}

fn next_pause(last: Duration, ran: Duration, first: bool) -> Duration {
    if first || ran >= WELL { FIRST } else { (last * 2).min(LONGEST) }
}

impl Keeper {
    /// The exit code once it has ended for good.
    pub(crate) fn end_for_good(&mut self) -> Option<i32> {
        let Some((code, due)) = self.restarts.rest else {
            let code = self.task.ended()?;
            return self.end_or_rest(code);
        };
        if self.restarts.quitting {
            return Some(code);
        }
        if due > Instant::now() {
            return None;
        }
        match self.gate() {
            Gate::Open => {}
            Gate::Asking => return None,
            Gate::Shut(why) => {
                self.restarts.failure = Some(why);
                return Some(code);
            }
        }
        self.restarts.rest = None;
        self.restarts.times = self.restarts.times.saturating_add(1);
        self.restarts.begun = Instant::now();
        self.restarts.oom.set(false);
        self.restarts.kills.set(0);
        match self.start_again() {
            Ok(()) => {
                self.restarts.failure = None;
                None
            }
            Err(error) => {
                self.restarts.failure = Some(error.chain());
                let told = format!("tsubo-keeper: cannot start it again: {}\n", error.chain());
                self.log.add(Stream::Error, told.as_bytes());
                self.end_or_rest(i32::from(error.kind().exit_code()))
            }
        }
    }

    fn end_or_rest(&mut self, code: i32) -> Option<i32> {
        let wanted = self.job.life.restart.again(code, self.restarts.times);
        if self.restarts.quitting || !wanted {
            return Some(code);
        }
        self.read_rest();
        self.log.finish();
        self.checks = None;
        // Whoever was held has been killed.
        self.paused = false;
        self.tell_end(code, []);
        // Where the state cannot be written it says what was true before; the container matters more.
        let _ = living::rests(&self.job);
        if let Some(group) = &self.group {
            // Where it has no pid namespace of its own, the others live on. Nobody is left to be
            // told of a failure: the group is in the way of the next start then, which tells.
            let _ = group.end();
        }
        // Nobody is behind its ports now; what stays is replaced by the next start.
        let _ = lifecycle::networks::unwire(&self.job, &self.ports);
        self.restarts.rest(code);
        self.tell_hooks_of_end(code);
        None
    }

    fn start_again(&mut self) -> spec::Result<()> {
        if self.group.is_some() {
            // A new one: in a group whose processes were killed all at once (cgroup.kill) Linux
            // 6.18 kills whatever is born there later too.
            self.group = crate::early::groups(&self.job)?;
        }
        let plan = lifecycle::plan(&self.job)?;
        let kept = lifecycle::volumes::attach(&self.job.spec)?;
        // Its ports are anybody's for this moment: they are taken with the network.
        self.ports.clear();
        let (namespaces, mut wiring) = Wiring::begin(&self.job, Namespaces::default())?;
        lifecycle::networks::write_files(&self.job)?;
        let sockets = &self.sockets;
        let setup = Setup {
            kept,
            namespaces,
            sockets,
            ..Setup::of(self.group.as_ref(), self.job.input, self.job.size)
        };
        let (job, group, times) = (&self.job, self.group.as_ref(), self.restarts.times);
        let (mut ports, mut made) = (Ports::new(), None);
        let task = Task::first(&plan, setup, |first| {
            let (network, taken) = wiring.end()?.map(Wired::into_parts).unzip();
            (ports, made) = (taken.unwrap_or_default(), network.clone());
            living::runs_again(job, first, group, times, network)
        });
        if let (Err(_), Some(network)) = (&task, &made) {
            // What its state says is of the life before.
            let _ = lifecycle::networks::take_back(network, &ports);
            lifecycle::networks::leave_to_others(&self.job);
        }
        let task = task?;
        (self.task, self.ports) = (task, ports);
        self.begin_checks();
        self.begin_hooks(true);
        self.tell([What::Restart { times: Some(times) }, What::Start]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_when_it_has_run_well() {
        let mut pause = next_pause(LONGEST, Duration::ZERO, true);
        let mut seen = vec![pause];
        for _ in 0..11 {
            pause = next_pause(pause, Duration::from_millis(3), false);
            seen.push(pause);
        }
        let millis: Vec<u128> = seen.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(next_pause(pause, WELL, false), FIRST);
    }
}
