//! The end of a container.

use std::time::{Duration, Instant};

use lifecycle::job::Job;
use lifecycle::state;
use rustix::event::{PollFd, PollFlags, Timespec};
use spec::protocol::Reply;

use crate::connection::{Connection, Role};
use crate::keep::Keeper;

/// How long the clients together may go without taking any of the last bytes.
const STALLED: Duration = Duration::from_secs(2);

/// How long they may take in all.
const DRAIN: Duration = Duration::from_secs(10);

/// Records the end, cleans up, and tells everybody who waits. By then nothing is left of the
/// container but what was asked for: whoever is told can rely on it, and nobody who does not
/// listen holds it up. The one who started a container that is removed is told a little sooner,
/// when nothing but empty control groups is left.
pub(crate) fn finish(mut keeper: Keeper, code: i32) {
    keeper.read_rest();
    keeper.log.finish();
    // Processes that were executed later have died as well.
    let codes: Vec<i32> =
        keeper.connections.iter_mut().map(|connection| end_exec(connection, code)).collect();
    // Who is told of its end can have what it had.
    state::forgive(&keeper.job);
    // What stays is found by `tsubo gc`, and by whoever is given its address.
    let _ = lifecycle::networks::unwire(&keeper.job, &keeper.ports);
    keeper.ports.clear();
    if keeper.job.remove {
        vanish(&mut keeper, code);
    }
    let measured = keeper.group.as_ref().filter(|_| !keeper.job.remove);
    let peak = measured.map(cgroup::Group::peak).unwrap_or_default();
    let ended = keeper.ended(code, peak);
    if let Some(group) = &keeper.group {
        // Nobody is left to be told; the next command that looks tries again.
        let _ = group.end();
    }
    if !keeper.job.remove {
        let _ = state::ended(&keeper.job, &ended);
        keeper.tell_last(code);
    }
    let told = |connection: &Connection| keeper.job.remove && connection.role == Role::Launch;
    for (connection, code) in keeper.connections.iter_mut().zip(codes) {
        if !told(connection) {
            connection.send(&Reply::Exit { code });
        }
    }
    drain(&mut keeper.connections);
    keeper.leave_hooks(code);
    // What we still hold the kernel takes back, and nobody waits for that.
    sys::process::exit_now(0);
}

/// Removes a container that nobody shall find any more, and tells the one who started it.
fn vanish(keeper: &mut Keeper, code: i32) {
    // What cannot be removed is found by the next command that looks.
    let _ = state::vanish(&keeper.job, &keeper.log);
    keeper.tell_last(code);
    let launch = keeper.connections.iter_mut().filter(|connection| connection.role == Role::Launch);
    launch.for_each(|connection| connection.send(&Reply::Exit { code }));
}

/// Sends all that is left to all at once.
fn drain(connections: &mut [Connection]) {
    let end = Instant::now() + DRAIN;
    let (mut least, mut stalled) = (usize::MAX, Instant::now() + STALLED);
    loop {
        connections.iter_mut().for_each(Connection::flush);
        let left: usize = connections.iter().map(Connection::unsent).sum();
        if left < least {
            (least, stalled) = (left, Instant::now() + STALLED);
        }
        let time = stalled.min(end).saturating_duration_since(Instant::now());
        if left == 0 || time.is_zero() {
            return;
        }
        let waiting = connections.iter().filter(|connection| connection.unsent() > 0);
        let mut polled: Vec<_> =
            waiting.map(|connection| PollFd::from_borrowed_fd(connection.fd(), PollFlags::OUT)).collect();
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        // A signal or the time limit: the loop looks again.
        let _ = rustix::event::poll(&mut polled, Some(&timeout));
    }
}

fn end_exec(connection: &mut Connection, code: i32) -> i32 {
    let Some(mut task) = connection.task.take() else { return code };
    task.read_rest(&mut |stream, bytes| connection.send(&Reply::Output { stream, bytes: bytes.to_vec() }));
    for _ in 0..100 {
        if let Some(code) = task.ended() {
            return code;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    137
}

/// Takes back what a start that failed has made; the caller removes the container itself.
pub(crate) fn undo(job: &Job) {
    // The failure of the start is the one to tell.
    let _ = cgroup::Group::of(job.spec.id).and_then(|group| group.end());
    let _ = lifecycle::networks::unwire(job, &[]);
    let _ = std::fs::remove_dir_all(&job.run);
}
