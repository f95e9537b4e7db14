//! One long-lived process with many threads starts, watches, and reaps.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifecycle::{KeeperProcess, Status};
use rustix::event::{PollFd, PollFlags, Timespec};
use spec::ErrorKind;

use crate::harness::{World, launch};

/// Whether it has ended, or ends in time.
fn ends(process: BorrowedFd<'_>, seconds: i64) -> bool {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut polled = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&time))).expect("poll") > 0
}

fn reaped(keeper: &KeeperProcess) {
    assert!(ends(keeper.as_fd(), 20), "a keeper does not end");
    assert!(keeper.reap().expect("our child"));
    assert!(!std::path::Path::new(&format!("/proc/{}", keeper.pid())).exists(), "a zombie stays");
}

/// Takes the allocator's lock as often as it can, in sizes that no cache of a thread holds.
fn allocate_like_mad(done: &AtomicBool) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        kept.extend((1..200).map(|size| vec![1; size * 97]));
        kept.retain(|block| block.len() % 3 == 0);
        kept.truncate(500);
    }
}

#[test]
fn containers_start_while_other_threads_have_the_allocator() {
    let world = World::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        (0..4).for_each(|_| _ = scope.spawn(|| allocate_like_mad(&done)));
        let lives: Vec<_> = (0..4)
            .map(|thread| {
                let world = &world;
                scope.spawn(move || {
                    let made = world.shell(&format!("c{thread}"), false, "sleep 1000").expect("create");
                    let first = made.start(launch(false, false)).expect("start");
                    let container = world.containers.find(&format!("c{thread}")).expect("find");
                    let mut keeper = first.into_keeper().expect("a keeper of ours");
                    for _ in 0..10 {
                        assert!(!keeper.reap().expect("our child"), "it runs");
                        container.stop(Duration::ZERO).expect("stop");
                        reaped(&keeper);
                        let again = container.start_again(launch(false, false)).expect("start again");
                        keeper = again.into_keeper().expect("a keeper of ours");
                    }
                    container.remove(true).expect("remove");
                    reaped(&keeper);
                })
            })
            .collect();
        let ended: Vec<_> = lives.into_iter().map(|life| life.join()).collect();
        // Also where one of them has failed, so that the others end.
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|life| life.expect("a thread"));
    });
    world.assert_empty();
}

#[test]
fn a_handle_tells_the_end_and_leads_into_the_network() {
    let world = World::new();
    let made = world.create("own", false, |options| {
        options.network.networks = vec!["none".to_owned()];
        options.args = ["/bin/sleep", "1000"].map(String::from).to_vec();
    });
    let session = made.expect("create").start(launch(false, false)).expect("start");
    let (pid, keeper) = (session.pid(), session.into_keeper().expect("a keeper of ours"));
    let container = world.containers.find("own").expect("find");
    let handle = container.handle().expect("handle");
    let network = File::from(handle.network.expect("a network of its own")).metadata().expect("network");
    let first = std::fs::metadata(format!("/proc/{pid}/ns/net")).expect("that of its first process");
    assert_eq!((network.dev(), network.ino()), (first.dev(), first.ino()));
    assert!(!ends(handle.first.as_fd(), 0) && !ends(handle.keeper.as_fd(), 0));
    container.stop(Duration::ZERO).expect("stop");
    assert!(ends(handle.first.as_fd(), 10) && ends(handle.keeper.as_fd(), 10));
    assert!(matches!(container.status().expect("status"), Status::Exited(_)));
    reaped(&keeper);
    assert_eq!(container.handle().expect_err("ended").kind(), ErrorKind::Conflict);

    let shared = world.detached("shared", "sleep 1000");
    assert!(shared.handle().expect("handle").network.is_none(), "it has the host's");
}
