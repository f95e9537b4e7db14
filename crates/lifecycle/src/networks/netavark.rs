//! Interfaces on podman's networks: `netavark` makes them, as it does for podman.
//!
//! It leaves to its caller which address a container gets, and podman's own choice is written where only podman reads it.
//! So an address is taken from the other end of the range than podman's, that no container of ours has, none that runs with
//! names on this network, and nobody on its bridge answers to.

mod addresses;
mod firewall;
mod network;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spec::network::{Asked, Mac, Networking, Publish, Rate};
use spec::{Error, Id, Name, Result, ResultExt};

use super::foreign::{Call, Files, LIMIT, Said, absolute, found};
use super::{Given, Networks};
use crate::lock::FileLock;
use network::Known;

/// Where podman looks for its helpers.
const PROGRAMS: [&str; 4] =
    ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];

/// Where podman has netavark keep what the resolver of its networks knows.
const RUN: &str = "/run/containers/networks";

/// So long is waited for podman, which holds its lock while it does the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many addresses are asked for at most whether somebody answers: it takes a while for each.
const PROBES: usize = 64;

/// One interface, as it is made and taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setup {
    known: Known,
    interface: String,
    addresses: Vec<IpAddr>,
    mac: Option<Mac>,
    aliases: Vec<String>,
    ports: Vec<Publish>,
    servers: Vec<IpAddr>,
    program: PathBuf,
    run: PathBuf,
    /// As it was made it is taken back.
    #[serde(default)]
    firewall: Option<String>,
    /// It is there, with all that belongs to it.
    whole: bool,
    /// Why it could not be made.
    #[serde(default)]
    refusal: Option<String>,
    /// Nothing is left of it, or nothing was ever made.
    #[serde(default)]
    gone: bool,
}

/// What a container asks of one of its interfaces.
pub(super) struct Wanted<'a> {
    /// The network.
    pub(super) name: &'a str,
    pub(super) interface: &'a str,
    pub(super) asked: &'a Asked,
    pub(super) networking: &'a Networking,
    /// The ports that this one publishes.
    pub(super) ports: &'a [Publish],
}

/// Where networks and programs are that are not at their usual places.
///
/// # Errors
/// For one that is not absolute.
pub(crate) fn by_environment(asked: Asked) -> Result<Asked> {
    let dir = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(|dir| absolute(name, dir.into())).transpose()
    };
    Ok(Asked {
        configurations: dir("TSUBO_NETAVARK_NETWORKS")?,
        programs: dir("TSUBO_NETAVARK_PROGRAMS")?.into_iter().collect(),
        run: dir("TSUBO_NETAVARK_RUN")?,
        firewall: std::env::var(firewall::VARIABLE).ok().filter(|driver| !driver.is_empty()),
        ..asked
    })
}

impl Setup {
    /// What would be made, but for addresses that nobody has said.
    ///
    /// # Errors
    /// Not found for a network that is not there, or without netavark; unsupported for what it cannot do.
    pub(super) fn of(networks: &Networks, wanted: &Wanted<'_>) -> Result<Self> {
        let Wanted { name, interface, asked, networking, ports } = *wanted;
        let known = Known::find(asked.configurations.as_deref(), name)?;
        known.must_fit(ports)?;
        if networking.rate != Rate::default() {
            return Err(Error::unsupported("rates cannot be limited where netavark makes the network")
                .hint("use a network of ours: --network tsubo"));
        }
        known.must_be_apart(&networks.list()?)?;
        for address in &asked.addresses {
            known.must_have(address.addr())?;
        }
        let dirs = match &asked.programs[..] {
            [] => PROGRAMS.iter().map(PathBuf::from).collect(),
            given => given.to_vec(),
        };
        let hint = "install it (the package netavark); or use a network of ours: --network tsubo";
        Ok(Self {
            known,
            interface: interface.to_owned(),
            addresses: asked.addresses.iter().map(IpNet::addr).collect(),
            mac: asked.mac,
            aliases: asked.aliases.clone(),
            ports: ports.to_vec(),
            servers: networking.servers.clone(),
            program: found("netavark", &dirs, "netavark, which makes podman's networks,", hint)?,
            run: asked.run.clone().unwrap_or_else(|| RUN.into()),
            firewall: asked.firewall.clone().or_else(firewall::configured),
            whole: false,
            refusal: None,
            gone: false,
        })
    }

    /// Whether it is on the network of this name.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.known.name == name
    }

    /// Those that it has.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    /// Whether it was begun, and not made whole.
    pub(super) fn is_half(&self) -> bool {
        !self.whole
    }

    /// What the interface is or was to be.
    pub(super) fn shape(&self) -> Option<Given> {
        let addresses =
            self.addresses.iter().filter_map(|address| self.known.with_length(*address)).collect();
        Some(Given { interface: self.interface.clone(), addresses, ..Given::default() })
    }

    /// It is there.
    pub(super) fn made(&mut self) {
        self.whole = true;
    }

    /// Looks for the addresses that it does not have yet. `taken` are those of our containers.
    ///
    /// # Errors
    /// Conflict where one is another's, or all are.
    pub(super) fn choose(&mut self, wanted: &Wanted<'_>, taken: &[IpAddr]) -> Result<()> {
        let by_podman = addresses::listed(&self.run.join("aardvark-dns").join(wanted.name));
        let asked_for = Cell::new(0);
        let answers = |address: IpAddr| {
            asked_for.set(asked_for.get() + 1);
            asked_for.get() > PROBES || addresses::answers(address, &self.known)
        };
        let is_taken =
            |address: IpAddr| taken.contains(&address) || by_podman.contains(&address) || answers(address);
        if let Some(address) = self.addresses.iter().find(|address| is_taken(**address)) {
            return Err(Error::conflict(format!(
                "{address} on podman's network {} is somebody else's",
                wanted.name
            ))
            .hint("choose another, or none: a free one is found"));
        }
        let mut found = self.addresses.clone();
        for subnet in &self.known.subnets {
            if !found.iter().any(|own| subnet.net.contains(own)) {
                let free = subnet.free(&is_taken);
                found.push(free.ok_or_else(|| {
                    Error::conflict(format!(
                        "no address of {} is free on podman's network {}",
                        subnet.net, wanted.name
                    ))
                    .hint("stop a container on it, or say an address: ip=ADDRESS")
                })?);
            }
        }
        self.addresses = found;
        Ok(())
    }

    /// Has it made.
    ///
    /// # Errors
    /// What netavark says.
    pub(super) fn make(&mut self, id: &Id, name: &Name, namespace: &str, files: &Files) -> Result<Given> {
        let said = self.call("setup", id, name, namespace, files)?;
        if !said.status.success() {
            self.refusal = Some(why(&said));
            return Err(self.refused("setup", &said));
        }
        network::given(&said.out, &self.known.name, &self.interface).ok_or_else(|| {
            Error::unsupported(format!(
                "netavark comes to no result that can be understood: {}",
                said.complaint()
            ))
        })
    }

    /// Has it taken back.
    ///
    /// # Errors
    /// What netavark says; nothing is left all the same where it is [gone](Self::is_gone).
    pub(super) fn take_back(&mut self, id: &Id, name: &Name, namespace: &str, files: &Files) -> Result<()> {
        let said = self.call("teardown", id, name, namespace, files)?;
        // It says the same of both where it cannot even begin: a driver that it does not know.
        let never_made = !self.whole && self.refusal == Some(why(&said));
        self.gone = said.status.success() || never_made;
        if said.status.success() { Ok(()) } else { Err(self.refused("teardown", &said)) }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    fn refused(&self, verb: &str, said: &Said) -> Error {
        Error::unsupported(format!("{}: {}", self.doing(verb), why(said)))
    }

    fn doing(&self, verb: &str) -> String {
        format!("netavark {verb} for podman's network {}", self.known.name)
    }

    /// What it says, whether it has done it or not.
    fn call(&self, verb: &str, id: &Id, name: &Name, namespace: &str, files: &Files) -> Result<Said> {
        fs::create_dir_all(&self.run).doing(|| format!("making {}", self.run.display()))?;
        let input = self.options(id, name).to_string();
        let resolver = self.program.with_file_name("aardvark-dns");
        let words: [&OsStr; 7] = [
            "--config".as_ref(),
            self.run.as_ref(),
            "--rootless=false".as_ref(),
            "--aardvark-binary".as_ref(),
            resolver.as_ref(),
            verb.as_ref(),
            namespace.as_ref(),
        ];
        let (program, input) = (&self.program, input.as_bytes());
        let environment: Vec<_> =
            self.firewall.iter().map(|driver| (firewall::VARIABLE, driver.clone())).collect();
        let call = Call { program, words: &words, environment: &environment, input, files, limit: LIMIT };
        let _lock = podmans_lock(&self.known.dir);
        call.run().map_err(|error| error.context(self.doing(verb)))
    }

    fn options(&self, id: &Id, name: &Name) -> Value {
        let network = &self.known.name;
        let port = |port: &Publish| {
            let address = port.address.map(|address| address.to_string()).unwrap_or_default();
            json!({"container_port": port.container, "host_ip": address, "host_port": port.host,
                "protocol": port.protocol.word(), "range": 1})
        };
        let mut own =
            json!({"interface_name": self.interface, "static_ips": self.addresses, "aliases": self.aliases});
        if let Some(mac) = self.mac {
            own["static_mac"] = json!(mac);
        }
        // As long as podman's own, of which it takes parts.
        let id = format!("{id}{:0>52}", "");
        json!({
            "container_id": id,
            "container_name": name,
            "port_mappings": self.ports.iter().map(port).collect::<Vec<_>>(),
            "dns_servers": self.servers,
            "networks": { network.as_str(): own },
            "network_info": { network.as_str(): self.known.text },
        })
    }
}

/// What it says when it fails.
fn why(said: &Said) -> String {
    network::failure(&said.out).unwrap_or_else(|| format!("{} ({})", said.status, said.complaint()))
}

/// What podman holds while it does the same; None where it does not give it.
fn podmans_lock(dir: &Path) -> Option<File> {
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(dir.join("netavark.lock"));
    let (file, end) = (file.ok()?, Instant::now() + PATIENCE);
    loop {
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return None,
        }
    }
}

impl Networks {
    /// Nobody else chooses an address on a network of podman's as long as it is held.
    pub(super) fn lock_addresses(&self) -> Result<FileLock> {
        FileLock::take(self.lib(), "netavark")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_netavark_is_told() {
        let text = json!({"name": "lan", "id": "ab".repeat(32), "driver": "bridge", "network_interface": "podman1",
            "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}], "dns_enabled": true});
        let Value::Object(text) = text else { panic!("an object") };
        let setup = Setup {
            known: Known::of(text.clone(), Path::new("/x"), "lan").expect("known"),
            interface: "eth0".into(),
            addresses: vec!["10.89.0.254".parse().expect("address")],
            mac: Some("02:00:00:00:00:05".parse().expect("mac")),
            aliases: vec!["db".into()],
            ports: Publish::parse("127.0.0.1:8080:80").expect("port"),
            servers: Vec::new(),
            program: "/x/netavark".into(),
            run: "/run/x".into(),
            firewall: None,
            whole: false,
            refusal: None,
            gone: false,
        };
        let told = setup.options(&Id::from_bytes([1; 6]), &"web".parse().expect("name"));
        assert_eq!(told["container_id"].as_str().map(str::len), Some(64));
        assert_eq!(
            told["networks"],
            json!({"lan": {"interface_name": "eth0", "static_ips": ["10.89.0.254"],
            "aliases": ["db"], "static_mac": "02:00:00:00:00:05"}})
        );
        assert_eq!(
            told["port_mappings"],
            json!([{"container_port": 80, "host_ip": "127.0.0.1", "host_port": 8080,
            "protocol": "tcp", "range": 1}])
        );
        assert_eq!(told["network_info"]["lan"]["driver"], "bridge");
        assert_eq!(setup.shape().expect("shape").addresses[0].to_string(), "10.89.0.254/24");
    }
}
