//! Devices of the host's network in a container. The host's network is here one of the test's own.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Ground, Said};

/// Two ends of a cable; the one that moves has addresses of several kinds.
const CABLE: &str = "ip link set lo up && ip link add d0 mtu 1400 type veth peer name d1 && \
    ip link set d0 address 02:00:00:00:00:17 && ip addr add 10.9.8.7/24 dev d0 && \
    ip addr add 10.9.8.1 peer 10.9.9.9/32 dev d0 && ip addr add 10.9.7.7/24 scope link dev d0 && \
    ip addr add fd00::7/64 nodad dev d0 && ip link set d0 up && ip link set d1 up && ip addr add 10.9.8.8/24 dev d1";

/// Calls it in a network with that cable; what the network is like afterwards is told last.
fn call(ground: &Ground, words: &[&str]) -> Said {
    let program = ground.command(words);
    let script = format!("{CABLE} && {{ \"$@\"; code=$?; ip -o link; exit $code; }}");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script, "sh"]).arg(program.get_program()).args(program.get_args());
    command.current_dir(ground.bundle()).output().expect("unshare").into()
}

fn config(devices: &Value, script: &str) -> Value {
    let mut config = Ground::config(script);
    config["linux"]["netDevices"] = devices.clone();
    config
}

fn has_ip() -> bool {
    let has = Path::new("/sbin/ip").exists();
    if !has {
        println!("SKIPPED: there is no ip (package iproute2)");
    }
    has
}

#[test]
fn a_device_moves_with_its_addresses_under_another_name_and_is_up() {
    if !has_ip() {
        return;
    }
    let ground = Ground::new();
    let script = "/bin/busybox ip addr show dev inner";
    // A hook finds it there, too.
    let mut config = config(&json!({ "d0": { "name": "inner" } }), script);
    let found = ground.at("found");
    let hook = format!(
        "cat /proc/net/dev >/dev/null; nsenter --net=/proc/$(sed 's/.*\"pid\"://; s/[,}}].*//')/ns/net ip -o link >{}",
        found.display()
    );
    config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", hook], "env": ["PATH=/usr/bin:/bin:/sbin:/usr/sbin"] }] });
    ground.write(&config);
    let said = call(&ground, &["run", &ground.id()]).well();
    for wanted in [
        "mtu 1400",
        "UP,LOWER_UP",
        "link/ether 02:00:00:00:00:17",
        "inet 10.9.8.7/24",
        "inet 10.9.8.1 peer 10.9.9.9/32",
        "inet6 fd00::7/64",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // What reaches no further than the link is of the old one.
    assert!(!said.contains("10.9.7.7"), "{said}");
    assert!(std::fs::read_to_string(found).expect("the hook's word").contains("inner"));
    ground.clean();
}

#[test]
fn a_device_that_cannot_move_is_refused_before_any_has() {
    if !has_ip() {
        return;
    }
    let ground = Ground::new();
    let refused = |devices: Value, words: &str| {
        ground.write(&config(&devices, "true"));
        let said = call(&ground, &["run", &ground.id()]);
        assert!(said.code != 0 && said.error.contains(words), "{words}: {said:?}");
        // Both ends are where they were.
        assert!(said.out.contains("d0@d1"), "{said:?}");
    };
    refused(json!({ "d0": {}, "d7": {} }), "linux.netDevices.d7: there is no such network device");
    refused(json!({ "d0": {}, "d1": { "name": "lo" } }), "has a device lo already");
    refused(json!({ "d0": { "name": "a/b" } }), "no name of a network device");
    refused(json!({ "lo": { "name": "other" } }), "moving the network device lo");
    ground.clean();
}
