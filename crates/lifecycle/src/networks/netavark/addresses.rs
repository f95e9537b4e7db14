//! Who has which address on a network of podman's, as far as others can know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::network::Known;

/// On a bridge of this host an answer takes less.
const ANSWER: Duration = Duration::from_millis(50);

/// The port that takes everything and answers nothing (RFC 863).
const DISCARD: u16 = 9;

/// Those that the resolver of podman's networks knows: containers that run, on networks with names.
pub(super) fn listed(file: &Path) -> Vec<IpAddr> {
    read(&std::fs::read_to_string(file).unwrap_or_default())
}

/// First the gateways, then a container on each line: id, addresses of IPv4 and of IPv6 with commas, names.
fn read(text: &str) -> Vec<IpAddr> {
    let fields = text.lines().skip(1).flat_map(|line| line.split(' ').skip(1).take(2));
    fields.flat_map(|field| field.split(',')).filter_map(|address| address.parse().ok()).collect()
}

/// Whether somebody on the network's bridge answers to an address, as the kernel finds out when it has a packet for it.
pub(super) fn answers(address: IpAddr, known: &Known) -> bool {
    let (IpAddr::V4(four), Some(_)) = (address, known.bridge()) else { return false };
    let is_gateway = |own: IpAddr| known.subnets.iter().any(|subnet| subnet.gateway == Some(own));
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(SocketAddr::new(address, DISCARD))?;
        // It goes over the bridge only as the gateway. Whoever is on another way is none of ours to ask.
        if !is_gateway(socket.local_addr()?.ip()) {
            return Ok(false);
        }
        socket.send(&[0]).map(|_| true)
    };
    let asked: std::io::Result<bool> = ask();
    if !asked.unwrap_or(false) {
        return false;
    }
    std::thread::sleep(ANSWER);
    is_neighbour(&std::fs::read_to_string("/proc/thread-self/net/arp").unwrap_or_default(), four)
}

/// `IP address  HW type  Flags  HW address  Mask  Device`; of the flags, 2 is an answer.
fn is_neighbour(table: &str, address: Ipv4Addr) -> bool {
    let wanted = address.to_string();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace();
        let flags = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
        fields.next() == Some(&wanted) && fields.nth(1).is_some_and(|text| flags(text) & 2 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_list_and_the_kernels_neighbours() {
        let text = "10.89.0.1,fd00::1\nab12 10.89.0.2,10.89.0.9 fd00::2 web,ab12\ncd34 10.89.0.3  db\n";
        let found: Vec<String> = read(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.89.0.2", "10.89.0.9", "fd00::2", "10.89.0.3"]);
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
            10.89.0.2        0x1         0x2         02:00:00:00:00:05     *        podman1\n\
            10.89.0.3        0x1         0x0         00:00:00:00:00:00     *        podman1\n";
        assert!(is_neighbour(table, Ipv4Addr::new(10, 89, 0, 2)));
        assert!(!is_neighbour(table, Ipv4Addr::new(10, 89, 0, 3)));
        assert!(!is_neighbour(table, Ipv4Addr::new(10, 89, 0, 20)));
    }
}
