//! Somebody sets the clock: the gateway goes by one that nobody sets. Nothing runs beside this.

use std::time::Duration;

use crate::support::clock::{Clock, DAY};
use crate::support::gateway::Gateway;
use crate::support::{House, until};

#[test]
#[ignore = "for ./x guest"]
fn instances_come_rest_and_go_as_if_nothing_were() {
    if std::env::var_os("TSUBO_GUEST").is_none() {
        println!("SKIPPED: only ./x guest can do this");
        return;
    }
    let house = House::new();
    let clock = Clock::new();
    let times = "freeze = \"1s\"\nidle = \"4s\"\nmax_age = \"1h\"\nstart_time = \"60s\"";
    let gateway = Gateway::of(&house, times);
    let mut run = gateway.good("/").run().to_owned();
    for seconds in [DAY, -DAY, 365 * DAY] {
        clock.jump(seconds);
        let now = gateway.good("/").run().to_owned();
        assert_eq!(now, run, "a day later it is no older than it is");
        until("it is frozen", || gateway.stages("web") == ["frozen"]);
        until("it has gone", || gateway.stages("web").is_empty());
        clock.jump(-seconds);
        run = gateway.good("/").run().to_owned();
        assert_ne!(run, now);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(gateway.service("web")["failed"], 0, "{}", gateway.log());
    assert!(!gateway.log().contains("by itself"), "{}", gateway.log());
}
