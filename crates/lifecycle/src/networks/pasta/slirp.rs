//! slirp4netns, where pasta is missing: IPv4 only, and ports are asked for over a socket.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::{Value, json};
use spec::network::{Protocol, Publish};
use spec::{Error, Result, ResultExt};

use super::ports::Reserved;
use super::{PATIENCE, Way, complaint, words};
use crate::pinned::Pinned;

/// Where it takes orders.
pub(super) const SOCKET: &str = "orders";

/// What it says.
const SAID: &str = "said";

/// What it is told besides its socket, the namespace and the interface. The network inside is its usual one
/// (10.0.2.0/24), on which it answers for names at [`RESOLVER`](super::RESOLVER).
const ALWAYS: [&str; 7] = [
    "--configure",
    "--mtu=65520",
    "--cidr=10.0.2.0/24",
    "--disable-host-loopback",
    "--enable-seccomp",
    "--netns-type=path",
    "--ready-fd=1",
];

/// It sees no files of the host then but these: its socket must be there.
const SANDBOX: (&str, &str) = ("--enable-sandbox", "/run");

/// How often is looked whether it takes orders.
const GLANCE: Duration = Duration::from_millis(1);

/// The container's address on that network.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

impl Way<'_> {
    /// Stays our child until it ends, in a session of its own.
    pub(super) fn slirp(&self, program: &Path, reserved: Reserved) -> Result<Pinned> {
        let published = reserved.published();
        if let Some(six) = published.iter().find(|publish| publish.address.is_some_and(|one| one.is_ipv6())) {
            return Err(Error::unsupported(format!("slirp4netns cannot publish {six}: it knows no IPv6"))
                .hint("install the package passt"));
        }
        let socket = self.place.join(SOCKET);
        let mut command = self.command(program)?;
        sys::child::apart(&mut command).args(ALWAYS).arg("--api-socket").arg(&socket);
        command.args(self.place.starts_with(SANDBOX.1).then_some(SANDBOX.0));
        // It goes on telling: nobody need listen.
        let said = File::options().read(true).append(true).create(true).open(self.place.join(SAID));
        let said = said.doing(|| "making a file for what slirp4netns says")?;
        let copy = said.try_clone().doing(|| "copying a descriptor")?;
        command.args(["/proc/self/fd/0", self.interface]).stdout(Stdio::piped()).stderr(copy);
        let mut child = command.spawn().doing(|| format!("executing {}", program.display()))?;
        drop(command);
        // It shares no port with anybody.
        drop(reserved);
        let begun = ready(&mut child, said)
            .and_then(|()| Pinned::of(child.id() as i32))
            .and_then(|process| self.note(process, &published))
            .and_then(|process| published.iter().try_for_each(|one| publish(&socket, one)).map(|()| process));
        if begun.is_err() {
            let _ = child.kill().and_then(|()| child.wait().map(drop));
        }
        begun
    }
}

fn ready(child: &mut Child, told: File) -> Result<()> {
    let said = child.stdout.take().ok_or_else(|| Error::internal("no output"))?;
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut wait = || rustix::event::poll(&mut [PollFd::new(&said, PollFlags::IN)], Some(&limit));
    let came = rustix::io::retry_on_intr(&mut wait).map_err(std::io::Error::from);
    let mut byte = [0];
    if came.doing(|| "waiting for slirp4netns")? > 0 && rustix::io::read(&said, &mut byte) == Ok(1) {
        return Ok(());
    }
    let _ = child.kill();
    // It is read from its beginning.
    let _ = (&told).rewind();
    let said = complaint(Some(told.into()));
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = Error::unsupported("slirp4netns does not begin");
    Err(error
        .because(Error::failed(format!("it says: {}", lines.join("; "))))
        .hint("users need the device /dev/net/tun: modprobe tun, and let its mode be 0666 as udev makes it"))
}

fn publish(socket: &Path, publish: &Publish) -> Result<()> {
    let address = publish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let protocol = match publish.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let order = json!({ "execute": "add_hostfwd", "arguments": {
        "proto": protocol, "host_addr": address, "host_port": publish.host,
        "guest_addr": INSIDE, "guest_port": publish.container } });
    let answer = ask(socket, &order).doing(|| format!("asking slirp4netns to publish {publish}"))?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => {
            Err(words::taken(Some(publish)).because(Error::failed(format!("slirp4netns says: {error}"))))
        }
    }
}

fn ask(socket: &Path, order: &Value) -> std::io::Result<Value> {
    let mut stream = connected(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(order.to_string().as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// It says that it is ready before it takes orders.
fn connected(socket: &Path) -> std::io::Result<UnixStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                    && Instant::now() < end =>
            {
                std::thread::sleep(GLANCE);
            }
            connected => return connected,
        }
    }
}
