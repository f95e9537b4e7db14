//! Addresses of networks: which are free, and which cannot be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use spec::network::{Network, Subnet};
use spec::{Error, Result};

use super::store::WantedSubnet;
use crate::home::new_id;

/// Where free ones are looked for: beside what others of this trade take by themselves (podman from 10.88 on, docker
/// from 172.17, Kubernetes from 10.96 and 10.244), whose networks may not be there at the moment.
const POOLS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 80, 0, 0), 13),
    (Ipv4Addr::new(172, 24, 0, 0), 13),
    (Ipv4Addr::new(192, 168, 128, 0), 17),
];

/// What is in use, and by whom.
pub(super) struct Taken(Vec<(IpNet, String)>);

impl Taken {
    /// By other networks; and by the host, where a network is to have addresses of its own.
    pub(super) fn by(others: &[Network], own: bool) -> Self {
        let of = |network: &Network| {
            let whose = format!("network {}", network.name);
            network.subnets.iter().map(move |subnet| (subnet.net, whose.clone())).collect::<Vec<_>>()
        };
        let routed = others.iter().filter(|network| own || network.kind.is_routed());
        let mut all: Vec<_> = routed.flat_map(of).collect();
        if own {
            all.extend(hosts());
        }
        Self(all)
    }

    fn whose(&self, net: IpNet) -> Option<&(IpNet, String)> {
        self.0.iter().find(|(other, _)| other.contains(&net) || net.contains(other))
    }
}

/// The addresses that somebody has asked for.
///
/// # Errors
/// Such as can be no network's; conflict with others.
pub(super) fn given(wanted: &WantedSubnet, taken: &Taken) -> Result<Subnet> {
    let net = wanted.net;
    let bad = |why: String| Error::user(format!("{net} can be no network's addresses: {why}"));
    if net != net.trunc() {
        return Err(bad(format!("it is an address in {}", net.trunc())).hint(format!("say {}", net.trunc())));
    }
    if net.max_prefix_len() - net.prefix_len() < 2 {
        return Err(bad("there is no room for a gateway and a container".into())
            .hint("a prefix of 30 at most, or of 126 with IPv6"));
    }
    let odd = match net.addr() {
        IpAddr::V4(address) => address.is_multicast() || address.is_loopback() || address.octets()[0] == 0,
        IpAddr::V6(address) => {
            address.is_multicast() || address.is_unicast_link_local() || net.prefix_len() < 8
        }
    };
    if odd || net.prefix_len() == 0 {
        return Err(bad("they mean something else".into()).hint("as in 10.9.0.0/24 or fd12:3456:789a::/64"));
    }
    if let Some((other, whose)) = taken.whose(net) {
        return Err(Error::conflict(format!("the addresses {net} are in use: {other} is {whose}"))
            .hint("choose others, or leave --subnet out: free ones are found"));
    }
    let gateway = wanted.gateway.unwrap_or_else(|| nth(net, 1));
    let subnet = Subnet { net, gateway, range: wanted.range };
    if !is_host(net, gateway) {
        return Err(Error::user(format!("the gateway {gateway} is no address of a host in {net}"))
            .hint(format!("as in {}", nth(net, 1))));
    }
    match wanted.range.filter(|range| !net.contains(range)) {
        Some(range) => Err(Error::user(format!("the range {range} is not in {net}"))),
        None => Ok(subnet),
    }
}

/// The first free ones of IPv4, `length` bits of which are all the same.
///
/// # Errors
/// When none are free.
pub(super) fn free_four(taken: &Taken, length: u8) -> Result<Subnet> {
    let pools = POOLS.iter().filter_map(|(first, length)| Ipv4Net::new(*first, *length).ok());
    let mut all = pools.flat_map(|pool| pool.subnets(length).into_iter().flatten()).map(IpNet::V4);
    let net = all.find(|net| taken.whose(*net).is_none());
    let net = net.ok_or_else(|| {
        Error::conflict("no private addresses are free for another network").hint(
            "say which: --subnet 100.64.7.0/24; or remove networks that nobody uses: tsubo network prune",
        )
    })?;
    Ok(Subnet { net, gateway: nth(net, 1), range: None })
}

/// Free ones of IPv6: random, as RFC 4193 has it.
///
/// # Errors
/// When the kernel gives no random bytes.
pub(super) fn free_six(taken: &Taken) -> Result<Subnet> {
    loop {
        let random = new_id()?.bytes();
        let mut bytes = [0; 16];
        bytes[0] = 0xfd;
        bytes[1..7].copy_from_slice(&random);
        let net = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(bytes), 64));
        if taken.whose(net).is_none() {
            return Ok(Subnet { net, gateway: nth(net, 1), range: None });
        }
    }
}

/// Whether this host speaks IPv6 at all.
pub(super) fn has_six() -> bool {
    let off = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    off.is_ok_and(|off| off.trim() == "0")
}

/// The address number `offset` of a net.
pub(super) fn nth(net: IpNet, offset: u128) -> IpAddr {
    match net {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()).wrapping_add(offset as u32)).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()).wrapping_add(offset)).into(),
    }
}

/// The number of an address in its net.
pub(super) fn offset(net: IpNet, address: IpAddr) -> u128 {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(address)) => {
            u32::from(address).wrapping_sub(u32::from(net.network())).into()
        }
        (IpNet::V6(net), IpAddr::V6(address)) => u128::from(address).wrapping_sub(u128::from(net.network())),
        _ => 0,
    }
}

/// Whether an address is in a net and means one host there: not the net, and not all in it.
pub(super) fn is_host(net: IpNet, address: IpAddr) -> bool {
    let last = net.addr().is_ipv4() && address == net.broadcast();
    net.contains(&address) && address != net.network() && !last
}

/// Where the host has ways to, and whom it asks about names.
/// The interface over which this host has a way to one address alone.
pub(super) fn way_to(address: IpAddr) -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let ways = match address {
        IpAddr::V4(_) => routes_four(&read("/proc/thread-self/net/route")),
        IpAddr::V6(_) => routes_six(&read("/proc/thread-self/net/ipv6_route")),
    };
    over(ways, address)
}

fn over(ways: Vec<(IpNet, String)>, address: IpAddr) -> Option<String> {
    let (_, whose) = ways.into_iter().find(|(net, _)| *net == IpNet::from(address))?;
    whose.rsplit(' ').next().map(ToOwned::to_owned)
}

fn hosts() -> Vec<(IpNet, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut all = routes_four(&read("/proc/thread-self/net/route"));
    all.extend(routes_six(&read("/proc/thread-self/net/ipv6_route")));
    let conf = read("/etc/resolv.conf");
    let servers =
        conf.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    all.extend(servers.map(|server| (IpNet::from(server), "a resolver of this host".to_owned())));
    all
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses as the machine has them in memory.
fn routes_four(text: &str) -> Vec<(IpNet, String)> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::to_ne_bytes);
        let net = Ipv4Net::with_netmask(address(1)?.into(), address(7)?.into()).ok()?;
        Some((IpNet::V4(net), format!("a way of this host, over {}", fields[0])))
    };
    // A way to everywhere is in nobody's way.
    text.lines().filter_map(route).filter(|(net, _)| net.prefix_len() > 0).collect()
}

/// `destination prefix-length source … interface`, all in hexadecimal digits.
fn routes_six(text: &str) -> Vec<(IpNet, String)> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let length = u8::from_str_radix(fields.get(1)?, 16).ok()?;
        let net = Ipv6Net::new(address.into(), length).ok()?;
        Some((IpNet::V6(net), format!("a way of this host, over {}", fields.last()?)))
    };
    let global = |net: &IpNet| match net.addr() {
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unicast_link_local(),
        IpAddr::V4(_) => true,
    };
    text.lines().filter_map(route).filter(|(net, _)| net.prefix_len() > 0 && global(net)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect(text)
    }

    fn taken(nets: &[&str]) -> Taken {
        Taken(nets.iter().map(|text| (net(text), "somebody's".to_owned())).collect())
    }

    #[test]
    fn the_first_free_one_is_found() {
        let first = free_four(&taken(&[]), 24).expect("free");
        assert_eq!((first.net, first.gateway), (net("10.80.0.0/24"), "10.80.0.1".parse().expect("gateway")));
        assert_eq!(free_four(&taken(&["10.80.0.0/16"]), 24).expect("free").net, net("10.81.0.0/24"));
        assert_eq!(free_four(&taken(&["10.80.0.77/32"]), 29).expect("free").net, net("10.80.0.0/29"));
        assert_eq!(free_four(&taken(&["10.0.0.0/8"]), 24).expect("free").net, net("172.24.0.0/24"));
        let all = taken(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        assert!(free_four(&all, 24).expect_err("none").hints()[0].contains("--subnet"));
        let six = free_six(&taken(&[])).expect("free");
        assert!(six.net.to_string().starts_with("fd") && six.net.prefix_len() == 64);
    }

    #[test]
    fn a_way_to_one_address_alone() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    vaabb0\t0500580A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n";
        let over = |address: &str| over(routes_four(text), address.parse().expect(address));
        assert_eq!((over("10.88.0.5").as_deref(), over("10.88.0.6")), (Some("vaabb0"), None));
    }

    #[test]
    fn routes_of_the_host() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let routes = routes_four(text);
        assert_eq!(routes.iter().map(|(net, _)| net.to_string()).collect::<Vec<_>>(), ["10.88.0.0/16"]);
        let text = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
                    fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
                    00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";
        assert_eq!(routes_six(text), [(net("fd00::/64"), "a way of this host, over eth0".to_owned())]);
    }

    #[test]
    fn what_is_asked_for_is_checked() {
        let ask = |text: &str, gateway: Option<&str>, range: Option<&str>| {
            let gateway = gateway.map(|text| text.parse().expect("address"));
            given(&WantedSubnet { net: net(text), gateway, range: range.map(net) }, &taken(&["10.7.0.0/16"]))
        };
        let good = ask("10.9.0.0/24", Some("10.9.0.254"), Some("10.9.0.128/25")).expect("good");
        assert_eq!(good.gateway.to_string(), "10.9.0.254");
        assert_eq!(ask("10.9.0.0/30", None, None).expect("two").gateway.to_string(), "10.9.0.1");
        assert_eq!(ask("fd00:1::/64", None, None).expect("six").gateway.to_string(), "fd00:1::1");
        for (text, gateway, range, part) in [
            ("10.9.0.5/24", None, None, "an address in 10.9.0.0/24"),
            ("10.9.0.0/31", None, None, "no room"),
            ("224.0.0.0/24", None, None, "something else"),
            ("127.0.0.0/24", None, None, "something else"),
            ("0.0.0.0/0", None, None, "something else"),
            ("fe80::/64", None, None, "something else"),
            ("10.7.3.0/24", None, None, "in use"),
            ("10.0.0.0/8", None, None, "in use"),
            ("10.9.0.0/24", Some("10.8.0.1"), None, "the gateway"),
            ("10.9.0.0/24", Some("10.9.0.0"), None, "the gateway"),
            ("10.9.0.0/24", Some("10.9.0.255"), None, "the gateway"),
            ("10.9.0.0/24", None, Some("10.8.0.0/25"), "the range"),
            ("10.9.0.0/24", None, Some("10.9.0.0/16"), "the range"),
        ] {
            let error = ask(text, gateway, range).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_in_a_net() {
        assert_eq!(nth(net("10.88.0.0/24"), 5).to_string(), "10.88.0.5");
        assert_eq!(offset(net("fd00::/64"), "fd00::12".parse().expect("address")), 18);
        assert!(is_host(net("fd00::/64"), "fd00::ffff:ffff:ffff:ffff".parse().expect("address")));
        assert!(!is_host(net("10.88.0.0/24"), "10.88.0.255".parse().expect("address")));
        assert!(!is_host(net("10.88.0.0/24"), "10.88.1.5".parse().expect("address")));
    }
}
