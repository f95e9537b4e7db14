//! A host of its own, and a client at the other end of its uplink: two network namespaces. Both are gone with it.

use std::fs::File;
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bench::oci::engines::house::House;
use crate::bench::runtimes::Words;
use crate::shell::{self, Result};

/// The host, as the client sees it; and the client.
pub(super) const HOST: &str = "192.0.2.1";
const CLIENT: &str = "192.0.2.2";

pub(super) struct World {
    pub(super) house: House,
    directory: PathBuf,
    client: Space,
}

impl World {
    /// Its files go with it; the path is short, as podman refuses a long one.
    pub(super) fn new(name: &str) -> Result<Self> {
        let directory = PathBuf::from(format!("/var/tmp/tn{}-{name}", std::process::id()));
        let house = House::new(&directory)?;
        let world = Self { house, directory, client: Space::new()? };
        connect(&world.host(), &world.client.pid(), ["up0", "out0"], [HOST, CLIENT])?;
        world.client.run(&format!("ip route add default via {HOST}"))?;
        shell::run(&mut inside(&world.host(), &format!("ip route add default via {CLIENT}")))?;
        Ok(world)
    }

    /// A process on the host.
    pub(super) fn host(&self) -> String {
        self.house.first().to_owned()
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    /// A command of the client.
    pub(super) fn client(&self, script: &str) -> Command {
        inside(&self.client.pid(), script)
    }

    /// A command of the host that keeps our mounts and processes in sight.
    pub(super) fn here(&self, script: &str) -> Command {
        inside(&self.host(), script)
    }

    /// Moves this thread, with all that it starts from now on, to the host.
    pub(super) fn enter(&self) -> Result<Inside> {
        Inside::of(&self.host())
    }

    /// What the client can connect to before a while has passed.
    pub(super) fn until_served(&self, port: u16, host: &str) -> Result {
        let address = (host.parse::<IpAddr>()?, port).into();
        let _inside = Inside::of(&self.client.pid())?;
        for _ in 0..100 {
            shell::unless_interrupted()?;
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("nobody serves port {port} of {host}").into())
    }

    pub(super) fn wrapper(&self) -> Words {
        self.house.wrapper()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.house.end();
        let removed = std::fs::remove_dir_all(&self.directory);
        if let Err(error) = removed {
            eprintln!("{}: {error}", self.directory.display());
        }
    }
}

/// A network namespace with a process that holds it.
pub(super) struct Space(Child);

impl Space {
    pub(super) fn new() -> Result<Self> {
        let holder = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward && echo && cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut space = Self(holder);
        let mut line = [0];
        std::io::Read::read_exact(&mut space.0.stdout.take().ok_or("no pipe")?, &mut line)?;
        Ok(space)
    }

    pub(super) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// A shell script there.
    pub(super) fn run(&self, script: &str) -> Result {
        shell::read(&mut inside(&self.pid(), script)).map(drop)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pair of links between the namespaces of two processes, with addresses.
pub(super) fn connect(left: &str, right: &str, names: [&str; 2], addresses: [&str; 2]) -> Result {
    let [name, other] = names;
    let pair = format!("ip link add {name} type veth peer name {other} netns {right}");
    shell::read(&mut inside(left, &pair))?;
    for (pid, (name, address)) in [left, right].iter().zip(names.iter().zip(addresses)) {
        let up = format!("ip address add {address}/24 dev {name} && ip link set {name} up");
        shell::read(&mut inside(pid, &up))?;
    }
    Ok(())
}

/// A shell script in the network namespace of a process.
pub(super) fn inside(pid: &str, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", pid, "--net", "sh", "-c", script]).stdin(Stdio::null());
    command
}

/// While it lives, this thread is in another network namespace.
pub(super) struct Inside(File);

impl Inside {
    pub(super) fn of(pid: &str) -> Result<Self> {
        let own = File::open("/proc/thread-self/ns/net")?;
        step(&File::open(Path::new("/proc").join(pid).join("ns/net"))?)?;
        Ok(Self(own))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Err(error) = step(&self.0) {
            eprintln!("not back on this machine's network: {error}");
        }
    }
}

fn step(space: &File) -> Result {
    Ok(move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?)
}
