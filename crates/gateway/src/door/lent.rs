//! Sockets that a service is given itself (sd_listen_fds(3)): no proxy stands between it and its clients. Here it is
//! only seen that somebody comes, and how many are connected.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::OFlags;
use spec::{Result, ResultExt};

use crate::service::Service;
use crate::watch::Watched;

/// While an instance is there, it is the one that accepts.
const BREATH: Duration = Duration::from_millis(50);

/// A socket as a program expects it: one that waits.
pub(crate) fn waiting(socket: &OwnedFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(socket).map_err(std::io::Error::from);
    let flags = flags.doing(|| "looking at a socket")?;
    let set = rustix::fs::fcntl_setfl(socket, flags - OFlags::NONBLOCK).map_err(std::io::Error::from);
    set.doing(|| "changing a socket")
}

/// Calls the service whenever somebody comes and nobody is there, for ever.
pub(crate) async fn lend(service: Rc<Service>, socket: Rc<OwnedFd>) {
    let watched = match socket.as_fd().try_clone_to_owned().and_then(Watched::new) {
        Ok(watched) => watched,
        Err(cause) => return service.tell(&format!("a socket cannot be watched: {cause}")),
    };
    while watched.readable().await.is_ok() {
        loop {
            if !service.is_there() {
                // Its place is given back at once: what it accepts itself is counted otherwise.
                drop(service.acquire().await);
            }
            tokio::time::sleep(BREATH).await;
            if !watched.look_again() {
                break;
            }
        }
    }
}

/// How many clients are connected to these ports of this host, as /proc/net/tcp tells (proc(5)).
pub(crate) fn connected(ports: &[SocketAddr]) -> u32 {
    let of = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let all = [of("/proc/thread-self/net/tcp"), of("/proc/thread-self/net/tcp6")];
    all.iter().flat_map(|text| text.lines().skip(1)).filter(|line| is_of(line, ports)).count() as u32
}

/// `  0: 0100007F:1F90 0100007F:D3C2 01 …`: established, or with more to be sent by either side.
fn is_of(line: &str, ports: &[SocketAddr]) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let port = words.next().and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
    let state = words.nth(1);
    let is_open = matches!(state, Some("01" | "04" | "05" | "08"));
    is_open && port.is_some_and(|port| ports.iter().any(|at| at.port() == port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_is_connected_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        assert_eq!(connected(&[at]), 0);
        let client = TcpStream::connect(at).expect("connected");
        let (served, _) = listener.accept().expect("accepted");
        assert_eq!(connected(&[at]), 1);
        drop((client, served));
    }
}
