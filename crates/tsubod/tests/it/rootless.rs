//! The gateway of an ordinary user.

use std::path::Path;

use crate::support::client::Client;
use crate::support::user::as_user;
use crate::support::{House, gateway, package, port, until};

/// Says what there is at its end; whoever comes meanwhile is outside.
const SERVE: &str = "cd home\n\
    tsubo gateway --config gateway.toml 2>log & gateway=$!\n\
    trap 'kill $gateway 2>/dev/null || :' EXIT\n\
    while test -e gateway.toml -a ! -e ask; do sleep 0.05; done\n\
    tsubo gateway status\n\
    while test -e gateway.toml -a ! -e kill; do sleep 0.05; done\n\
    for worker in $(pgrep -P $gateway); do kill -9 $worker; done\n\
    touch killed\n\
    while test -e gateway.toml -a ! -e end; do sleep 0.05; done\n\
    kill $gateway; wait $gateway || echo gateway failed\n\
    tsubo rm -f $(tsubo ps -aq) >/dev/null\n\
    tsubo ps -aq | wc -l\n\
    ls $XDG_RUNTIME_DIR/tsubo/containers | wc -l";

/// An answer, whenever there is somebody who gives one.
#[track_caller]
fn run(port: u16) -> String {
    let mut answer = None;
    until("somebody listens", || {
        let asked = Client::try_new(port).and_then(|mut client| client.get("/"));
        answer = asked.ok();
        answer.is_some()
    });
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.run().to_owned()
}

#[test]
fn services_of_an_ordinary_user_come_go_and_outlive_a_worker() {
    let house = House::new();
    package::write(&house, "one");
    let home = house.path("home");
    std::fs::create_dir(&home).expect("mkdir");
    std::fs::copy(house.path("web.tsubo"), home.join("web.tsubo")).expect("copy");
    let port = port();
    let text = format!(
        "[gateway]\nhttp = [\"127.0.0.1:{port}\"]\n{}",
        gateway::web("freeze = \"never\"\nidle = \"2s\"")
    );
    std::fs::write(home.join("gateway.toml"), text).expect("write");
    let programs = Path::new(env!("CARGO_BIN_EXE_tsubod")).parent().expect("a folder").to_owned();
    let names = ["tsubo", "tsubo-keeper", "tsubod"];
    let dir = house.dir().to_owned();
    let user = std::thread::spawn(move || as_user(&dir, &programs, &names, SERVE));
    until("it listens, or cannot here", || user.is_finished() || Client::try_new(port).is_ok());
    let tell = |name: &str| std::fs::write(home.join(name), "").expect("write");
    if !user.is_finished() {
        let first = run(port);
        assert_eq!(run(port), first, "one that is there is asked again");
        tell("ask");
        std::thread::sleep(std::time::Duration::from_secs(4));
        let second = run(port);
        assert_ne!(second, first, "it has come anew");
        tell("kill");
        until("its worker is killed", || home.join("killed").exists());
        assert_eq!(run(port), second, "the next worker knows it");
        tell("end");
    }
    let Some(said) = user.join().expect("the user") else { return };
    let log = std::fs::read_to_string(home.join("log")).unwrap_or_default();
    assert!(log.contains("was ended by signal 9"), "{log}");
    assert!(said.contains("web") && !said.contains("failed\n"), "{said}{log}");
    let last: Vec<_> = said.lines().rev().take(2).collect();
    assert_eq!(last, ["0", "0"], "{said}{log}");
}
