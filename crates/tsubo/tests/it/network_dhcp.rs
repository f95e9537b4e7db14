//! Addresses that a server on a container's network gives, and what becomes of them.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::busybox::{file, installed};
use crate::support::wires::{Wires, here, ip};
use crate::support::{House, until, until_within};

/// A house on a host of its own, with a network `lan` on the segment of its uplink.
fn house(kind: &str) -> Option<(House, Wires)> {
    let change = json!({"command": ["/bin/sh", "-c", "exec sleep 1000"]});
    let files = |tar| {
        let tar = ["ip"].iter().fold(tar, |tar: crate::support::forge::Tar, name| {
            tar.symlink(&format!("bin/{name}"), "busybox")
        });
        ["resolv.conf", "hosts", "hostname"]
            .iter()
            .fold(tar, |tar, name| file(tar, &format!("etc/{name}"), b"", 0o644))
    };
    // The world comes first: all that is started is on it.
    let wires = Wires::new();
    let house = installed(files, change)?;
    match kind {
        "bridge" => {
            // An uplink's addresses would be the bridge's.
            ip("addr flush dev up0");
            house.ok_elsewhere(["network", "create", "lan", "--driver", "bridge", "--uplink", "up0"]);
        }
        "" => {}
        kind => drop(house.ok_elsewhere(["network", "create", "lan", "--driver", kind, "--parent", "up0"])),
    }
    Some((house, wires))
}

/// A server outside, which ends with it.
struct Server {
    process: Child,
    log: PathBuf,
}

impl Server {
    /// One that gives `first` and, if need be, the nine behind it, each for so many seconds.
    fn new(house: &House, wires: &Wires, first: u8, seconds: u32, options: &str) -> Self {
        let (conf, log) = (house.path("udhcpd.conf"), house.path("udhcpd.log"));
        let leases = house.path("udhcpd.leases");
        std::fs::write(&leases, "").expect("write");
        let text = format!(
            "start 192.0.2.{first}\nend 192.0.2.{}\ninterface out0\nlease_file {}\npidfile {}\nmax_leases 10\n\
             option lease {seconds}\noption subnet 255.255.255.0\n{options}\n",
            first + 9,
            leases.display(),
            house.path("udhcpd.pid").display()
        );
        std::fs::write(&conf, text).expect("write");
        let script = format!("exec busybox udhcpd -f -a 50 {} 2>{}", conf.display(), log.display());
        let process = wires.outside(&script).stdout(Stdio::null()).spawn().expect("a server");
        let server = Self { process, log };
        until("the server", || server.said("started") > 0);
        server
    }

    /// How often it has said this.
    fn said(&self, what: &str) -> usize {
        std::fs::read_to_string(&self.log).unwrap_or_default().matches(what).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(house: &House, name: &str, words: &[&str]) {
    let start = ["run", "-d", "--name", name];
    house.ok_elsewhere(start.iter().chain(words).chain(&["web"]));
}

/// Runs a shell script in a container; whether it succeeds, and what it says.
fn inside(house: &House, name: &str, script: &str) -> (bool, String) {
    let output = house.command_elsewhere(["exec", name, "/bin/sh", "-c", script]).output().expect("exec");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Whether the machine outside answers it.
fn reaches(house: &House, name: &str, options: &str) -> (bool, String) {
    let ask = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc {options} -w 2 192.0.2.2 80");
    let (_, said) = inside(house, name, &ask);
    (said.contains("HTTP/1"), said)
}

/// The first address that it is said to have.
fn address(house: &House, name: &str) -> Option<String> {
    let told = house.json_elsewhere(["inspect", name]);
    told["addresses"].as_array()?.first()?.as_str().map(str::to_owned)
}

/// The processes that ask for addresses for containers of a house: each has its container's directory open.
fn asking(house: &House) -> Vec<i32> {
    let is_of = |pid: i32| {
        let is_it =
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "tsubo-dhcp\n");
        let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let within =
            |link: PathBuf| std::fs::read_link(link).is_ok_and(|to| to.starts_with(house.elsewhere()));
        is_it && open().any(|fd| within(fd.path()))
    };
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_of(*pid)).collect()
}

fn keeper(house: &House, name: &str) -> i64 {
    house.json_elsewhere(["inspect", name])["state"]["keeper"].as_i64().expect("its number")
}

/// The elements of the bridges' table that name an address.
fn locks(of: &str) -> usize {
    here("nft list set bridge tsubo port4").1.matches(of).count()
}

fn links() -> String {
    ip("-o link show")
}

#[test]
fn an_address_is_given_shown_and_found_again() {
    let Some((house, wires)) = house("macvlan") else { return };
    let options = "option router 192.0.2.2\noption dns 192.0.2.53\noption domain lan.example\noption mtu 1400\n\
                   option staticroutes 198.51.100.0/24 192.0.2.9, 0.0.0.0/0 192.0.2.2";
    let server = Server::new(&house, &wires, 100, 3600, options);
    run(&house, "one", &["--network", "lan:dhcp"]);
    let own = address(&house, "one").expect("an address");
    assert!(own.starts_with("192.0.2.10"), "{own}");
    let given = &house.json_elsewhere(["inspect", "one"])["given"][0];
    assert_eq!((&given["gateway"], &given["servers"]), (&json!("192.0.2.2"), &json!(["192.0.2.53"])));
    let rows = house.json_elsewhere(["ps", "--format", "json"]);
    assert_eq!(rows[0]["addresses"], json!([own]));
    let members = house.json_elsewhere(["network", "inspect", "lan"])["containers"].clone();
    assert_eq!(members[0]["addresses"], json!([own]));
    let (_, said) = inside(&house, "one", "ip addr show eth0; ip route; cat /etc/resolv.conf");
    for part in [
        format!("inet {own}/24"),
        "mtu 1400".to_owned(),
        "default via 192.0.2.2".to_owned(),
        "198.51.100.0/24 via 192.0.2.9".to_owned(),
        "nameserver 192.0.2.53".to_owned(),
        "search lan.example".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(said.contains("dynamic eth0\n       valid_lft 36"), "it ends by itself: {said}");
    let (reached, said) = reaches(&house, "one", "");
    assert!(reached, "{said}");
    assert_eq!(asking(&house).len(), 1);
    let offers = server.said("OFFER");
    house.ok_elsewhere(["stop", "one"]);
    assert_eq!(asking(&house), [0; 0], "it ends with the container");
    assert_eq!(address(&house, "one"), None);
    house.ok_elsewhere(["start", "one"]);
    assert_eq!(address(&house, "one").as_deref(), Some(own.as_str()));
    assert_eq!(server.said("OFFER"), offers, "it asked for the one of before");
    house.ok_elsewhere(["rm", "-f", "one"]);
    assert_eq!(asking(&house), [0; 0]);
}

#[test]
fn what_is_said_by_hand_is_stronger() {
    let Some((house, wires)) = house("macvlan") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "option dns 192.0.2.53\noption mtu 1400");
    run(&house, "one", &["--network", "lan:dhcp,mtu=1300", "--dns", "192.0.2.99"]);
    let (_, said) = inside(&house, "one", "ip link show eth0; cat /etc/resolv.conf");
    assert!(said.contains("mtu 1300") && said.contains("nameserver 192.0.2.99"), "{said}");
    assert!(!said.contains("192.0.2.53"), "{said}");
}

#[test]
fn a_lease_is_made_longer_ends_without_its_server_and_is_had_again() {
    let Some((house, wires)) = house("macvlan") else { return };
    let server = Server::new(&house, &wires, 100, 4, "option dns 192.0.2.53");
    run(&house, "one", &["--network", "lan:dhcp"]);
    let own = address(&house, "one").expect("an address");
    until_within(60, "three leases", || server.said("sending ACK") >= 4);
    let has = |what: &str| inside(&house, "one", "ip -4 addr show eth0").1.contains(what);
    assert!(has(&own) && address(&house, "one").as_deref() == Some(own.as_str()));
    drop(server);
    until_within(60, "its end", || !has("inet "));
    until("what is said of it", || address(&house, "one").is_none());
    // Another one, which gives others.
    let _server = Server::new(&house, &wires, 200, 4, "option dns 192.0.2.54\noption domain other.example");
    until_within(60, "a new address", || has("inet 192.0.2.2"));
    until("what is said of it", || {
        address(&house, "one").is_some_and(|address| address.starts_with("192.0.2.2"))
    });
    until("its files", || {
        let (_, conf) = inside(&house, "one", "cat /etc/resolv.conf");
        conf == "nameserver 192.0.2.54\nsearch other.example\n"
    });
}

#[test]
fn where_nobody_answers_nothing_is_made() {
    let Some((house, _wires)) = house("macvlan") else { return };
    let before = links();
    let said = house.fails_elsewhere(125, ["run", "-d", "--name", "one", "--network", "lan:dhcp", "web"]);
    assert!(said.contains("no DHCP server answered on network lan (eth0 over up0)"), "{said}");
    assert!(said.contains("ip=192.168.1.7/24"), "{said}");
    assert!(house.ok_elsewhere(["ps", "-a"]).lines().count() <= 1, "nothing was made");
    until("its process to end", || asking(&house).is_empty());
    assert_eq!(links(), before);
}

#[test]
fn nothing_stays_of_a_keeper_that_is_killed() {
    let Some((house, wires)) = house("macvlan") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "");
    run(&house, "one", &["--network", "lan:dhcp"]);
    let own = address(&house, "one").expect("an address");
    assert!(here(&format!("kill -9 {}", keeper(&house, "one"))).0);
    until("the end of who asks", || asking(&house).is_empty());
    house.ok_elsewhere(["gc"]);
    house.ok_elsewhere(["start", "one"]);
    assert_eq!(address(&house, "one").as_deref(), Some(own.as_str()));
    // Who asks may be killed as well: the kernel takes the address away when its time is over.
    let [asking] = asking(&house)[..] else { panic!("one who asks") };
    assert!(here(&format!("kill -9 {asking}")).0);
    house.ok_elsewhere(["rm", "-f", "one"]);
}

#[test]
fn a_port_of_a_bridge_speaks_for_what_it_was_given() {
    let Some((house, wires)) = house("bridge") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "option router 192.0.2.2");
    run(&house, "one", &["--network", "lan:dhcp", "--cap-add", "NET_ADMIN"]);
    let own = address(&house, "one").expect("an address");
    assert_eq!((locks(&own), locks("0.0.0.0")), (1, 1));
    let (reached, said) = reaches(&house, "one", "");
    assert!(reached, "{said}");
    assert!(inside(&house, "one", "ip addr add 192.0.2.66/24 dev eth0").0);
    let (reached, said) = reaches(&house, "one", "-s 192.0.2.66");
    assert!(!reached, "{said}");
    house.ok_elsewhere(["restart", "one"]);
    assert_eq!((address(&house, "one").as_deref(), locks(&own)), (Some(own.as_str()), 1));
    house.ok_elsewhere(["rm", "-f", "one"]);
    until("all is taken back", || locks(&own) + locks("0.0.0.0") == 0);
}

#[test]
fn a_port_of_a_bridge_speaks_for_what_it_has_by_now() {
    let Some((house, wires)) = house("bridge") else { return };
    let server = Server::new(&house, &wires, 100, 4, "");
    run(&house, "one", &["--network", "lan:dhcp"]);
    let own = address(&house, "one").expect("an address");
    drop(server);
    until_within(60, "its end", || locks(&own) == 0);
    let _server = Server::new(&house, &wires, 200, 4, "");
    until_within(60, "a new address", || address(&house, "one").is_some());
    let new = address(&house, "one").expect("an address");
    assert_ne!(new, own);
    assert_eq!(locks(&new), 1);
    let (reached, said) = reaches(&house, "one", "");
    assert!(reached, "{said}");
    // What somebody removes is made again for what it has by now.
    assert!(here("nft delete table bridge tsubo").0);
    run(&house, "two", &["--network", "lan:dhcp"]);
    assert_eq!((locks(&own), locks(&new)), (0, 1));
    house.ok_elsewhere(["rm", "-f", "two"]);
    house.ok_elsewhere(["rm", "-f", "one"]);
    until("all is taken back", || locks("192.0.2.") + locks("0.0.0.0") == 0);
}

#[test]
fn an_interface_that_is_moved_in_asks_too() {
    let Some((house, wires)) = house("") else { return };
    let server = Server::new(&house, &wires, 100, 3600, "option router 192.0.2.2\noption mtu 1400");
    ip("addr flush dev up0");
    run(&house, "one", &["--network", "interface:up0:dhcp"]);
    assert!(
        address(&house, "one").expect("an address").starts_with("192.0.2.10") && !links().contains("up0")
    );
    let (reached, said) = reaches(&house, "one", "");
    assert!(reached, "{said}");
    house.ok_elsewhere(["rm", "-f", "one"]);
    until("it is back", || links().contains("up0"));
    assert!(links().lines().any(|line| line.contains("up0") && line.contains("mtu 1500")));
    drop(server);
    let said = house.fails_elsewhere(125, ["run", "--network", "interface:up0:dhcp", "web"]);
    assert!(said.contains("no DHCP server answered on the interface up0"), "{said}");
    until("it is back", || links().contains("up0"));
}

#[test]
fn only_the_first_interface_leads_everywhere() {
    let Some((house, wires)) = house("macvlan") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "option router 192.0.2.2\noption dns 192.0.2.53");
    run(&house, "one", &["--network", "tsubo", "--network", "lan:dhcp"]);
    let (_, said) = inside(&house, "one", "ip route; cat /etc/resolv.conf");
    assert!(!said.contains("default via 192.0.2.2") && said.contains("192.0.2.0/24 dev eth1"), "{said}");
    assert!(!said.contains("192.0.2.53"), "its network knows its neighbours by name: {said}");
    let both = house.json_elsewhere(["inspect", "one"])["addresses"].clone();
    assert!(both.as_array().expect("addresses").len() >= 2, "{both}");
}

#[test]
fn it_is_started_again_with_its_address() {
    let Some((house, wires)) = house("macvlan") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "option dns 192.0.2.53");
    let words = ["--network", "lan:dhcp", "--restart", "always"];
    run(&house, "one", &words);
    let own = address(&house, "one").expect("an address");
    let first = || house.json_elsewhere(["inspect", "one"])["state"]["pid"].clone();
    let before = first();
    assert!(here(&format!("kill -9 {before}")).0);
    until_within(60, "its next life", || first() != before && first() != Value::Null);
    assert_eq!(address(&house, "one").as_deref(), Some(own.as_str()));
    let (_, conf) = inside(&house, "one", "cat /etc/resolv.conf");
    assert_eq!(conf, "nameserver 192.0.2.53\n");
    assert_eq!(asking(&house).len(), 1);
}

#[test]
fn many_share_one_mac_address_on_ipvlan() {
    let Some((house, wires)) = house("ipvlan") else { return };
    let _server = Server::new(&house, &wires, 100, 3600, "");
    let start = ["run", "-d", "--name", "one", "--network", "lan:dhcp", "web"];
    let output = house.command_elsewhere(start).output().expect("run");
    if String::from_utf8_lossy(&output.stderr).contains("this kernel has no ipvlan") {
        println!("SKIPPED: this kernel has no ipvlan");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    run(&house, "two", &["--network", "lan:dhcp"]);
    let (one, two) =
        (address(&house, "one").expect("an address"), address(&house, "two").expect("an address"));
    assert_ne!(one, two);
    let (reached, said) = reaches(&house, "two", "");
    assert!(reached, "{said}");
}

#[test]
fn nobody_is_asked_where_nobody_can_be() {
    let Some((house, _wires)) = house("macvlan") else { return };
    house.ok_elsewhere(["network", "create", "cell", "--isolated"]);
    for (words, parts) in [
        (["--network", "tsubo:dhcp"], ["there is no DHCP server on network tsubo", "leave dhcp out"]),
        (["--network", "cell:dhcp"], ["its kind is isolated", "macvlan"]),
        (["--network", "lan"], ["no addresses to give", "--network lan:dhcp"]),
    ] {
        let all = ["create", "--name", "x"].into_iter().chain(words).chain(["web"]);
        let said = house.fails_elsewhere(125, all);
        assert!(parts.iter().all(|part| said.contains(part)), "{words:?}: {said}");
    }
    assert!(house.ok_elsewhere(["plan", "--network", "lan:dhcp", "web"]).contains("addresses by DHCP"));
}
