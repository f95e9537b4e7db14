//! The end of a container.

use std::time::Duration;

use lifecycle::job::Job;
use lifecycle::state;
use spec::protocol::Reply;

use crate::keep::Keeper;

/// Records the end, cleans up, and tells everybody who waits. By then nothing is left of the
/// container but what was asked for: whoever is told can rely on it.
pub(crate) fn finish(mut keeper: Keeper, code: i32) {
    while keeper.read_once() {
        // One that must get all of it gets it, in its own time.
        keeper.connections.iter_mut().filter(|connection| connection.is_full()).for_each(|c| c.drain());
    }
    keeper.log.finish();
    // Processes that were executed later have died with the pid namespace.
    let codes: Vec<i32> =
        keeper.connections.iter_mut().map(|connection| end_exec(connection, code)).collect();
    let peak = keeper.group.as_ref().map(cgroup::Group::peak).unwrap_or_default();
    if let Some(group) = &keeper.group {
        // Nobody is left to be told; the next command that looks tries again.
        let _ = group.kill().and_then(|()| group.remove());
    }
    let _ = state::ended(&keeper.job, code, peak);
    for (connection, code) in keeper.connections.iter_mut().zip(codes) {
        connection.send(&Reply::Exit { code });
        connection.drain();
    }
}

fn end_exec(connection: &mut crate::connection::Connection, code: i32) -> i32 {
    let Some(mut task) = connection.task.take() else { return code };
    while task.read(&mut |stream, bytes| connection.send(&Reply::Output { stream, bytes: bytes.to_vec() })) {
        connection.drain();
    }
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
    let _ = cgroup::Group::of(job.spec.id).and_then(|group| group.kill().and_then(|()| group.remove()));
    let _ = std::fs::remove_dir_all(&job.run);
}
