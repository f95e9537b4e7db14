//! Whom to ask about everybody else.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Where it says whom the host asks.
pub const HOST: &str = "/etc/resolv.conf";

/// The port of name servers.
const PORT: u16 = 53;

/// So many are asked at most.
const MOST: usize = 8;

/// For so long it is not looked whether the file has changed.
const GLANCE: Duration = Duration::from_millis(100);

/// The longest file that is read.
const LARGEST: u64 = 64 << 10;

/// The servers that are asked, in turn.
#[derive(Debug)]
pub struct Upstream {
    own: Vec<IpAddr>,
    given: Option<Rc<[SocketAddr]>>,
    path: PathBuf,
    read: Rc<[SocketAddr]>,
    stamp: Option<Stamp>,
    looked: Option<Instant>,
}

/// Which file it was, and of when.
type Stamp = (u64, u64, i64, i64, u64);

impl Upstream {
    /// Those that the network says; if there are none, those that the host asks by the file `path`. Never `own`.
    pub fn of(given: &[IpAddr], path: &Path, own: Vec<IpAddr>) -> Self {
        let given = (!given.is_empty()).then(|| servers(given, &own));
        Self { own, given, path: path.to_owned(), read: Rc::new([]), stamp: None, looked: None }
    }

    /// Whom to ask now, on behalf of somebody who may have chosen others.
    pub fn servers(&mut self, chosen: &[IpAddr]) -> Rc<[SocketAddr]> {
        if !chosen.is_empty() {
            let elsewhere: Vec<IpAddr> = chosen.iter().copied().filter(is_elsewhere).collect();
            return servers(&elsewhere, &self.own);
        }
        if let Some(given) = &self.given {
            return given.clone();
        }
        if self.looked.is_none_or(|looked| looked.elapsed() > GLANCE) {
            self.looked = Some(Instant::now());
            self.look();
        }
        self.read.clone()
    }

    /// A file that is away, or of which nothing can be read, leaves those that were known.
    fn look(&mut self) {
        let Ok(meta) = std::fs::metadata(&self.path) else { return };
        let stamp = Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        if stamp == self.stamp || meta.len() > LARGEST {
            return;
        }
        if let Ok(text) = std::fs::read(&self.path) {
            self.stamp = stamp;
            self.read = parse(&String::from_utf8_lossy(&text), &self.own);
        }
    }
}

/// We ask from the host: what its own services answer is not for who may not ask them himself.
fn is_elsewhere(address: &IpAddr) -> bool {
    let local = match address.to_canonical() {
        IpAddr::V4(four) => four.is_link_local() || four.is_broadcast() || four.octets()[0] == 0,
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    let address = address.to_canonical();
    !(local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

fn servers(addresses: &[IpAddr], own: &[IpAddr]) -> Rc<[SocketAddr]> {
    let others = addresses.iter().filter(|address| !own.contains(address));
    others.take(MOST).map(|address| SocketAddr::new(*address, PORT)).collect()
}

/// The `nameserver` lines. Where there are none the host's libraries ask the host itself (resolv.conf(5)).
fn parse(text: &str, own: &[IpAddr]) -> Rc<[SocketAddr]> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())
    });
    let mut all: Vec<SocketAddr> = words.filter_map(server).collect();
    if all.is_empty() {
        all.push(SocketAddr::from(([127, 0, 0, 1], PORT)));
    }
    all.into_iter().filter(|server| !own.contains(&server.ip())).take(MOST).collect()
}

/// An address that is only good on one link has the link's name behind it.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, link)) = word.split_once('%') else {
        return word.parse().ok().map(|address| SocketAddr::new(address, PORT));
    };
    let scope = link.parse().ok().or_else(|| index(link))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into())
}

fn index(link: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let any =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::netdevice::name_to_index(any, link).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(servers: &[SocketAddr]) -> Vec<String> {
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_host_s_servers() {
        let own = ["10.88.0.1".parse().expect("an address")];
        let text = "# x\nnameserver 192.0.2.1\nnameserver 10.88.0.1\n nameserver  2001:db8::1 \nnameserver\n\
            nameserver no\nnameserver fe80::1%7\nsearch nameserver\n";
        assert_eq!(texts(&parse(text, &own)), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
        assert_eq!(texts(&parse("", &own)), ["127.0.0.1:53"]);
        // To ask oneself would not end.
        assert!(parse("nameserver 10.88.0.1", &own).is_empty());
        assert_eq!(parse(&"nameserver 192.0.2.1\n".repeat(100), &own).len(), MOST);
    }

    #[test]
    fn nobody_has_the_host_itself_asked() {
        let mut upstream = Upstream::of(&[], Path::new("/none"), Vec::new());
        let bad = ["127.0.0.53", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"];
        let chosen: Vec<IpAddr> = bad.iter().map(|text| text.parse().expect(text)).collect();
        assert!(upstream.servers(&chosen).is_empty());
    }

    #[test]
    fn a_file_that_was_replaced_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("resolv.conf");
        let mut upstream = Upstream::of(&[], &path, Vec::new());
        assert!(upstream.servers(&[]).is_empty());
        let mut see = |text: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, text).expect("a file");
            std::fs::rename(new, &path).expect("renamed");
            upstream.looked = None;
            texts(&upstream.servers(&[]))
        };
        assert_eq!(see("nameserver 192.0.2.1\n"), ["192.0.2.1:53"]);
        assert_eq!(see("nameserver 192.0.2.2\n"), ["192.0.2.2:53"]);
        std::fs::remove_file(&path).expect("removed");
        upstream.looked = None;
        assert_eq!(texts(&upstream.servers(&[])), ["192.0.2.2:53"]);
        assert_eq!(texts(&upstream.servers(&["192.0.2.9".parse().expect("an address")])), ["192.0.2.9:53"]);
    }
}
