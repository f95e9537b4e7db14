//! In the guest, whose control groups are of version 2: their counters, limits and traces are other files.

use crate::house::{House, without};

#[test]
#[ignore = "for ./x guest"]
fn an_audit_by_version_two() {
    let Some(house) = House::new() else { return };
    assert!(std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists());
    // It counts buffers of TCP as memory, and knows no limit of them.
    let small = without("--limit", "tcp", &[]);
    // Those that other files tell of there; an emulated processor takes its time for each.
    house.only_red("pages,processes,spin", &small, &[]);
    house.only_red("spin", &[&small[..], &["--cpu-weight", "10000"]].concat(), &["spin"]);
}
