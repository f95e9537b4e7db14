//! redis: a data directory that is empty at first, and data that goes there.

use std::path::Path;

use crate::support::wires::Wires;
use crate::support::{House, have, port, shell, until_listening};

#[test]
fn redis_keeps_its_empty_data_directory_and_writes_there() {
    if !have(&["redis-server", "redis-cli"]) {
        return;
    }
    let _wires = Wires::new();
    let house = House::new().with_what_is_usual();
    let port = port();
    house.dev(
        "db",
        Path::new("host"),
        "mkdir -p /srv/db/data; chown 1234:1234 /srv/db/data; chmod 750 /srv/db/data",
    );
    let port_text = port.to_string();
    let cli = format!("redis-cli -h 127.0.0.1 -p {port}");
    let exercise = format!("test \"$({cli} set k v)\" = OK && test \"$({cli} get k)\" = v");
    let ready = format!("tcp:{port}");
    let server = [
        "redis-server",
        "--port",
        &port_text,
        "--bind",
        "127.0.0.1",
        "--dir",
        "/srv/db/data",
        "--appendonly",
        "yes",
    ];
    let test = ["test", "db", "--user", "1234", "--ready", &ready, "--exercise", &exercise, "--"];
    house.ok(test.iter().chain(&server));
    for closure in ["exact", "package"] {
        let file = house.pack("db", closure);
        assert!(house.contents(&file)["kept"]["/srv/db/data"].is_object(), "{closure}");
        house.start("db", &file);
        until_listening(port);
        assert_eq!(
            shell(&format!("{cli} set a b; {cli} get a; {cli} bgsave; {cli} get k")).lines().count(),
            4
        );
        let listed = house.json_elsewhere(["diff", "db", "--format", "json"]).to_string();
        assert!(listed.contains("/srv/db/data/appendonlydir"), "{listed}");
        house.ok_elsewhere(["stop", "db"]);
        assert_eq!(house.json_elsewhere(["inspect", "db"])["state"]["exit_code"], 0);
        house.ok_elsewhere(["rm", "db"]);
        house.ok_elsewhere(["rmi", "db"]);
    }
}

#[test]
fn redis_finds_its_data_again_in_a_directory_of_the_host() {
    if !have(&["redis-server", "redis-cli"]) {
        return;
    }
    let house = House::new();
    let port = port();
    house.dev("db", Path::new("host"), "mkdir -p /srv/db");
    let cli = format!("redis-cli -h 127.0.0.1 -p {port}");
    let (exercise, ready, port_text) = (format!("{cli} set k v"), format!("tcp:{port}"), port.to_string());
    let server = ["redis-server", "--port", &port_text, "--bind", "127.0.0.1", "--dir", "/srv/db"];
    let test = ["test", "db", "--volume", "/srv/db", "--ready", &ready, "--exercise", &exercise, "--"];
    house.ok(test.iter().chain(&server));
    let file = house.pack("db", "package");
    assert_eq!(house.contents(&file)["spec"]["volumes"], serde_json::json!(["/srv/db"]));
    let data = house.path("data");
    std::fs::create_dir(&data).expect("mkdir");
    let volume = format!("{}:/srv/db", data.display());
    for (number, expected) in [("one", ""), ("two", "yes")] {
        house.ok_elsewhere(["run", "-d", "--name", number, "-v", &volume, &file]);
        until_listening(port);
        assert_eq!(shell(&format!("{cli} get kept")).trim(), expected);
        shell(&format!("{cli} set kept yes; {cli} save"));
        house.ok_elsewhere(["stop", number]);
        house.ok_elsewhere(["rm", number]);
    }
}
