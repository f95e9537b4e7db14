//! A network of a test's own: its thread, and so all that it starts, is on a host of its own, which has an
//! uplink to a world outside.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::succeed;

/// Addresses of the host, as the world sees it.
pub const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// The machine outside, which answers requests on port 80.
pub const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// The host and the world; both are gone with it.
pub struct Wires {
    outside: Child,
}

impl Wires {
    /// Moves the calling thread, with all that it starts from now on, to a host of its own.
    pub fn new() -> Self {
        // SAFETY: a network namespace changes nothing that other threads rely on.
        #[allow(unsafe_code)]
        unsafe {
            unshare_unsafe(UnshareFlags::NEWNET).expect("a network namespace; this takes root");
        }
        ip("link set lo up");
        let outside = Command::new("unshare")
            .args(["-n", "busybox", "httpd", "-f", "-p", "80", "-h", "/proc/sys/kernel"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let wires = Self { outside };
        super::until("the world", || wires.is_apart());
        ip(&format!("link add up0 type veth peer name out0 netns {}", wires.outside.id()));
        for (address, length) in HOST.iter().zip([24, 64]) {
            ip(&format!("address add {address}/{length} dev up0{}", nodad(address)));
        }
        ip("link set up0 up");
        wires.out("ip link set lo up; ip link set out0 up");
        for (address, length) in OUTSIDE.iter().zip([24, 64]) {
            wires.out(&format!("ip address add {address}/{length} dev out0{}", nodad(address)));
        }
        ip(&format!("route add default via {}", OUTSIDE[0]));
        ip(&format!("-6 route add default via {}", OUTSIDE[1]));
        wires
    }

    fn is_apart(&self) -> bool {
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("own");
        std::fs::read_link(format!("/proc/{}/ns/net", self.outside.id())).is_ok_and(|there| there != own)
    }

    /// A command of the machine outside.
    pub fn outside(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-n", "-t", &self.outside.id().to_string(), "sh", "-c", script]).stdin(Stdio::null());
        command
    }

    /// Runs it; it must succeed. Returns what it says.
    #[track_caller]
    pub fn out(&self, script: &str) -> String {
        succeed(self.outside(script))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}

fn nodad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

/// Runs `ip` on the test's host.
#[track_caller]
pub fn ip(words: &str) -> String {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace());
    succeed(command)
}

/// Runs a shell script on the test's host; whether it succeeds, and what it says.
pub fn here(script: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().expect("sh");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// What a request to this address and port is answered; None if nobody answers in time.
pub fn asks(address: &str, port: u16) -> Option<String> {
    let address: IpAddr = address.parse().expect("an address");
    use std::io::{Read, Write};
    let limit = std::time::Duration::from_secs(3);
    let mut stream = std::net::TcpStream::connect_timeout(&(address, port).into(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(b"GET /name HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.rsplit("\r\n\r\n").next().map(|body| body.trim().to_owned()).filter(|body| !body.is_empty())
}
