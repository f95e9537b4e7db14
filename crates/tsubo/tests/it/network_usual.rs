//! A container of which nobody says where its network comes from.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::forge::Tar;
use crate::support::wires::{HOST, OUTSIDE, Wires, here};
use crate::support::{House, until};

/// One port for everybody, and one for itself.
const SERVES: &str = "echo open > /tmp/is; httpd -p 8080 -h /tmp; mkdir /tmp/own; echo own > /tmp/own/is; \
     exec httpd -f -p 127.0.0.1:8081 -h /tmp/own";

fn seen() -> Value {
    json!([{"protocol": "tcp", "port": 8080}, {"protocol": "tcp", "port": 8081, "local": true}])
}

fn house(command: &[&str], policy: Value, ports: Value) -> Option<(House, Wires)> {
    let change = json!({"command": command, "writable": ["/tmp"], "policy": policy, "ports": ports});
    let files = |tar: Tar| {
        ["httpd", "ip"].iter().fold(tar, |tar, name| tar.symlink(&format!("bin/{name}"), "busybox"))
    };
    let wires = Wires::new();
    Some((installed(files, change)?.with_what_is_usual(), wires))
}

/// What a port of this host's loopback answers, if anybody is behind it.
fn asked(port: u64) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port as u16)).ok()?;
    stream.write_all(b"GET /is HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned())
}

/// The port of the host that leads to one of a container.
fn port_of(house: &House, name: &str, inside: u64) -> u64 {
    let told = house.json_elsewhere(["port", name, "--format", "json"]);
    let rows = told.as_array().expect("rows").clone();
    let row = rows.iter().find(|row| row["container_port"] == inside).unwrap_or_else(|| panic!("{rows:?}"));
    row["host_port"].as_u64().expect("a number")
}

/// Who listens on a port of this host.
fn listeners(port: u64) -> Vec<String> {
    let (_, text) = here(&format!("ss -Hlntp 'sport = :{port}'"));
    text.split("pid=").skip(1).filter_map(|rest| rest.split(',').next()).map(str::to_owned).collect()
}

#[test]
fn where_it_listens_the_host_reaches_it_and_nobody_else() {
    let Some((house, wires)) = house(&["/bin/sh", "-c", SERVES], Value::Null, seen()) else { return };
    for name in ["one", "two"] {
        house.ok_elsewhere(["run", "-d", "--name", name, "web"]);
    }
    for (inside, says) in [(8080, "open"), (8081, "own")] {
        let first = port_of(&house, "one", inside);
        assert_eq!(first, inside, "the same, as nobody else has it");
        let second = port_of(&house, "two", inside);
        assert_ne!(first, second);
        for port in [first, second] {
            until("it answers", || asked(port).as_deref() == Some(says));
            let outside =
                wires.out(&format!("nc -w 2 {} {port} < /dev/null && echo reached || true", HOST[0]));
            assert_eq!(outside, "", "not for the world");
        }
    }
    let second = port_of(&house, "two", 8081);
    house.ok_elsewhere(["restart", "two"]);
    assert_eq!(port_of(&house, "two", 8081), second, "as in the life before");
    until("it answers again", || asked(second).as_deref() == Some("own"));
    // A neighbour who sends frames with this address to the host is nobody special (moby 45610).
    let pretends = wires.out(&format!(
        "for of in all out0; do echo 1 > /proc/sys/net/ipv4/conf/$of/route_localnet; done; ip address del 127.0.0.1/8 dev lo
         ip route add 127.0.0.0/8 via {} src {}; nc -w 2 127.0.0.1 8080 < /dev/null && echo reached || true",
        HOST[0], OUTSIDE[0]
    ));
    assert_eq!(pretends, "", "not for neighbours");
    for name in ["one", "two"] {
        house.ok_elsewhere(["stop", "-t", "0", name]);
        house.ok_elsewhere(["rm", name]);
    }
    TcpListener::bind(("127.0.0.1", 8080)).expect("free again");
    TcpListener::bind(("127.0.0.1", 8081)).expect("free again");
}

#[test]
fn whoever_comes_before_it_listens_waits_for_it() {
    let command = "echo late > /tmp/is; sleep 2; exec httpd -f -p '[::1]:8081' -h /tmp";
    let seen = json!([{"protocol": "tcp", "port": 8081, "local": true}]);
    let Some((house, _wires)) = house(&["/bin/sh", "-c", command], Value::Null, seen) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    // At once, and on the other kind of loopback.
    assert_eq!(asked(8081).as_deref(), Some("late"));
}

#[test]
fn a_package_takes_no_port_of_the_hosts_own_services() {
    let seen = json!([{"protocol": "tcp", "port": 22, "local": true}, {"protocol": "tcp", "port": 80}]);
    let Some((house, _wires)) = house(&["/bin/sleep", "1000"], Value::Null, seen) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    assert_eq!(port_of(&house, "web", 80), 80);
    assert!(port_of(&house, "web", 22) >= 1024);
    house.ok_elsewhere(["rm", "-f", "web"]);
    house.ok_elsewhere(["run", "-d", "--name", "web", "--as-packaged", "web"]);
    assert_eq!(port_of(&house, "web", 22), 22, "who trusts it says so");
}

#[test]
fn what_is_the_hosts_is_out_of_its_reach() {
    let Some((house, _wires)) = house(&["/bin/sleep", "1000"], Value::Null, json!([])) else { return };
    let listener = TcpListener::bind("0.0.0.0:7777").expect("a service of the host");
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    let routes = house.ok_elsewhere(["exec", "web", "/bin/ip", "route"]);
    let gateway = routes.split("default via ").nth(1).and_then(|rest| rest.split(' ').next());
    let gateway = gateway.expect("a gateway");
    for address in ["127.0.0.1", gateway, HOST[0]] {
        let ask = format!("nc -w 2 {address} 7777 < /dev/null");
        let output = house.command_elsewhere(["exec", "web", "/bin/sh", "-c", &ask]).output().expect("exec");
        assert!(!output.status.success(), "{address}: {output:?}");
    }
    listener.set_nonblocking(true).expect("nonblocking");
    assert!(listener.accept().is_err(), "nobody came");
    let links = house.ok_elsewhere(["exec", "web", "/bin/ip", "-o", "link"]);
    assert_eq!(links.lines().count(), 2, "its own, and the loopback: {links}");
}

#[test]
fn what_opens_no_socket_has_nothing_but_the_loopback() {
    let calls = ["read", "write", "execve", "exit_group", "nanosleep", "clock_nanosleep"];
    let policy = json!({"syscalls": calls, "capabilities": [], "groups_seen": false});
    let Some((house, _wires)) = house(&["/bin/sleep", "1000"], policy, json!([])) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "--seccomp", "default", "web"]);
    let links = house.ok_elsewhere(["exec", "web", "/bin/ip", "-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
    let networks = house.json_elsewhere(["network", "ls", "--format", "json"]);
    assert_eq!(networks, json!([]), "none was made for it");
}

#[test]
fn a_killed_keeper_leaves_no_port_that_leads_nowhere() {
    let Some((house, _wires)) = house(&["/bin/sh", "-c", SERVES], Value::Null, seen()) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    until("it answers", || asked(8081).as_deref() == Some("own"));
    let listeners = listeners(8081);
    assert_eq!(listeners.len(), 2, "the keeper, and what carries what comes there: {listeners:?}");
    let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
    let id = rows[0]["id"].as_str().expect("id").to_owned();
    let state = house.elsewhere().join("run/containers").join(id).join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(state).expect("state")).expect("JSON");
    here(&format!("kill -9 {}", state["keeper"]["pid"]));
    let is_gone = |pid: &String| !std::path::Path::new("/proc").join(pid).exists();
    until("they are gone", || listeners.iter().all(is_gone) && asked(8081).is_none());
    house.ok_elsewhere(["gc"]);
    TcpListener::bind(("127.0.0.1", 8080)).expect("free again");
    let (_, rules) = here("nft list ruleset");
    assert!(!rules.contains("8080"), "{rules}");
}
