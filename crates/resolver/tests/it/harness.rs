//! A namespace with a network of containers, the host, and servers elsewhere: all of them addresses of one loopback.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

pub const GATEWAY: &str = "10.99.0.1";
pub const GATEWAY6: &str = "fd99::1";
/// A container.
pub const WEB: &str = "10.99.0.5";
pub const WEB6: &str = "fd99::5";
/// Another.
pub const OTHER: &str = "10.99.0.6";
/// Servers elsewhere.
pub const FIRST: &str = "192.0.2.1";
pub const SECOND: &str = "192.0.2.2";
/// Somebody who is no container.
pub const STRANGER: &str = "192.0.2.99";

const INSIDE: &str = "TSUBO_TEST_INSIDE";
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tsubo-resolver");

/// Runs `body` in namespaces of its own: the test runs itself again there, and everything ends with it.
pub fn alone(test: &str, body: impl FnOnce(&Net)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&Net::new());
    }
    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED: {test} takes root");
    }
    let own = std::env::current_exe().expect("the test program");
    let apart = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = Command::new("unshare");
    command.args(apart).arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = command.env("TSUBO_RESOLVER", PROGRAM).output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the name of the test is not {test}: {text}");
}

/// The namespace.
pub struct Net {
    dir: tempfile::TempDir,
}

impl Net {
    fn new() -> Self {
        let net = Self { dir: tempfile::tempdir().expect("a directory") };
        run("ip", &["link", "set", "lo", "up"]);
        for address in
            ["10.99.0.1/24", "10.99.0.5/32", "10.99.0.6/32", "192.0.2.1/24", "192.0.2.2/32", "192.0.2.99/32"]
        {
            run("ip", &["address", "add", address, "dev", "lo"]);
        }
        for address in ["fd99::1/64", "fd99::5/64"] {
            run("ip", &["address", "add", address, "dev", "lo", "nodad"]);
        }
        six_works();
        std::fs::create_dir_all(net.leases()).expect("a directory");
        std::fs::create_dir(net.dir.path().join("etc")).expect("a directory");
        // Nobody has to find its way here.
        for dir in [net.dir.path().to_owned(), net.run(), net.leases()] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(dir, mode).expect("a mode");
        }
        net.host_asks(&[]);
        let etc = net.dir.path().join("etc");
        run("mount", &["--bind", etc.to_str().expect("a path"), "/etc"]);
        net
    }

    /// What tsubo has for the network while it runs.
    pub fn run(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    pub fn leases(&self) -> PathBuf {
        self.run().join("leases")
    }

    /// The host's resolv.conf, put in the place of the one before.
    pub fn host_asks(&self, servers: &[&str]) {
        let lines: Vec<String> = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        let new = self.dir.path().join("etc/new");
        std::fs::write(&new, lines.concat()).expect("a file");
        std::fs::rename(new, self.dir.path().join("etc/resolv.conf")).expect("renamed");
    }

    pub fn lease(&self, address: &str, name: &str, aliases: &[&str]) {
        self.write(address, &json!({"id": "0123456789ab", "name": name, "aliases": aliases}).to_string());
    }

    /// As tsubo does: written elsewhere, then linked to its place.
    pub fn write(&self, address: &str, text: &str) {
        let (new, place) = (self.run().join(".new"), self.leases().join(address));
        std::fs::write(&new, text).expect("a file");
        let _ = std::fs::remove_file(&place);
        std::fs::hard_link(&new, place).expect("linked");
        std::fs::remove_file(new).expect("removed");
    }

    pub fn network(&self, kind: &str) -> spec::network::Network {
        serde_json::from_value(json!({
            "name": "shop", "id": "0123456789ab", "kind": {"kind": kind}, "names": true, "created": 0,
            "subnets": [{"net": "10.99.0.0/24", "gateway": GATEWAY}, {"net": "fd99::/64", "gateway": GATEWAY6}],
        }))
        .expect("a network")
    }

    /// Starts it as a child, and waits until it answers.
    pub fn start(&self, kind: &str) -> Resolver {
        let record = self.run().join("network.json");
        let text = serde_json::to_vec(&self.network(kind)).expect("JSON");
        std::fs::write(&record, text).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.arg(record).arg(self.leases()).args([GATEWAY, GATEWAY6]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut said = String::new();
        let output = child.stdout.take().expect("an output");
        std::io::Read::read_to_string(&mut { output }, &mut said).expect("an answer");
        assert_eq!(said, "+");
        Resolver(child)
    }
}

/// The program; it ends with this.
pub struct Resolver(pub Child);

impl Resolver {
    pub fn status(&self, field: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a status");
        let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Kilobytes that are its own.
    pub fn memory(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id())).expect("smaps");
        let line = text.lines().find(|line| line.starts_with("Pss_Anon:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel loses what is sent in the first moments of an address.
fn six_works() {
    let one = UdpSocket::bind(SocketAddr::new(ip(GATEWAY6), 0)).expect("a socket");
    let other = UdpSocket::bind(SocketAddr::new(ip(WEB6), 0)).expect("a socket");
    one.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
    soon("IPv6", || {
        let _ = other.send_to(b"?", one.local_addr().expect("an address"));
        one.recv(&mut [0; 1]).is_ok()
    });
}

pub fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status().expect("started");
    assert!(status.success(), "{program} {words:?}");
}

/// A server elsewhere. It ends with the namespace.
pub struct Server {
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// One that answers a query over UDP with these messages.
    pub fn start(
        address: &str,
        answer: impl Fn(&Packet<'_>, SocketAddr) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(ip(address), 53)).expect("a socket");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(query) = Packet::parse(&room[..length]) else { continue };
                for message in answer(&query, from) {
                    socket.send_to(&message, from).expect("sent");
                }
            }
        });
        Self { asked }
    }

    /// One that answers everything with this address.
    pub fn plain(address: &str, with: &'static str) -> Self {
        Self::start(address, move |query, _| vec![addresses(query, &[with])])
    }

    /// One that says nothing.
    pub fn silent(address: &str) -> Self {
        Self::start(address, |_, _| Vec::new())
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The answer to a query with these addresses.
pub fn addresses(query: &Packet<'_>, all: &[&str]) -> Vec<u8> {
    let mut answer = Packet::new_reply(query.id());
    answer.set_flags(PacketFlag::RECURSION_AVAILABLE);
    answer.questions.clone_from(&query.questions);
    for one in all {
        let IpAddr::V4(one) = ip(one) else { continue };
        let data = RData::A(A { address: one.into() });
        answer.answers.push(ResourceRecord::new(query.questions[0].qname.clone(), CLASS::IN, 60, data));
    }
    answer.build_bytes_vec_compressed().expect("an answer")
}

/// The answer without any, but a reason.
pub fn refusal(query: &Packet<'_>, code: RCODE) -> Vec<u8> {
    let mut answer = Packet::new_reply(query.id());
    answer.questions.clone_from(&query.questions);
    *answer.rcode_mut() = code;
    answer.build_bytes_vec().expect("an answer")
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Looks again and again, for a while.
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not yet: {what}");
}
