//! Containers on networks of ours: who reaches whom, under which address and name, and that nothing stays.

use serde_json::{Value, json};

use crate::support::busybox::{file, installed};
use crate::support::wires::{HOST, OUTSIDE, Wires, asks, here, ip};
use crate::support::{House, until};

/// Serves its own name on port 80.
const SERVES: &str = "hostname > /tmp/name; exec httpd -f -p 80 -h /tmp";

/// A house on a host of its own, with an image `web` that serves its name.
fn house() -> Option<(House, Wires)> {
    let change = json!({"command": ["/bin/sh", "-c", SERVES], "writable": ["/tmp"]});
    let files = |tar| {
        let tar = ["httpd", "hostname", "ip", "ping", "ping6", "nslookup", "wget", "udhcpd", "arping"]
            .iter()
            .fold(tar, |tar: crate::support::forge::Tar, name| {
                tar.symlink(&format!("bin/{name}"), "busybox")
            });
        ["resolv.conf", "hosts", "hostname"]
            .iter()
            .fold(tar, |tar, name| file(tar, &format!("etc/{name}"), b"", 0o644))
    };
    // The world comes first: all that is started is on it.
    let wires = Wires::new();
    Some((installed(files, change)?, wires))
}

fn run(house: &House, name: &str, words: &[&str]) {
    let start = ["run", "-d", "--name", name];
    house.ok_elsewhere(start.iter().chain(words).chain(&["web"]));
}

/// Its address on its first network, as `inspect` tells it; the fourth version, or the sixth.
fn address(house: &House, name: &str, sixth: bool) -> String {
    let told = house.json_elsewhere(["inspect", name]);
    let attachment = &find(&told, "attachments").expect("attachments")[0]["network"];
    let addresses = attachment["addresses"].as_array().expect("addresses").clone();
    let mut texts = addresses.iter().map(|one| one.as_str().expect("text").to_owned());
    let found = texts.find(|one| one.contains(':') == sixth).expect("one of the family");
    found.split('/').next().expect("an address").to_owned()
}

/// The first value of this key, at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key))),
        Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

/// The number of its keeper.
fn keeper(house: &House, name: &str) -> i64 {
    let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
    let rows = rows.as_array().expect("rows");
    let row = rows.iter().find(|row| row["name"] == name).expect("the container");
    let state =
        house.elsewhere().join("run/containers").join(row["id"].as_str().expect("id")).join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(state).expect("state")).expect("JSON");
    state["keeper"]["pid"].as_i64().expect("its number")
}

/// Runs a shell script in a container; whether it succeeds, and what it says.
fn inside(house: &House, name: &str, script: &str) -> (bool, String) {
    let output = house.command_elsewhere(["exec", name, "/bin/sh", "-c", script]).output().expect("exec");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// What a container is answered on port 80 of this address. (The static busybox looks up no names by itself.)
fn gets(house: &House, name: &str, address: &str) -> (bool, String) {
    let ask = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} 80");
    let (reached, said) = inside(house, name, &ask);
    let answer = said.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned();
    (reached && !answer.is_empty(), answer)
}

/// The addresses that a container is told for a name.
fn told(house: &House, name: &str, of: &str) -> Vec<String> {
    let (_, said) = inside(house, name, &format!("nslookup {of}"));
    let answers = said.split("Name:").skip(1).flat_map(|part| part.split("Address"));
    let words = answers.filter_map(|line| line.split_whitespace().nth(1));
    words.filter(|word| word.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned).collect()
}

fn curl(url: &str) -> String {
    format!(
        "python3 -c \"import urllib.request as r; print(r.urlopen('http://{url}/name', timeout=3).read().decode())\""
    )
}

/// Links and elements of ours that are there.
fn traces() -> String {
    let links = ip("-o link show");
    let links: Vec<&str> =
        links.lines().filter(|line| line.contains("@if") && line.contains(": v")).collect();
    let (_, table) = here(
        "nft list table inet tsubo 2>/dev/null | grep -A3 -E 'map published|set outside' | grep elements",
    );
    format!("{}{table}", links.join("\n"))
}

#[test]
fn a_published_port_leads_to_it_from_everywhere_and_from_nowhere_else() {
    let Some((house, wires)) = house() else { return };
    run(&house, "web1", &["--network", "tsubo", "-p", "8080:80"]);
    until("an answer", || asks("127.0.0.1", 8080).is_some());
    assert_eq!(asks("127.0.0.1", 8080).as_deref(), Some("web1"));
    assert_eq!(asks(HOST[0], 8080).as_deref(), Some("web1"));
    for host in [HOST[0].to_owned(), format!("[{}]", HOST[1])] {
        assert_eq!(wires.out(&curl(&format!("{host}:8080"))).trim(), "web1", "{host}");
    }
    let own = address(&house, "web1", false);
    assert_eq!(asks(&own, 80).as_deref(), Some("web1"), "the host reaches its containers");
    let direct = wires.outside(&format!("ip route add {own} via {}; {}", HOST[0], curl(&own)));
    let direct = { direct }.output().expect("sh");
    assert!(!direct.status.success(), "from outside only what is published is reached");
    house.ok_elsewhere(["rm", "-f", "web1"]);
    assert_eq!(asks("127.0.0.1", 8080), None);
    until("all is taken back", || traces().is_empty());
}

#[test]
fn containers_of_one_network_find_each_other_by_name() {
    let Some((house, _wires)) = house() else { return };
    house.ok_elsewhere(["network", "create", "back"]);
    run(&house, "one", &["--network", "back"]);
    run(&house, "two", &["--network", "back:alias=db"]);
    let two = [false, true].map(|sixth| address(&house, "two", sixth));
    until("an answer by name", || told(&house, "one", "two").contains(&two[0]));
    for name in ["two", "db", "two.back"] {
        let addresses = told(&house, "one", name);
        assert!(two.iter().all(|address| addresses.contains(address)), "{name}: {addresses:?}");
    }
    assert_eq!(told(&house, "two", "one")[0], address(&house, "one", false));
    for address in two {
        until("a neighbour", || gets(&house, "one", &address).0);
        assert_eq!(gets(&house, "one", &address).1, "two");
    }
}

#[test]
fn groups_are_closed_to_each_other_and_the_host_to_all() {
    let Some((house, _wires)) = house() else { return };
    for group in ["shop", "bank"] {
        house.ok_elsewhere(["group", "set", group, "--pids-limit", "500"]);
    }
    run(&house, "shop1", &["--network", "tsubo", "--group", "shop"]);
    run(&house, "shop2", &["--network", "tsubo", "--group", "shop"]);
    run(&house, "bank1", &["--network", "tsubo", "--group", "bank"]);
    let (shop2, bank1) = (address(&house, "shop2", false), address(&house, "bank1", false));
    until("a neighbour", || gets(&house, "shop1", &shop2).0);
    let (reached, said) = gets(&house, "shop1", &bank1);
    assert!(!reached, "{said}");
    let server = std::net::TcpListener::bind("0.0.0.0:9999").expect("a service of the host");
    for host in ["127.0.0.1", HOST[0]] {
        let (reached, said) = inside(&house, "shop1", &format!("echo x | nc -w 2 {host} 9999"));
        assert!(!reached, "{host}: {said}");
    }
    drop(server);
    run(&house, "bank2", &["--network", "tsubo", "--group", "bank", "--allow", "group:shop:80"]);
    let (reached, said) = gets(&house, "bank2", &shop2);
    assert!(reached, "{said}");
}

#[test]
fn the_outside_sees_the_host_and_an_isolated_network_sees_nothing() {
    let Some((house, wires)) = house() else { return };
    house.ok_elsewhere(["network", "create", "--isolated", "cell"]);
    run(&house, "free", &["--network", "tsubo"]);
    run(&house, "held", &["--network", "cell"]);
    for outside in OUTSIDE {
        let (reached, said) = gets(&house, "free", outside);
        assert!(reached, "{outside}: {said}");
        assert!(!gets(&house, "held", outside).0, "{outside}");
    }
    assert!(asks(OUTSIDE[0], 80).is_some(), "the host itself");
    drop(wires);
}

#[test]
fn an_address_is_kept_and_nothing_stays_of_a_keeper_that_is_killed() {
    let Some((house, _wires)) = house() else { return };
    run(&house, "web1", &["--network", "tsubo", "-p", "8080:80"]);
    let before = address(&house, "web1", false);
    house.ok_elsewhere(["stop", "web1"]);
    run(&house, "web2", &["--network", "tsubo"]);
    house.ok_elsewhere(["start", "web1"]);
    assert_eq!(address(&house, "web1", false), before);
    assert_ne!(address(&house, "web2", false), before);
    until("an answer", || asks("127.0.0.1", 8080).is_some());
    assert!(here(&format!("kill -9 {}", keeper(&house, "web1"))).0);
    house.ok_elsewhere(["gc"]);
    assert_eq!(asks("127.0.0.1", 8080), None, "nobody is behind the port");
    house.ok_elsewhere(["rm", "-f", "web1", "web2"]);
    house.ok_elsewhere(["gc"]);
    until("all is taken back", || traces().is_empty());
}

#[test]
fn a_port_that_is_taken_is_said_and_nothing_stays() {
    let Some((house, _wires)) = house() else { return };
    let server = std::net::TcpListener::bind("0.0.0.0:8080").expect("a service of the host");
    let words = ["run", "-d", "--name", "web1", "--network", "tsubo", "-p", "8080:80", "web"];
    let error = house.fails_elsewhere(125, words);
    assert!(error.contains("port 8080/tcp") && error.contains("taken"), "{error}");
    drop(server);
    until("all is taken back", || traces().is_empty());
    house.ok_elsewhere(words);
    let again = ["run", "-d", "--name", "web2", "--network", "tsubo", "-p", "8080:80", "web"];
    assert!(house.fails_elsewhere(125, again).contains("taken"));
    std::net::TcpListener::bind("0.0.0.0:8080").expect_err("it is the container's");
}

/// Processes that carry what comes to published ports of this test's host.
fn relays() -> Vec<String> {
    let own = std::fs::read_link("/proc/thread-self/ns/net").expect("own");
    let all = std::fs::read_dir("/proc").expect("proc").flatten().filter(|dir| {
        let words = std::fs::read(dir.path().join("cmdline")).unwrap_or_default();
        words.starts_with(b"tsubo-keeper\0relay\0")
            && std::fs::read_link(dir.path().join("ns/net")).is_ok_and(|there| there == own)
    });
    all.map(|dir| dir.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_published_port_is_not_led_around_the_hosts_firewall() {
    let Some((house, wires)) = house() else { return };
    let (loaded, said) = here(
        "nft 'table inet hostfw {\n chain in {\n type filter hook input priority 0;\n iif lo accept\n tcp dport 8080 drop\n }\n}'",
    );
    assert!(loaded, "{said}");
    let start = "hostname > /tmp/name; busybox head -c 10000000 /dev/urandom > /tmp/big; \
                 exec httpd -f -p 80 -h /tmp";
    let words = ["run", "-d", "--name", "web1", "--network", "tsubo", "-p", "8080:80", "-p", "5353:53/udp"];
    house.ok_elsewhere(words.iter().chain(&["web", "/bin/sh", "-c", start]));
    until("an answer", || asks("127.0.0.1", 8080).is_some());
    assert_eq!(house.json_elsewhere(["port", "web1", "--format", "json"])[0]["relayed"], true);
    let hosts = [HOST[0].to_owned(), format!("[{}]", HOST[1])];
    for host in &hosts {
        let refused = wires.outside(&curl(&format!("{host}:8080"))).output().expect("sh");
        assert!(!refused.status.success(), "{host}: the firewall says no");
    }
    let (deleted, said) = here(
        "nft delete rule inet hostfw in handle $(nft -a list table inet hostfw | sed -n 's/.*8080.*handle //p')",
    );
    assert!(deleted, "{said}");
    for host in &hosts {
        assert_eq!(wires.out(&curl(&format!("{host}:8080"))).trim(), "web1", "{host}");
    }
    let there = wires.out(&format!("wget -q -O - http://{}:8080/big | sha256sum", HOST[0]));
    let (_, here_) = inside(&house, "web1", "busybox sha256sum < /tmp/big");
    assert_eq!(there.trim(), here_.trim(), "ten megabytes");
    let pid = house.json_elsewhere(["inspect", "web1"])["state"]["pid"].to_string();
    let serve = "import socket as s; u=s.socket(2,2); u.bind(('',53)); m,a=u.recvfrom(9999); u.sendto(m*2,a)";
    let server = ["20", "nsenter", "-n", "-t", &pid, "python3", "-c", serve];
    let mut server = std::process::Command::new("timeout").args(server).spawn().expect("nsenter");
    let ask = "python3 -c \"import socket as s; u=s.socket(2,2); u.settimeout(1); \
               u.sendto(b'hello', ('192.0.2.1', 5353)); print(u.recv(99).decode())\"";
    until("an answer to a datagram", || {
        let told = wires.outside(ask).output().expect("sh");
        String::from_utf8_lossy(&told.stdout).trim() == "hellohello"
    });
    server.wait().expect("server");

    assert_eq!(relays().len(), 1);
    house.ok_elsewhere(["restart", "web1"]);
    until("an answer", || asks("127.0.0.1", 8080).is_some());
    assert_eq!(relays().len(), 1, "the one before has ended");
    house.ok_elsewhere(["rm", "-f", "web1"]);
    assert!(relays().is_empty(), "it ends with the container");
    run(&house, "web2", &["--network", "tsubo", "-p", "8080:80"]);
    until("an answer", || asks("127.0.0.1", 8080).as_deref() == Some("web2"));
    assert!(here(&format!("kill -9 {}", keeper(&house, "web2"))).0);
    until("it ends with its keeper", || relays().is_empty());
    assert_eq!(asks("127.0.0.1", 8080), None);
    house.ok_elsewhere(["rm", "-f", "web2"]);
    house.ok_elsewhere(["gc"]);
    until("all is taken back", || traces().is_empty());
}
