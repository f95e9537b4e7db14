//! One firing: what it is comes in, what came of it goes out.

use std::io::{Read, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use spec::hooks::{Act, Firing, Outcome, VERSION, Verdict};
use spec::{Error, Result, ResultExt};

use crate::reach::Host;
use crate::{follow_up, program, scripted};

/// The largest firing that is read.
const BYTES: u64 = 64 << 20;

/// So much later than its script should have ended a process ends whatever it does.
const GRACE: Duration = Duration::from_millis(250);

/// Runs the mode.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    leave_directory();
    let gone = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    gone.map_err(|errno| Error::io("asking to end with the keeper", errno.into()))?;
    let mut text = Vec::new();
    std::io::stdin().lock().take(BYTES).read_to_end(&mut text).doing(|| "reading the firing")?;
    let firing: Firing = serde_json::from_slice(&text)
        .map_err(|cause| Error::user("what came in is no firing").because(cause))?;
    if firing.version != VERSION {
        let what = format!(
            "a firing of version {} is not understood: this is tsubo-hook for {VERSION}",
            firing.version
        );
        return write(&Outcome { verdict: Verdict::Failed(what), ..Outcome::default() });
    }
    let deadline = start + Duration::from_millis(firing.hook.timeout);
    if let Act::Program(argv) = &firing.hook.act {
        return write(&program::fire(&firing, argv, deadline));
    }
    // A script may take all of a time that only the kernel can end, and our own defects are told too.
    let overdue = format!("hook {:?} took longer than {} ms", firing.hook.name, firing.hook.timeout);
    sys::deadline::arm(deadline.saturating_duration_since(start) + GRACE, json(&Verdict::Overdue(overdue)));
    tell_panics();
    limit(firing.hook.timeout, firing.hook.memory);
    let host = Host::new(firing, deadline);
    let outcome = scripted::fire(&host);
    let steps = host.follow_up();
    sys::deadline::disarm();
    crate::processes::end_all();
    write(&outcome)?;
    follow_up::start(&host, steps)
}

/// Whoever has started us may be anywhere: hooks are done in `/`.
pub(crate) fn leave_directory() {
    // It can always be gone to.
    let _ = rustix::process::chdir("/");
}

/// What the limits were before they became ours.
static BEFORE: OnceLock<[(Resource, Rlimit); 2]> = OnceLock::new();

/// The backstop of the machine's own bounds.
pub(crate) fn limit(timeout: u64, memory: u64) {
    let wanted = [(Resource::Cpu, timeout / 1000 + 2), (Resource::As, memory.saturating_add(1 << 30))];
    BEFORE.get_or_init(|| wanted.map(|(resource, _)| (resource, getrlimit(resource))));
    for (resource, wanted) in wanted {
        let own = getrlimit(resource);
        let current = Some(own.current.map_or(wanted, |now| now.min(wanted)));
        // Where they cannot be set the bounds of the machine still hold.
        let _ = setrlimit(resource, Rlimit { current, maximum: own.maximum });
    }
}

/// What is started from here on is no script: it has the limits that we were started with.
pub(crate) fn lift_limits() {
    for (resource, limit) in BEFORE.get().into_iter().flatten() {
        // They are below the highest that is allowed.
        let _ = setrlimit(*resource, *limit);
    }
}

/// An outcome that is only a verdict.
fn json(verdict: &Verdict) -> Vec<u8> {
    serde_json::to_vec(&Outcome { verdict: verdict.clone(), ..Outcome::default() }).unwrap_or_default()
}

fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let said = panic.payload().downcast_ref::<&str>().copied().unwrap_or("no message");
        let told = json(&Verdict::Failed(format!("a defect of tsubo-hook at {at}: {said}")));
        let _ = std::io::stdout().write_all(&told).and_then(|()| std::io::stdout().flush());
        sys::process::exit_now(0);
    }));
}

fn write(outcome: &Outcome) -> Result<()> {
    let text =
        serde_json::to_vec(outcome).map_err(|cause| Error::internal("writing the outcome").because(cause))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).doing(|| "writing the outcome")
}
