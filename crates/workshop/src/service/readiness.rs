//! Waiting until a service is ready.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::ready::{Ready, Url};
use spec::{Error, Result, RootPath};

use super::Service;
use crate::interrupt::Interrupt;

/// How often a condition is looked at. Short, because a test's start is waited for by a person.
const PAUSE: Duration = Duration::from_millis(15);
/// One look must not take longer than this.
const LOOK: Duration = Duration::from_secs(2);
/// Without a condition a service counts as ready when it listens, or after this time.
const SETTLE: Duration = Duration::from_secs(2);

/// Refuses a port that somebody else has: the condition would be met by the wrong service. And one that
/// takes root, where we have only an ordinary user's.
///
/// # Errors
/// Conflict or denied, naming the port.
pub fn check_free(ready: Option<&Ready>) -> Result<()> {
    let port = match ready {
        Some(Ready::Tcp(port)) => *port,
        Some(Ready::Http(url)) if ["127.0.0.1", "localhost", "::1"].contains(&url.host.as_str()) => url.port,
        _ => return Ok(()),
    };
    if port < first_free_port() && lifecycle::rootless::inside() {
        return Err(Error::new(spec::ErrorKind::Denied, format!("port {port} takes root on the host's network, on which tests are"))
            .hint("run it with sudo, let it listen on a higher port, or ask for sysctl net.ipv4.ip_unprivileged_port_start"));
    }
    if tcp(port) {
        return Err(Error::conflict(format!("port {port} is in use on this host already"))
            .hint("tests are on the host's network: stop what listens there (tsubo ps shows whether it is a container), or let this one listen elsewhere"));
    }
    Ok(())
}

/// The lowest port that needs no privilege.
fn first_free_port() -> u16 {
    let port = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    port.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// Waits until `service` meets the condition, at most `limit`.
///
/// # Errors
/// Failed, with the service's last lines, if it ends or the time is over.
pub fn wait(
    service: &mut Service,
    ready: Option<&Ready>,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<()> {
    let start = Instant::now();
    loop {
        interrupt.check()?;
        if met(service, ready, start.elapsed()) {
            return Ok(());
        }
        if let Some(code) = service.ended()? {
            return Err(Error::failed(format!("the service ended with code {code} before it was ready"))
                .hint(service.output.as_hint()));
        }
        if start.elapsed() > limit {
            let condition = ready.map_or_else(|| "listening".to_owned(), ToString::to_string);
            return Err(Error::failed(format!(
                "the service was not ready ({condition}) within {} s",
                limit.as_secs()
            ))
            .hint("give it more time with --ready-timeout SECS, or another condition with --ready")
            .hint(service.output.as_hint()));
        }
        std::thread::sleep(PAUSE);
    }
}

fn met(service: &Service, ready: Option<&Ready>, waited: Duration) -> bool {
    match ready {
        None => waited > SETTLE || !super::sockets::held(service.pid()).ports.is_empty(),
        Some(Ready::Millis(millis)) => waited >= Duration::from_millis(*millis),
        Some(Ready::Tcp(port)) => tcp(*port),
        Some(Ready::Http(url)) => http(url).is_some_and(|status| (200..400).contains(&status)),
        Some(Ready::Unix(path)) => inside(service.pid(), path).is_some_and(|fd| unix(&fd)),
        Some(Ready::File(path)) => inside(service.pid(), path).is_some(),
        Some(Ready::Log(_)) => service.output.matched(),
    }
}

fn tcp(port: u16) -> bool {
    connect("localhost", port).is_some()
}

fn connect(host: &str, port: u16) -> Option<TcpStream> {
    let local = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let addresses = host.parse().map_or_else(|_| local.to_vec(), |address: IpAddr| vec![address]);
    let try_one = |address: IpAddr| TcpStream::connect_timeout(&(address, port).into(), LOOK).ok();
    addresses.into_iter().find_map(try_one)
}

/// The status of a plain GET.
fn http(url: &Url) -> Option<u16> {
    let mut stream = connect(&url.host, url.port)?;
    stream.set_read_timeout(Some(LOOK)).ok()?;
    stream.set_write_timeout(Some(LOOK)).ok()?;
    write!(stream, "GET {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, url.host).ok()?;
    let mut head = Vec::new();
    let _ = stream.take(512).read_to_end(&mut head);
    String::from_utf8_lossy(&head).strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()
}

/// A path inside the container, reached through its first process without leaving its root.
fn inside(pid: i32, path: &RootPath) -> Option<OwnedFd> {
    let root =
        rustix::fs::openat(CWD, format!("/proc/{pid}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path.relative(), flags, Mode::empty(), resolve).ok()
}

fn unix(socket: &OwnedFd) -> bool {
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).is_ok()
}
