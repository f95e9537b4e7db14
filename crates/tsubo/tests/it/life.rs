//! The life of a container, verb by verb, as a person types it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::base::small;
use crate::support::{House, fail, succeed, until};

/// A service that says `up` and sleeps, with the tools of the small base to look around in it.
fn packed(house: &House) -> String {
    let base = small(house);
    std::fs::create_dir(base.join("srv/data")).expect("mkdir");
    house.dev("app", &base, "true");
    house.test_job("app", &["/bin/sh", "-c", "echo x > /tmp/x"]);
    let options = ["--keep", "/usr/bin", "--keep", "/srv", "--keep", "/etc", "--no-replay"];
    house.pack_with("app", "exact", &options)
}

const SERVICE: [&str; 3] =
    ["/bin/sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"];

#[track_caller]
fn is_up(house: &House, name: &str, times: usize) {
    until("it is up", || house.ok_elsewhere(["logs", name]).matches("up\n").count() == times);
}

fn row(house: &House, name: &str) -> Value {
    let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
    rows.as_array().expect("rows").iter().find(|row| row["name"] == name).expect("it is there").clone()
}

fn words(rows: &str) -> Vec<String> {
    rows.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["event"].as_str().expect("a word").to_owned()
        })
        .collect()
}

#[test]
fn created_started_held_renamed_restarted_and_removed_with_all_of_it_told() {
    let house = House::new();
    let file = packed(&house);
    let create = ["create", "--name", "one", &file].into_iter().chain(SERVICE);
    assert_eq!(house.ok_elsewhere(create), "one\n");
    assert_eq!(row(&house, "one")["status"], "created");
    let complaint = house.fails_elsewhere(125, ["wait", "one"]);
    assert!(complaint.contains("never started") && complaint.contains("tsubo start one"), "{complaint}");
    assert_eq!(house.ok_elsewhere(["start", "one"]), "one\n");
    is_up(&house, "one", 1);
    house.ok_elsewhere(["start", "one"]);
    house.ok_elsewhere(["pause", "one"]);
    assert_eq!(row(&house, "one")["status"], "paused");
    let complaint = house.fails_elsewhere(125, ["exec", "one", "true"]);
    assert!(complaint.contains("paused") && complaint.contains("tsubo unpause one"), "{complaint}");
    house.ok_elsewhere(["unpause", "one"]);
    house.ok_elsewhere(["rename", "one", "two"]);
    assert_eq!(house.ok_elsewhere(["restart", "two"]), "two\n");
    is_up(&house, "two", 2);
    let top = house.json_elsewhere(["top", "two", "--format", "json"]);
    assert!(
        top[0]["command"].as_str().expect("text").contains("/bin/sh") && top[0]["inside"] == 1,
        "{top:#}"
    );
    house.ok_elsewhere(["exec", "two", "true"]);
    house.fails_elsewhere(127, ["exec", "-d", "two", "nonsense"]);
    let complaint = house.fails_elsewhere(125, ["exec", "--no-mount", "two", "true"]);
    assert!(complaint.contains("--no-pid"), "{complaint}");
    house.ok_elsewhere(["stop", "two"]);
    assert_eq!(house.ok_elsewhere(["wait", "two"]), "3\n");
    fail(house.command_elsewhere(["start", "-a", "nobody"]), 125);
    house.ok_elsewhere(["rm", "two"]);
    let events = house.ok_elsewhere(["events", "--since", "1h", "--until", "0s", "--format", "json"]);
    let told = words(&events);
    let expected = "create start pause unpause rename die stop restart start exec die stop destroy";
    assert_eq!(told.join(" "), expected);
    let filters = ["--filter", "event=die", "--filter", "container=two"];
    let dies = house.ok_elsewhere(["events", "--since", "1h", "--until", "0s"].into_iter().chain(filters));
    assert!(dies.lines().count() == 2 && dies.contains("(exit code 3)"), "{dies}");
}

#[test]
fn policies_and_health_are_seen_everywhere() {
    let house = House::new();
    let file = packed(&house);
    let run = [
        "run",
        "-d",
        "--name",
        "bad",
        "--restart",
        "on-failure:2",
        &file,
        "/bin/sh",
        "-c",
        "echo up; exit 7",
    ];
    house.ok_elsewhere(run);
    assert_eq!(house.ok_elsewhere(["wait", "bad"]), "7\n");
    assert_eq!(
        (row(&house, "bad")["restarts"].as_u64(), house.ok_elsewhere(["logs", "bad"]).as_str()),
        (Some(2), "up\nup\nup\n")
    );
    let health = ["--health-cmd", "cat /tmp/well", "--health-interval", "50ms", "--health-retries", "2"];
    let run = ["run", "-d", "--name", "web", "--restart", "unless-stopped"]
        .into_iter()
        .chain(health)
        .chain([file.as_str()]);
    house.ok_elsewhere(run.chain(SERVICE));
    until("unhealthy", || row(&house, "web")["health"] == "unhealthy");
    house.ok_elsewhere(["exec", "web", "/bin/sh", "-c", "echo > /tmp/well"]);
    until("healthy", || row(&house, "web")["status"] == "running (healthy)");
    let seen = house.json_elsewhere(["inspect", "web"]);
    assert_eq!(
        (seen["restart_policy"].as_str(), seen["state"]["health"]["last"]["code"].as_i64()),
        (Some("unless-stopped"), Some(0))
    );
    house.ok_elsewhere([
        "update",
        "--restart",
        "always",
        "--health-cmd",
        "none",
        "--ulimit",
        "nofile=64:64",
        "web",
    ]);
    assert_eq!(row(&house, "web")["health"], Value::Null);
    assert_eq!(house.ok_elsewhere(["exec", "web", "/bin/sh", "-c", "ulimit -n"]), "64\n");
    house.fails_elsewhere(125, ["update", "web"]);
    house.ok_elsewhere(["stop", "web"]);
    assert_eq!(house.ok_elsewhere(["boot", "--list"]), "bad\nweb\n");
    house.ok_elsewhere(["update", "--restart", "no", "bad"]);
    assert_eq!(house.ok_elsewhere(["boot"]), "web\n");
    assert_eq!(row(&house, "web")["running"], true);
    assert_eq!(house.ok_elsewhere(["boot"]), "");
    let complaint = house.fails_elsewhere(125, ["run", "--rm", "--restart", "always", &file, "true"]);
    assert!(complaint.contains("--rm"), "{complaint}");
}

#[test]
fn copies_go_in_and_out_also_as_archives() {
    let house = House::new();
    let file = packed(&house);
    let data = house.path("data");
    std::fs::create_dir(&data).expect("data");
    let volume = format!("{}:/srv/data", data.display());
    let create = ["create", "--name", "one", "-v", &volume, &file].into_iter().chain(SERVICE);
    house.ok_elsewhere(create);
    std::fs::create_dir(house.path("site")).expect("site");
    std::fs::write(house.path("site/index.html"), "welcome\n").expect("index");
    // Not started yet: into its volume, and out of its image.
    house.ok_elsewhere(["cp", "site", "one:/srv/data"]);
    assert_eq!(std::fs::read_to_string(data.join("site/index.html")).expect("read"), "welcome\n");
    house.ok_elsewhere(["cp", "one:/etc/passwd", "passwd"]);
    assert!(std::fs::read_to_string(house.path("passwd")).expect("read").contains("root:x:0:0"));
    let complaint = house.fails_elsewhere(125, ["cp", "site", "one:/etc"]);
    assert!(complaint.contains("/srv/data"), "{complaint}");
    house.ok_elsewhere(["start", "one"]);
    house.ok_elsewhere(["cp", "site/.", "one:/tmp"]);
    assert_eq!(house.ok_elsewhere(["exec", "one", "cat", "/tmp/index.html"]), "welcome\n");
    assert_eq!(house.ok_elsewhere(["exec", "one", "stat", "-c", "%u:%g", "/tmp/index.html"]), "0:0\n");
    let archive = house.command_elsewhere(["cp", "one:/tmp/index.html", "-"]).output().expect("cp");
    assert!(archive.status.success());
    let mut list =
        Command::new("tar").arg("t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tar");
    list.stdin.take().expect("stdin").write_all(&archive.stdout).expect("write");
    assert_eq!(String::from_utf8_lossy(&list.wait_with_output().expect("tar").stdout), "index.html\n");
    let mut unpack = house.command_elsewhere(["cp", "-", "one:/srv/data"]);
    let mut unpack = unpack.stdin(Stdio::piped()).spawn().expect("cp");
    unpack.stdin.take().expect("stdin").write_all(&archive.stdout).expect("write");
    assert!(unpack.wait().expect("cp").success());
    assert_eq!(std::fs::read_to_string(data.join("index.html")).expect("read"), "welcome\n");
    for (from, to) in [("site", "passwd"), ("one:/tmp", "one:/srv"), ("one:/none", "."), ("none:/x", ".")] {
        house.fails_elsewhere(125, ["cp", from, to]);
    }
}

#[test]
fn every_verb_of_a_life_has_examples() {
    let house = House::new();
    for verb in
        "create start restart boot cp attach top events wait pause unpause update rename exec".split(' ')
    {
        let help = succeed(house.command([verb, "--help"]));
        assert!(help.contains("Examples:") && help.contains(&format!("tsubo {verb}")), "{verb}: {help}");
    }
}
