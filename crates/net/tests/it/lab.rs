//! Networks that belong to a test alone: a host, containers, and the outside, each a network namespace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use spec::Id;
use spec::network::{
    Attachment, Kind, Mac, Network, Networking, Permit, Place, Plan, Protocol, Publish, Subnet, ZONES, plan,
};
use tsubo_net::Host;

/// Runs `test` on a thread that is in a network namespace of its own, with a loopback.
pub fn lab(test: impl FnOnce(&mut Lab) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        sys::namespace::unshare(sys::namespace::NET)
            .expect("a network namespace of the test's own: are we root?");
        sh("ip link set lo up");
        let mut lab = Lab { host: Host::open().expect("sockets"), running: Vec::new() };
        test(&mut lab);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What a test has.
pub struct Lab {
    pub host: Host,
    running: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lab {
    /// The outside: `up0` here with 192.0.2.1, `up1` there with 192.0.2.2 - which knows no way to containers.
    pub fn outside(&self) -> Space {
        let outside = Space::new();
        sh("ip link add up0 type veth peer name up1");
        sh(
            "ip addr add 192.0.2.1/24 dev up0; ip -6 addr add 2001:db8::1/64 dev up0 nodad; ip link set up0 up",
        );
        sh(&format!("ip link set up1 netns {}", outside.path()));
        outside.sh("ip addr add 192.0.2.2/24 dev up1; ip -6 addr add 2001:db8::2/64 dev up1 nodad; ip link set up1 up");
        sh("ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2");
        outside
    }

    /// Something that says `text` to whoever connects to a port; it runs until the test ends.
    pub fn serve(&mut self, space: Option<&Space>, listen: &str, port: u16, text: &str) {
        let family = if listen.contains(':') { "AF_INET6" } else { "AF_INET" };
        let script = format!(
            "import socket\ns=socket.socket(socket.{family})\ns.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
             s.bind(('{listen}',{port}))\ns.listen(64)\nprint('ready',flush=True)\n\
             while True:\n c,a=s.accept()\n c.sendall(('{text} '+a[0]).encode())\n c.close()\n"
        );
        self.spawn(space, &script);
    }

    /// A script of Python in the background, after its first line of output.
    pub fn spawn(&mut self, space: Option<&Space>, script: &str) {
        let mut command = within(space, &["python3", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().expect("output"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
        self.running.push(child);
        assert_eq!(line.trim(), "ready");
    }

    /// A container on a network: its namespace, wired.
    pub fn container(&self, network: &Network, last: u8, zone: u32) -> Container {
        self.container_with(network, last, zone, |_| {}, &[])
    }

    pub fn container_with(
        &self,
        network: &Network,
        last: u8,
        zone: u32,
        change: impl FnOnce(&mut Networking),
        permits: &[Permit],
    ) -> Container {
        let container = Container::planned(network, last, zone, change, permits);
        self.host.raise(network).expect("raise");
        self.host.attach(&container.plan, container.space.fd()).expect("attach");
        container
    }
}

/// A network namespace.
pub struct Space(File);

impl Space {
    pub fn new() -> Self {
        let thread = std::thread::spawn(|| {
            sys::namespace::unshare(sys::namespace::NET).expect("a namespace");
            File::open("/proc/thread-self/ns/net").expect("its file")
        });
        let space = Self(thread.join().expect("thread"));
        space.sh("ip link set lo up");
        space
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub fn sh(&self, script: &str) -> String {
        checked(script, &self.output(script))
    }

    pub fn output(&self, script: &str) -> Output {
        within(Some(self), &["sh", "-ec", script]).output().expect("sh")
    }

    pub fn ok(&self, script: &str) -> bool {
        self.output(script).status.success()
    }

    /// What a server at `address` says; what went wrong if there is none to be reached in two seconds.
    pub fn ask(&self, address: &str, port: u16) -> Result<String, String> {
        ask(Some(self), address, port)
    }

    /// Whether an answer to ICMP echo comes.
    pub fn pings(&self, address: &str) -> bool {
        self.ok(&format!("busybox ping -c1 -W1 {address} >/dev/null"))
    }
}

/// A container: no process, but all of its network.
pub struct Container {
    pub id: Id,
    pub space: Space,
    pub plan: Plan,
    pub v4: String,
    pub v6: String,
}

impl Container {
    pub fn planned(
        network: &Network,
        last: u8,
        zone: u32,
        change: impl FnOnce(&mut Networking),
        permits: &[Permit],
    ) -> Self {
        let id = Id::from_bytes([0xc0, network.id.bytes()[5], 0, 0, 0, last]);
        let mut addresses = Vec::new();
        for subnet in &network.subnets {
            let address: IpAddr = match subnet.net.network() {
                IpAddr::V4(net) => (u32::from(net) + u32::from(last)).to_be_bytes().into(),
                IpAddr::V6(net) => (u128::from(net) + u128::from(last)).to_be_bytes().into(),
            };
            addresses.push(ipnet::IpNet::new(address, subnet.net.prefix_len()).expect("address"));
        }
        let mut networking = Networking {
            attachments: vec![Attachment::Network {
                network: network.name.clone(),
                interface: "eth0".into(),
                addresses: addresses.clone(),
                mac: Mac::of(addresses[0].addr()),
                aliases: Vec::new(),
                dhcp: false,
                mtu: None,
            }],
            ..Networking::default()
        };
        change(&mut networking);
        let plan = plan(id, &networking, &[Place { network, zone }], permits);
        let of = |v4: bool| {
            let address = addresses.iter().find(|address| address.addr().is_ipv4() == v4);
            address.map(|address| address.addr().to_string()).unwrap_or_default()
        };
        Self { id, space: Space::new(), plan, v4: of(true), v6: of(false) }
    }

    pub fn link(&self) -> String {
        spec::network::link_name(self.id, 0)
    }
}

/// A network number `number`: 10.88.NUMBER.0/24 and fd88:NUMBER::/64, with two zones.
pub fn network(number: u8, kind: Kind) -> Network {
    let subnet = |net: String, gateway: String| Subnet {
        net: net.parse().expect("net"),
        gateway: gateway.parse().expect("gateway"),
        range: None,
    };
    Network {
        name: format!("net{number}").parse().expect("name"),
        id: Id::from_bytes([0, 0, 0, 0, 0, number]),
        kind,
        subnets: vec![
            subnet(format!("10.88.{number}.0/24"), format!("10.88.{number}.1")),
            subnet(format!("fd88:{number}::/64"), format!("fd88:{number}::1")),
        ],
        mtu: None,
        names: false,
        servers: Vec::new(),
        zones: BTreeMap::from([("".into(), zone(number, 1)), ("other".into(), zone(number, 2))]),
        created: 0,
    }
}

pub fn zone(network: u8, number: u32) -> u32 {
    ZONES | u32::from(network) << 8 | number
}

pub fn publish(host: u16, container: u16) -> Publish {
    Publish { address: None, host, container, protocol: Protocol::Tcp }
}

/// Runs a script on the host's side, where it is to succeed.
pub fn sh(script: &str) -> String {
    checked(script, &Command::new("sh").args(["-ec", script]).output().expect("sh"))
}

fn checked(script: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

pub fn ask(space: Option<&Space>, address: &str, port: u16) -> Result<String, String> {
    let script = format!(
        "import socket\ns=socket.create_connection(('{address}',{port}),2)\ns.settimeout(2)\n\
         print(s.recv(99).decode())"
    );
    let output = within(space, &["python3", "-c", &script]).output().expect("python");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
    }
}

fn within(space: Option<&Space>, words: &[&str]) -> Command {
    match space {
        None => {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        }
        Some(space) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", space.path())).args(words);
            command
        }
    }
}

/// Feeds a script of nft.
pub fn nft(script: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    child.stdin.take().expect("input").write_all(script.as_bytes()).expect("write");
    assert!(child.wait().expect("nft").success(), "{script}");
}

/// Waits until it is so.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
