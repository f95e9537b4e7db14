//! Somebody sets the clock: containers and their keepers go by one that nobody sets. Nothing runs beside
//! these tests.

use std::time::{Duration, Instant};

use super::{house, started, state};
use crate::support::clock::{Clock, DAY};
use crate::support::{House, until, until_within};

/// The processor's time that the keeper of a container has used.
fn worked(house: &House, name: &str) -> Duration {
    let keeper = state(house, name)["keeper"].as_u64().expect("a keeper");
    let stat = std::fs::read_to_string(format!("/proc/{keeper}/schedstat")).expect("schedstat");
    Duration::from_nanos(stat.split(' ').next().and_then(|word| word.parse().ok()).expect("a number"))
}

/// One that loops uses all of the time, one that waits next to none.
#[track_caller]
fn does_not_spin(house: &House, name: &str) {
    let before = worked(house, name);
    std::thread::sleep(Duration::from_secs(2));
    let used = worked(house, name) - before;
    assert!(used < Duration::from_millis(1000), "the keeper worked {used:?} of 2 s");
}

fn restarts(house: &House, name: &str) -> u64 {
    state(house, name)["restarts"].as_u64().expect("a number")
}

#[test]
#[ignore = "for ./x guest"]
fn a_restart_comes_when_it_is_due() {
    let Some(house) = house() else { return };
    let clock = Clock::new();
    started(&house, "bad", &["--restart", "always"], "echo up; exit 1");
    for seconds in [DAY, -DAY, 0] {
        until("it rests for a while", || {
            restarts(&house, "bad") >= 3 && state(&house, "bad")["restarting"] == true
        });
        clock.jump(seconds);
        let before = restarts(&house, "bad");
        does_not_spin(&house, "bad");
        until_within(60, "another start", || restarts(&house, "bad") > before);
        assert!(house.ok_elsewhere(["ps"]).contains("bad"));
        house.ok_elsewhere(["restart", "bad"]);
    }
    house.ok_elsewhere(["stop", "bad"]);
    assert_eq!(state(&house, "bad")["stopped"], true);
}

#[test]
#[ignore = "for ./x guest"]
fn a_check_comes_when_it_is_due() {
    let Some(house) = house() else { return };
    let clock = Clock::new();
    let health = ["--health-cmd", "cat /tmp/well", "--health-interval", "500ms", "--health-retries", "1"];
    started(&house, "web", &health, "echo up; sleep 1000");
    let mut well = false;
    for seconds in [DAY, -DAY, 0] {
        clock.jump(seconds);
        does_not_spin(&house, "web");
        well = !well;
        let change =
            if well { ["exec", "web", "touch", "/tmp/well"] } else { ["exec", "web", "rm", "/tmp/well"] };
        house.ok_elsewhere(change);
        let word = if well { "healthy" } else { "unhealthy" };
        until("its health", || state(&house, "web")["health"]["status"] == word);
    }
    house.ok_elsewhere(["rm", "-f", "web"]);
}

#[test]
#[ignore = "for ./x guest"]
fn commands_that_wait_end() {
    let Some(house) = house() else { return };
    let clock = Clock::new();
    for seconds in [DAY, -DAY] {
        clock.jump(0);
        started(&house, "deaf", &[], "trap '' TERM; echo up; while :; do sleep 0.05; done");
        let mut follow = house.command_elsewhere(["logs", "-f", "deaf"]).spawn().expect("logs");
        let mut stop = house.command_elsewhere(["stop", "-t", "2", "deaf"]).spawn().expect("stop");
        std::thread::sleep(Duration::from_millis(700));
        clock.jump(seconds);
        let began = Instant::now();
        assert!(stop.wait().expect("stop").success());
        assert!(follow.wait().expect("logs").success());
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert_eq!(house.ok_elsewhere(["wait", "deaf"]), "137\n");
        // What was written in the other time is read, started again and removed.
        house.ok_elsewhere(["ps", "-a"]);
        house.ok_elsewhere(["start", "deaf"]);
        house.ok_elsewhere(["gc"]);
        assert_eq!(state(&house, "deaf")["running"], true);
        house.ok_elsewhere(["rm", "-f", "deaf"]);
    }
}
