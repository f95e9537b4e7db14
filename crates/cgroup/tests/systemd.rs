//! Scopes of a real systemd; where it is not process 1 the tests say so and are done.

use std::path::PathBuf;
use std::process::{Child, Command};

use spec::resources::{Limit, Resources};
use tsubo_cgroup::systemd::{Unit, available};

struct Ended(Unit, Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.stop();
        let _ = self.1.kill().and_then(|()| self.1.wait());
    }
}

fn systemd() -> bool {
    let here = available();
    if let Err(error) = &here {
        println!("SKIPPED: {}", error.chain());
    }
    here.is_ok()
}

fn resources() -> Resources {
    let mut resources = Resources::default();
    resources.memory.max = Some(Limit::At(64 << 20));
    resources.pids = Some(Limit::At(20));
    (resources.cpu.weight, resources.cpu.quota) = (Some(200), Some(Limit::At(50_000)));
    resources.devices = Some(vec!["c 1:3 rw".parse().expect("a rule")]);
    resources
}

fn start(name: &str) -> (Ended, spec::Result<tsubo_cgroup::Placed>) {
    let unit = Unit::parse(Some(&format!("tsubotest.slice:tsubo:{name}")), "x").expect("a unit");
    let child = Command::new("sleep").arg("100").spawn().expect("sleep");
    let placed = unit.start(child.id(), &resources());
    (Ended(unit, child), placed)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what} did not happen");
}

#[test]
fn a_scope_has_the_process_and_the_limits_and_ends_with_it() {
    if !systemd() {
        return;
    }
    let (mut ended, placed) = start("one");
    let placed = placed.expect("a scope");
    let directory: PathBuf = placed.paths().remove(0).1;
    println!("{}", directory.display());
    assert!(directory.ends_with("tsubotest.slice/tsubo-one.scope"));
    assert_eq!(placed.processes(), [ended.1.id() as i32]);
    let file = |name: &str| std::fs::read_to_string(directory.join(name)).expect("a file").trim().to_owned();
    let said = || ["memory.max", "pids.max", "cpu.weight", "cpu.max"].map(file);
    let wanted = ["67108864", "20", "200", "50000 100000"].map(str::to_owned);
    assert_eq!(said(), wanted);
    // It knows them itself: told to read everything anew, it says the same.
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    assert_eq!(said(), wanted);
    ended.0.stop().expect("stop");
    assert!(!ended.1.wait().expect("wait").success());
    until("the end of the group", || !directory.exists());
    ended.0.stop().expect("stop twice");
}

#[test]
fn a_name_is_used_once_at_a_time() {
    if !systemd() {
        return;
    }
    let (first, placed) = start("twice");
    placed.expect("a scope");
    let mut other = Command::new("sleep").arg("100").spawn().expect("sleep");
    let refused = first.0.start(other.id(), &resources());
    other.kill().and_then(|()| other.wait()).expect("the end");
    let told = refused.expect_err("in use").chain();
    assert!(told.contains("UnitExists"), "{told}");
    assert!(
        tsubo_cgroup::Placed::find(&first.0.path().expect("a path")).expect("still there").processes().len()
            == 1
    );
}
