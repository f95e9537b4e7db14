//! What containers say: bounded, complete, whatever it is made of.

use crate::harness::{World, log_of, until};

#[test]
fn a_flood_is_bounded_and_does_not_stop_the_container() {
    let world = World::new();
    let container = world.detached(
        "flood",
        "yes 0123456789012345678901234567890123456789 | head -c 100000000; echo done; sleep 100",
    );
    until("the end of the flood", || log_of(&container).ends_with("done\n"));
    let names = ["log", "log.1", "log.2", "log.3"];
    let kept: Vec<u64> =
        names.iter().filter_map(|name| Some(container.dir().join(name).metadata().ok()?.len())).collect();
    assert!(kept.len() <= 3 && kept.iter().sum::<u64>() <= 3 * (10 << 20), "{kept:?}");
}

#[test]
fn a_line_of_100_megabytes_and_binary() {
    let world = World::new();
    let container = world
        .detached("long", "dd if=/dev/zero bs=1000000 count=100 2>/dev/null; echo; echo done; sleep 100");
    until("the end of the line", || log_of(&container).ends_with("done\n"));
    let pid = container.status().expect("status");
    let lifecycle::Status::Running(state) = pid else { panic!("ended") };
    let status = std::fs::read_to_string(format!("/proc/{}/status", state.keeper.pid)).expect("keeper");
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
        .expect("VmHWM");
    assert!(peak < 16 << 10, "the keeper took {peak} KiB");
}

#[test]
fn output_that_is_relayed_is_complete() {
    let world = World::new();
    let (said, code) = world.run("much", "head -c 20000000 /dev/zero; echo end");
    assert_eq!(code, 0);
    assert_eq!(said.len(), 20_000_003);
}

#[test]
fn following_ends_with_the_container() {
    let world = World::new();
    let container = world.detached("follow", "for i in 1 2 3; do echo $i; sleep 0.1; done");
    let mut seen = Vec::new();
    container
        .follow(&mut |line| {
            seen.extend(line.text.clone());
            true
        })
        .expect("follow");
    assert_eq!(seen, b"1\n2\n3\n");
}
