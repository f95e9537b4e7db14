//! Addresses of names: of /etc/hosts, then of the host's name servers. The C library would load parts of itself
//! for that, which a static program has not.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Types of records: A and AAAA.
const KINDS: [u16; 2] = [1, 28];

/// How long one server is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for names without the C library.
#[derive(Debug)]
pub(super) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?.trim_matches(['[', ']']);
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let until = Instant::now() + Duration::min(*timeout.after, Duration::from_secs(3600));
        let mut all = self.empty();
        let found = addresses(host, until);
        found.iter().take(8).for_each(|address| all.push(SocketAddr::new(*address, port)));
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(all) }
    }
}

fn addresses(host: &str, until: Instant) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = in_hosts(&hosts, host);
    if !known.is_empty() {
        return known;
    }
    let (servers, search) = configured(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let own = std::iter::once(host.to_owned()).filter(|_| host.contains('.'));
    let longer = search.iter().map(|end| format!("{host}.{end}")).filter(|_| !host.ends_with('.'));
    let names = own.chain(longer);
    names.map(|name| asked(&name, &servers, until)).find(|found| !found.is_empty()).unwrap_or_default()
}

fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

/// Name servers, and what is tried behind a name.
fn configured(text: &str) -> (Vec<IpAddr>, Vec<String>) {
    let (mut servers, mut search) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
            Some("search" | "domain") => search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    servers.truncate(3);
    search.truncate(6);
    (servers, search)
}

fn asked(name: &str, servers: &[IpAddr], until: Instant) -> Vec<IpAddr> {
    for server in servers {
        let answers: Vec<Option<Vec<IpAddr>>> =
            KINDS.iter().map(|kind| ask(name, *kind, *server, until).ok()).collect();
        if answers.iter().any(Option::is_some) {
            return answers.into_iter().flatten().flatten().collect();
        }
    }
    Vec::new()
}

fn ask(name: &str, kind: u16, server: IpAddr, until: Instant) -> std::io::Result<Vec<IpAddr>> {
    let own: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(own)?;
    // From nobody else comes an answer.
    socket.connect(SocketAddr::new(server, 53))?;
    let mut number = [0; 2];
    rustix::rand::getrandom(&mut number[..], rustix::rand::GetRandomFlags::empty())?;
    socket.send(&question(name, kind, number).ok_or(std::io::ErrorKind::InvalidInput)?)?;
    let until = until.min(Instant::now() + PATIENCE);
    let mut answer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let count = socket.recv(&mut answer)?;
        if count >= 12 && answer[..2] == number && answer[2] & 0x80 != 0 {
            // Anything but "here" and "no such name" is another server's business.
            return match answer[3] & 15 {
                0 | 3 => Ok(records(&answer[..count], kind).unwrap_or_default()),
                _ => Err(std::io::ErrorKind::Other.into()),
            };
        }
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
    }
}

fn question(name: &str, kind: u16, number: [u8; 2]) -> Option<Vec<u8>> {
    let mut text = vec![number[0], number[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        text.push(length);
        text.extend(label.as_bytes());
    }
    text.push(0);
    text.extend(kind.to_be_bytes());
    text.extend([0, 1]);
    (text.len() <= 512).then_some(text)
}

/// The addresses in an answer; the server has followed other names.
fn records(text: &[u8], kind: u16) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes([*text.get(at)?, *text.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..number(4)? {
        at = after_name(text, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..number(6)? {
        at = after_name(text, at)?;
        let (is, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = text.get(at + 10..at + 10 + length)?;
        if is == kind {
            found.extend(<[u8; 4]>::try_from(data).ok().map(IpAddr::from));
            found.extend(<[u8; 16]>::try_from(data).ok().map(IpAddr::from));
        }
        at += 10 + length;
    }
    Some(found)
}

fn after_name(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *text.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_and_nonsense_is_nothing() {
        let question = question("a.example", 1, [1, 2]).expect("a question");
        let mut answer = question.clone();
        (answer[2], answer[7]) = (0x81, 2);
        // Another name for it, then its address.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3]);
        assert_eq!(records(&answer, 1), Some(vec![IpAddr::from([10, 1, 2, 3])]));
        for end in 0..answer.len() {
            assert!(records(&answer[..end], 1).is_none_or(|found| found.is_empty()));
        }
        assert_eq!(super::question(&"x".repeat(64), 1, [0, 0]), None);
        assert_eq!(in_hosts("127.0.0.1 localhost web # x\n::1 ip6", "WEB"), [IpAddr::from([127, 0, 0, 1])]);
        let (servers, search) = configured("# x\nnameserver 10.0.0.1\nsearch a.b c\n");
        assert_eq!((servers.len(), search.len()), (1, 2));
    }
}
