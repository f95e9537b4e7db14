//! Who runs and who waits, as the kernel counts for its own load averages.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Tasks;
use super::files::Place;

/// Counts the tasks of a group and of those below it.
pub(super) fn count(place: &Place) -> Option<Tasks> {
    let mut tasks = Tasks::default();
    let list = if place.is_two() { "cgroup.threads" } else { "tasks" };
    add(place.directory(), list, &mut tasks).then_some(tasks)
}

fn add(directory: &Path, list: &str, tasks: &mut Tasks) -> bool {
    // One whose groups below are threaded has no threads of its own to tell.
    let Ok(text) = fs::read_to_string(directory.join(list)) else { return false };
    for state in text.lines().filter_map(state) {
        match state {
            b'R' => tasks.runnable += 1,
            b'D' => tasks.blocked += 1,
            _ => {}
        }
    }
    // Two links are its own name and its dot: to list what is in it would cost more than all the rest.
    if fs::metadata(directory).is_ok_and(|meta| meta.nlink() > 2) {
        let below = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            add(&entry.path(), list, tasks);
        }
    }
    true
}

/// The letter behind the name, which may hold anything. Asked of the thread, not of its process: to
/// tell of that the kernel would go through all its threads.
fn state(task: &str) -> Option<u8> {
    let stat = fs::read(format!("/proc/{task}/task/{task}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(after + 2).copied()
}
