//! Networks that others make: plugins of CNI by the name of a configuration, podman's networks by netavark; what they do,
//! and that nothing of it stays.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::busybox::{file, installed};
use crate::support::wires::{HOST, OUTSIDE, Wires, asks, here, ip};
use crate::support::{House, fail, succeed, until};

/// Serves its own name on port 80.
const SERVES: &str = "hostname > /tmp/name; exec httpd -f -p 80 -h /tmp";

/// Where Debian has the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// A house on a host of its own, with an image `web` that serves its name, and configurations of its own.
struct Ground {
    house: House,
    _wires: Wires,
}

impl Ground {
    fn new(needs: &[&str]) -> Option<Self> {
        if let Some(missing) = needs.iter().find(|need| !Path::new(need).exists()) {
            println!("SKIPPED: {missing} is not there");
            return None;
        }
        let change = json!({"command": ["/bin/sh", "-c", SERVES], "writable": ["/tmp"]});
        let files = |tar| {
            let tar = ["httpd", "hostname", "ip", "ping", "nslookup"]
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
        let house = installed(files, change)?;
        for dir in ["net.d", "leases", "bin", "networks", "run"] {
            std::fs::create_dir(house.path(dir)).expect("a directory");
        }
        Some(Self { house, _wires: wires })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.house.path(name)
    }

    /// Of the test's own, with what of others' it finds where.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.house.command_elsewhere(words);
        command.env("CNI_CONFIG_DIR", self.at("net.d"));
        command.env("CNI_PATH", format!("{}:{PLUGINS}", self.at("bin").display()));
        command.env("TSUBO_NETAVARK_NETWORKS", self.at("networks")).env("TSUBO_NETAVARK_RUN", self.at("run"));
        command
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        succeed(self.command(words))
    }

    #[track_caller]
    fn fails(&self, words: &[&str]) -> String {
        fail(self.command(words), 125)
    }

    #[track_caller]
    fn run(&self, name: &str, words: &[&str]) {
        self.ok(&[&["run", "-d", "--name", name], words, &["web"]].concat());
    }

    fn configured(&self, file: &str, configuration: &Value) {
        std::fs::write(self.at("net.d").join(file), configuration.to_string()).expect("a configuration");
    }

    /// A bridge with addresses, and what publishes ports.
    fn bridge(&self, more: Value) {
        let ipam = json!({"type": "host-local", "dataDir": self.at("leases"), "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.71.0.0/24"}]]});
        let bridge = json!({"type": "bridge", "bridge": "cnitest0", "isGateway": true, "ipMasq": true, "ipam": ipam,
            "dns": {"nameservers": ["10.71.0.1"]}, "capabilities": {"mac": true}});
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        let plugins: Vec<Value> =
            [vec![bridge, portmap], more.as_array().cloned().unwrap_or_default()].concat();
        self.configured(
            "10-lan.conflist",
            &json!({"cniVersion": "1.0.0", "name": "lan", "plugins": plugins}),
        );
    }

    /// A plugin that is a shell script.
    fn plugin(&self, name: &str, script: &str) {
        let path = self.at("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a plugin");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// Runs a shell script in a container; it must succeed.
    #[track_caller]
    fn inside(&self, name: &str, script: &str) -> String {
        self.ok(&["exec", name, "/bin/sh", "-c", script])
    }

    fn inspected(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", name])).expect("JSON")
    }

    fn address(&self, name: &str) -> String {
        let address = self.inspected(name)["given"][0]["addresses"][0].clone();
        address.as_str().and_then(|text| text.split('/').next()).expect("an address").to_owned()
    }

    /// The number of its keeper.
    fn keeper(&self, name: &str) -> i64 {
        let id = self.inspected(name)["id"].as_str().expect("id").to_owned();
        let state = self.house.elsewhere().join("run/containers").join(id).join("state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(state).expect("state")).expect("JSON");
        state["keeper"]["pid"].as_i64().expect("its number")
    }

    /// Kills its keeper, which can do nothing more.
    fn kill(&self, name: &str) {
        let keeper = self.keeper(name);
        assert!(here(&format!("kill -9 {keeper}")).0);
        until("its end", || !here(&format!("kill -0 {keeper}")).0);
    }

    /// What others have left: addresses of host-local, links, rules, and our notes about them.
    fn traces(&self) -> Vec<String> {
        let files = |dir: PathBuf| {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let mut traces = files(self.at("leases").join("lan"));
        // What it keeps to go on from, and to be alone.
        traces.retain(|name| !name.starts_with("last_reserved_ip") && name != "lock");
        traces.extend(files(self.house.elsewhere().join("foreign")));
        traces.extend(ip("-o link show").lines().filter(|line| line.contains("veth")).map(str::to_owned));
        let (_, rules) = here("iptables-save -t nat 2>/dev/null; iptables-save -t filter 2>/dev/null");
        let of_one =
            |line: &&str| line.contains("CNI-") && line.contains("10.71.0.") || line.contains("--dport 80");
        traces.extend(rules.lines().filter(of_one).map(str::to_owned));
        traces
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mut command = self.command(&["ps", "-a", "--format", "json"]);
        let rows = command.output().map(|output| output.stdout).unwrap_or_default();
        let rows: Value = serde_json::from_slice(&rows).unwrap_or_default();
        for row in rows.as_array().into_iter().flatten() {
            let _ = self.command(&["rm", "-f", row["name"].as_str().unwrap_or_default()]).output();
        }
        // Podman's resolver stays as long as its file does.
        if let Ok(pid) = std::fs::read_to_string(self.at("run").join("aardvark-dns/aardvark.pid")) {
            if let Some(pid) = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn ground() -> Option<Ground> {
    Ground::new(&[
        "/usr/lib/cni/bridge",
        "/usr/lib/cni/host-local",
        "/usr/lib/cni/portmap",
        "/usr/sbin/iptables",
    ])
}

#[test]
fn a_bridge_with_addresses_and_published_ports_and_nothing_of_it_stays() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([]));
    ground.run("web1", &["--network", "cni:lan", "-p", "8080:80"]);
    let address = ground.address("web1");
    assert!(address.starts_with("10.71.0."), "{address}");
    let link = ground.inside("web1", "ip address show eth0");
    assert!(link.contains(&format!("{address}/24")), "{link}");
    let outside = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {} 80", OUTSIDE[0]);
    until("an answer from the outside", || ground.inside("web1", &outside).starts_with("HTTP/1"));
    assert!(ground.inside("web1", "cat /etc/resolv.conf").contains("nameserver 10.71.0.1"));
    assert!(ground.inside("web1", "cat /etc/hosts").contains(&format!("{address}\tweb1")));
    until("an answer", || asks(&address, 80).as_deref() == Some("web1"));
    until("an answer on the host's port", || asks(HOST[0], 8080).as_deref() == Some("web1"));
    let rows: Value = serde_json::from_str(&ground.ok(&["ps", "--format", "json"])).expect("JSON");
    assert_eq!(rows[0]["addresses"][0], json!(address));
    assert!(ground.ok(&["port", "web1"]).contains("8080"));
    ground.ok(&["stop", "-t", "1", "web1"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
    ground.ok(&["start", "web1"]);
    until("an answer again", || asks(HOST[0], 8080).as_deref() == Some("web1"));
    ground.ok(&["rm", "-f", "web1"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
    // Begun again by its keeper, which is the small program by then.
    ground.run("web2", &["--network", "cni:lan", "-p", "8080:80", "--restart", "always"]);
    let pid = || ground.inspected("web2")["state"]["pid"].as_i64();
    let first = pid().expect("it runs");
    let keeper = ground.keeper("web2");
    let line = || std::fs::read(format!("/proc/{keeper}/cmdline")).unwrap_or_default();
    until("the small keeper", || line().starts_with(b"tsubo-keeper\0rest\0"));
    assert!(here(&format!("kill -9 {first}")).0);
    until("another life", || pid().is_some_and(|pid| pid != first));
    until("an answer again", || asks(HOST[0], 8080).as_deref() == Some("web2"));
    ground.ok(&["rm", "-f", "web2"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
}

#[test]
fn what_is_left_of_a_keeper_that_is_killed_is_taken_back() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([]));
    for by in ["gc", "ps", "start"] {
        ground.run("web1", &["--network", "cni:lan", "-p", "8080:80"]);
        ground.kill("web1");
        match by {
            "start" => ground.ok(&["start", "web1"]),
            "ps" => ground.ok(&["ps", "-a"]),
            _ => ground.ok(&["gc"]),
        };
        if by == "start" {
            until("an answer again", || asks(HOST[0], 8080).as_deref() == Some("web1"));
            ground.ok(&["stop", "-t", "1", "web1"]);
        }
        assert_eq!(ground.traces(), Vec::<String>::new(), "{by}");
        ground.ok(&["rm", "-f", "web1"]);
    }
}

/// The processes whose input is one of our files: plugins that run.
fn plugins(ground: &Ground) -> Vec<String> {
    let notes = ground.house.elsewhere().join("foreign");
    let look = "for p in /proc/[0-9]*; do readlink $p/fd/0 2>/dev/null | grep -q NOTES && basename $p; done";
    let (_, pids) = here(&look.replace("NOTES", &notes.display().to_string()));
    pids.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_keeper_that_is_killed_in_the_middle_leaves_what_gc_takes_back() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([{"type": "slow"}]));
    let (mark, go) = (ground.at("began"), ground.at("go"));
    let bridge = format!("exec {PLUGINS}/bridge");
    // On a busy machine it takes long to find it: until then it stays.
    let stays =
        format!("n=0; until test -e {} || test $n = 100; do n=$((n + 1)); sleep 0.1; done", go.display());
    let wait = format!("touch {}; {stays}; sleep 1", mark.display());
    let plain = "input=$(cat); test $CNI_COMMAND = DEL || echo '{}'";
    let last = format!("input=$(cat); test $CNI_COMMAND = DEL || {{ {wait}; echo '{{}}'; }}");
    for (when, first, last) in [
        ("before anything is done", format!("test $CNI_COMMAND = DEL || {{ {wait}; }}; {bridge}"), plain),
        (
            "when nobody has heard what was done",
            format!("test $CNI_COMMAND = DEL && {bridge}; out=$({PLUGINS}/bridge); {wait}; echo \"$out\""),
            plain,
        ),
        ("before the last step", bridge.clone(), last.as_str()),
    ] {
        ground.plugin("bridge", &first);
        ground.plugin("slow", last);
        let words = ["run", "-d", "--name", "web1", "--network", "cni:lan", "-p", "8080:80", "web"];
        let mut starting = ground.command(&words).spawn().expect("tsubo");
        until("the plugin", || mark.exists());
        let running = plugins(&ground);
        let parents = running.iter().map(|plugin| here(&format!("cut -d' ' -f4 /proc/{plugin}/stat")).1);
        let keeper = parents.map(|parent| parent.trim().to_owned()).find(|parent| !running.contains(parent));
        let keeper = keeper.expect("the keeper");
        assert!(here(&format!("kill -9 {keeper}")).0, "{when}");
        std::fs::write(&go, "").expect("the word to go on");
        until("its end", || !here(&format!("kill -0 {keeper}")).0);
        starting.wait().expect("wait");
        ground.ok(&["gc"]);
        assert_eq!(ground.traces(), Vec::<String>::new(), "{when}");
        assert_eq!(plugins(&ground), Vec::<String>::new(), "{when}: they were waited for");
        let _ = ground.command(&["rm", "-f", "web1"]).output();
        std::fs::remove_file(&mark).and_then(|()| std::fs::remove_file(&go)).expect("the marks");
    }
}

#[test]
fn an_address_and_a_name_by_hand_and_two_interfaces() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([{"type": "bandwidth", "capabilities": {"bandwidth": true}}]));
    let ptp = json!({"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.72.0.0/24", "dataDir": ground.at("leases")}});
    let bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    ground.configured(
        "20-p2p.conflist",
        &json!({"cniVersion": "0.4.0", "name": "p2p", "plugins": [ptp, bandwidth]}),
    );
    let networks =
        ["--network", "cni:lan:ip=10.71.0.77,mac=02:00:00:00:00:77,name=lan0", "--network", "cni:p2p"];
    ground.run("web1", &[&networks[..], &["--ingress", "1M"]].concat());
    let link = ground.inside("web1", "ip address show lan0");
    assert!(link.contains("10.71.0.77/24") && link.contains("02:00:00:00:00:77"), "{link}");
    assert!(ground.inside("web1", "ip address show eth0").contains("10.72.0."));
    let shaped = here("tc qdisc show").1;
    assert!(shaped.contains("tbf"), "{shaped}");
    let error = ground.fails(&["run", "--rm", "--network", "cni:lan:ip=10.71.0.77", "web"]);
    assert!(error.contains("ADD by the plugin bridge") && error.contains("10.71.0.77"), "{error}");
    ground.ok(&["rm", "-f", "web1"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
    assert!(!ip("-o link show").contains("bwp"), "devices of the plugin bandwidth");
}

#[test]
fn many_at_once_have_addresses_of_their_own() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([]));
    let start = |number: usize| {
        let name = format!("web{number}");
        let network = if number == 0 { "cni:lan:ip=10.71.0.200" } else { "cni:lan" };
        ground
            .command(&["run", "-d", "--name", &name, "--network", network, "-p", "80", "web"])
            .spawn()
            .expect("run")
    };
    for mut child in (0..6).map(start).collect::<Vec<_>>() {
        assert!(child.wait().expect("wait").success());
    }
    let mut addresses: Vec<String> = (0..6).map(|number| ground.address(&format!("web{number}"))).collect();
    assert_eq!(addresses[0], "10.71.0.200");
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 6);
    let end = |number: usize| ground.command(&["rm", "-f", &format!("web{number}")]).spawn().expect("rm");
    for mut child in (0..6).map(end).collect::<Vec<_>>() {
        assert!(child.wait().expect("wait").success());
    }
    assert_eq!(ground.traces(), Vec::<String>::new());
}

#[test]
fn beside_a_network_of_ours() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([]));
    ground.run("web1", &["--network", "tsubo", "--network", "cni:lan", "-p", "8080:80"]);
    let links = ground.inside("web1", "ip -o address show");
    assert!(links.contains("eth1") && links.contains("10.71.0."), "{links}");
    until("an answer, by ours", || asks(HOST[0], 8080).as_deref() == Some("web1"));
    let routes = ground.inside("web1", "ip route show default");
    assert!(routes.contains("eth0"), "{routes}");
    ground.ok(&["rm", "-f", "web1"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([]));
    ground.configured("30-bare.conf", &json!({"cniVersion": "1.0.0", "name": "bare", "type": "ptp"}));
    ground.configured("40-lost.conf", &json!({"cniVersion": "1.0.0", "name": "lost", "type": "nowhere"}));
    for (words, parts) in [
        (&["--network", "cni:wan"][..], &["called wan", "bare, lan, lost"][..]),
        (&["--network", "cni:lost"], &["the plugin nowhere", "CNI_PATH"]),
        (&["--network", "cni:bare", "-p", "80"], &["published ports", "portMappings"]),
        (&["--network", "cni:lan", "--closed"], &["--closed"]),
        (&["--network", "cni:lan", "--allow", "host"], &["--allow"]),
        (&["--network", "cni:lan", "--egress", "1M"], &["rates", "bandwidth"]),
        (&["--network", "netavark:wan"], &["podman has no network wan"]),
        (&["--network", "netavark:podman", "--closed"], &["--closed"]),
    ] {
        let error = ground.fails(&[&["run", "--rm"], words, &["web"]].concat());
        assert!(parts.iter().all(|part| error.contains(part)), "{words:?}: {error}");
    }
    assert_eq!(ground.traces(), Vec::<String>::new());
    assert!(!ip("-o link show").contains("cnitest0"));
}

#[test]
fn a_plugin_that_fails_says_so_and_the_first_one_is_taken_back() {
    let Some(ground) = ground() else { return };
    ground.bridge(json!([{"type": "second"}]));
    for (script, parts) in [
        (
            "test $CNI_COMMAND = DEL || { echo '{\"code\":11,\"msg\":\"no room\"}'; exit 1; }",
            &["plugin second", "error 11: no room"][..],
        ),
        ("test $CNI_COMMAND = DEL || echo nonsense", &["no result", "nonsense"]),
        ("test $CNI_COMMAND = DEL || kill -9 $$", &["plugin second", "signal: 9"]),
    ] {
        ground.plugin("second", script);
        let error = ground.fails(&["run", "--rm", "--network", "cni:lan", "-p", "8080:80", "web"]);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(ground.traces(), Vec::<String>::new(), "{script}");
    }
    // One that makes nothing is not believed; one that cannot even begin is not noted for ever.
    let told = r#"{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.71.0.9/24\"}]}"#;
    ground.plugin("pretends", &format!("test $CNI_COMMAND = DEL || echo \"{told}\""));
    ground.configured("50-odd.conf", &json!({"cniVersion": "1.0.0", "name": "odd", "type": "pretends"}));
    let error = ground.fails(&["run", "--rm", "--network", "cni:odd", "web"]);
    assert!(error.contains("plugin pretends") && error.contains("no such interface"), "{error}");
    assert_eq!(ground.traces(), Vec::<String>::new());
    let unusable = json!({"type": "host-local", "subnet": "10.71.0.300/24"});
    ground.configured(
        "50-odd.conf",
        &json!({"cniVersion": "1.0.0", "name": "odd", "type": "ptp", "ipam": unusable}),
    );
    let error = ground.fails(&["run", "--rm", "--network", "cni:odd", "web"]);
    assert!(error.contains("invalid CIDR") && !error.contains("tsubo gc"), "{error}");
    assert_eq!(ground.traces(), Vec::<String>::new());
    // One that does not even take back what it did stays noted, and is tried again.
    ground.plugin("second", "echo '{\"msg\":\"broken\"}'; exit 1");
    let error = ground.fails(&["run", "--rm", "--network", "cni:lan", "web"]);
    assert!(error.contains("broken") && error.contains("tsubo gc"), "{error}");
    ground.fails(&["run", "--rm", "--network", "cni:lan", "web"]);
    let error = ground.fails(&["gc"]);
    assert_eq!(error.matches("DEL by the plugin second").count(), 2, "each that is stuck: {error}");
    ground.plugin("second", "exit 0");
    assert_eq!(ground.ok(&["gc"]).matches("made by others").count(), 2);
    assert_eq!(ground.traces(), Vec::<String>::new());
}

#[test]
fn a_network_of_podmans_with_a_port() {
    let needs = ["/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns", "/usr/sbin/iptables"];
    let Some(ground) = Ground::new(&needs) else { return };
    let network = json!({"name": "pods", "id": "ab".repeat(32), "driver": "bridge", "network_interface": "podtest0",
        "subnets": [{"subnet": "10.73.0.0/24", "gateway": "10.73.0.1"}], "ipv6_enabled": false, "internal": false,
        "dns_enabled": true, "ipam_options": {"driver": "host-local"}});
    std::fs::write(ground.at("networks").join("pods.json"), network.to_string()).expect("a network");
    ground.run("web1", &["--network", "netavark:pods:alias=shop", "-p", "8080:80"]);
    ground.run("web2", &["--network", "netavark:pods"]);
    let (one, two) = (ground.address("web1"), ground.address("web2"));
    assert_eq!((one.as_str(), two.as_str()), ("10.73.0.254", "10.73.0.253"));
    until("an answer", || asks(&one, 80).as_deref() == Some("web1"));
    until("an answer on the host's port", || asks(HOST[0], 8080).as_deref() == Some("web1"));
    assert!(ground.inside("web2", "cat /etc/resolv.conf").contains("nameserver 10.73.0.1"));
    until("its alias", || ground.inside("web2", "nslookup shop; true").contains(&one));
    let taken = ground.fails(&["run", "--rm", "--network", &format!("netavark:pods:ip={one}"), "web"]);
    assert!(taken.contains("somebody else's"), "{taken}");
    ground.ok(&["stop", "-t", "1", "web2"]);
    ground.kill("web1");
    ground.ok(&["gc"]);
    assert_eq!(ground.traces(), Vec::<String>::new());
    let (_, rules) = here("iptables-save");
    assert!(!rules.contains(&one) && !rules.contains("8080"), "{rules}");
    let listed = std::fs::read_to_string(ground.at("run").join("aardvark-dns/pods")).unwrap_or_default();
    assert!(!listed.contains(&one), "{listed}");
    assert!(!ip("-o link show").contains("podtest0"), "its bridge goes with the last");
}
