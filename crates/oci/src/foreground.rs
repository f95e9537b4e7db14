//! Staying with a process until it ends: signals go to it, its exit code is ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lifecycle::terminal::Raw;
use runtime::Child;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use spec::{Result, ResultExt};

use crate::relay::Relay;

/// Signals that are passed on: HUP INT QUIT USR1 USR2 TERM CONT.
const PASSED: [i32; 7] = [1, 2, 3, 10, 12, 15, 18];

/// SIGWINCH.
const RESIZED: i32 = 28;

/// From here on signals wait for [`attend`]: none of them ends us while the process is on its way.
pub(crate) fn hold_signals() {
    sys::signal::block(&PASSED);
}

/// Waits for the end; the exit code, or 128 and the number of the signal.
///
/// # Errors
/// What the kernel or the terminal refuses.
pub(crate) fn attend(child: &mut Child, terminal: Option<OwnedFd>) -> Result<u8> {
    let before = sys::signal::block(&[]);
    let wanted: Vec<i32> = PASSED.into_iter().chain(terminal.is_some().then_some(RESIZED)).collect();
    let signals =
        sys::signal::descriptor(&wanted).map_err(std::io::Error::from).doing(|| "watching signals")?;
    let raw = if terminal.is_some() { Raw::enter()? } else { None };
    let mut relay = terminal.map(Relay::new);
    if let Some(relay) = &relay {
        relay.resize();
    }
    let code = until_end(child, &signals, &mut relay);
    drop(raw);
    sys::signal::restore(&before);
    Ok(code? as u8)
}

fn until_end(child: &mut Child, signals: &OwnedFd, relay: &mut Option<Relay>) -> Result<i32> {
    loop {
        let (ended, signal, input, output) = wait(child, signals, relay.as_ref())?;
        if signal {
            pass(child, signals, relay.as_ref());
        }
        if let Some(relay) = relay {
            relay.pass(input, output)?;
        }
        if ended {
            if let Some(relay) = relay {
                relay.drain()?;
            }
            return child.wait();
        }
    }
}

/// Until something has happened: it has ended, a signal, input, output.
fn wait(child: &Child, signals: &OwnedFd, relay: Option<&Relay>) -> Result<(bool, bool, bool, bool)> {
    let pidfd = child.pidfd();
    let stdin = std::io::stdin();
    let mut polled = vec![PollFd::new(&pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    let input = relay.filter(|relay| relay.takes_input()).map(|_| polled.len());
    polled.extend(input.map(|_| PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)));
    let output = relay.filter(|relay| relay.is_open()).map(|_| polled.len());
    polled.extend(relay.filter(|relay| relay.is_open()).map(|relay| PollFd::new(relay, PollFlags::IN)));
    match rustix::event::poll(&mut polled, None) {
        Err(Errno::INTR) => return Ok((false, false, false, false)),
        count => count.map_err(std::io::Error::from).doing(|| "waiting for the container")?,
    };
    let ready = |at: Option<usize>| at.is_some_and(|at| !polled[at].revents().is_empty());
    Ok((ready(Some(0)), ready(Some(1)), ready(input), ready(output)))
}

fn pass(child: &Child, signals: &OwnedFd, relay: Option<&Relay>) {
    let mut record = [0; 128];
    let Ok(count) = rustix::io::read(signals, &mut record) else { return };
    match (sys::signal::number(&record[..count]), relay) {
        (Some(RESIZED), Some(relay)) => relay.resize(),
        // One that has ended is noticed anyway.
        (Some(number), _) => drop(child.signal(number)),
        (None, _) => {}
    }
}

/// Waits for a child that others have made; the exit code, or 128 and the number of the signal.
///
/// # Errors
/// Where it is not our child.
pub(crate) fn wait_for(process: BorrowedFd<'_>) -> Result<u8> {
    let wait = || rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED);
    let status = rustix::io::retry_on_intr(wait).map_err(std::io::Error::from);
    let status = status.doing(|| "waiting for the container")?;
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    });
    Ok(code.unwrap_or(0) as u8)
}
