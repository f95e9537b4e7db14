//! What a server gives: an address for a time, and what goes with it.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::message::Message;
use crate::options::{self, code};

/// Shorter ones are none: whoever gives them keeps the network busy.
const SHORTEST: u32 = 4;
/// The kernel's own word for ever.
const FOR_EVER: u32 = u32::MAX;
/// Who gives the better part of all addresses leads everywhere, by whatever name.
const WIDEST: u8 = 8;
/// Less is nothing for IPv6, which the interface speaks as well.
const LEAST_MTU: u16 = 1280;

/// An address for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address, with the length of its subnet's prefix.
    pub address: Ipv4Net,
    /// Who gives it.
    pub server: Ipv4Addr,
    /// For how long; None for ever.
    pub time: Option<Duration>,
    /// When its server is asked for more.
    pub renew: Duration,
    /// When anybody is.
    pub rebind: Duration,
    /// Where packets go: to which net, by whom; None for what is on the segment itself.
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// Who answers for names.
    pub servers: Vec<Ipv4Addr>,
    /// Domains that are tried behind a short name.
    pub search: Vec<String>,
    /// Bytes of a packet.
    pub mtu: Option<u16>,
}

impl Lease {
    /// What an offer or its confirmation gives. `taken`: what others have who are known to be there.
    ///
    /// # Errors
    /// Why nobody can take it, in words.
    pub fn of(message: &Message, taken: &[Ipv4Addr]) -> Result<Self, String> {
        let server = message.address(code::SERVER).filter(|server| is_host(*server));
        let server = server.ok_or("it does not say who it is")?;
        let address = address(message)?;
        if address.addr() == server || taken.contains(&address.addr()) {
            return Err(format!("{} is somebody else's", address.addr()));
        }
        let seconds = message.number(code::LEASE).ok_or("it does not say for how long")?;
        if seconds < SHORTEST {
            return Err(format!("it gives the address for {seconds} seconds"));
        }
        let time = (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()));
        let (renew, rebind) = times(message, seconds);
        let near = |one: &Ipv4Addr| is_host(*one) && *one != address.addr();
        let servers = message.options.get(&code::SERVERS).map(|value| options::addresses(value));
        let mut servers = servers.unwrap_or_default();
        servers.retain(|server| is_host(*server));
        servers.dedup();
        let mtu = message.options.get(&code::MTU).and_then(|value| <[u8; 2]>::try_from(&value[..]).ok());
        let mtu = mtu.map(u16::from_be_bytes).filter(|mtu| *mtu >= LEAST_MTU);
        Ok(Self {
            address,
            server,
            time,
            renew,
            rebind,
            routes: routes(message, near),
            servers,
            search: search(message),
            mtu,
        })
    }

    /// Its routes on an interface that does not lead, whose server has no say in where packets to these other nets go, or
    /// to everywhere.
    pub fn routes_beside(&self, others: &[Ipv4Net]) -> Vec<(Ipv4Net, Option<Ipv4Addr>)> {
        let overlaps = |to: &Ipv4Net| others.iter().any(|other| other.contains(to) || to.contains(other));
        self.routes.iter().filter(|(to, _)| to.prefix_len() >= WIDEST && !overlaps(to)).copied().collect()
    }

    /// By whom packets to elsewhere go.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|(to, _)| to.prefix_len() == 0).and_then(|(_, via)| *via)
    }
}

fn address(message: &Message) -> Result<Ipv4Net, String> {
    let yours = message.yours;
    let length = match message.address(code::MASK) {
        Some(mask) => options::prefix(mask).filter(|length| *length >= WIDEST),
        None => Some(class(yours)),
    };
    let length = length.ok_or("its mask is none of a network's")?;
    let net = Ipv4Net::new(yours, length).map_err(|_| "its mask is none")?;
    let all_or_none = length < 31 && (yours == net.network() || yours == net.broadcast());
    if !is_host(yours) || all_or_none {
        return Err(format!("{net} is no address of a host"));
    }
    Ok(net)
}

/// Whether it can be that of a machine on a network.
fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first < 224 && !address.is_loopback()
}

/// How long prefixes were before there were masks.
fn class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// When to ask for more: as it says, if that makes sense; else at half of the time and at seven eighths (RFC 2131, section 4.4.5).
fn times(message: &Message, seconds: u32) -> (Duration, Duration) {
    let said = (message.number(code::RENEW), message.number(code::REBIND));
    let (renew, rebind) = match said {
        (Some(renew), Some(rebind)) if 0 < renew && renew < rebind && rebind < seconds => {
            (Duration::from_secs(renew.into()), Duration::from_secs(rebind.into()))
        }
        _ => (Duration::from_secs(seconds.into()) / 2, Duration::from_secs(seconds.into()) / 8 * 7),
    };
    (renew, rebind)
}

/// Who says routes with their nets says all of them (RFC 3442).
fn routes(message: &Message, near: impl Fn(&Ipv4Addr) -> bool) -> Vec<(Ipv4Net, Option<Ipv4Addr>)> {
    let with_nets = message.options.get(&code::ROUTES).and_then(|value| options::routes(value));
    let plain = |via| (Ipv4Net::default(), via);
    let mut all = match with_nets {
        Some(routes) if !routes.is_empty() => routes,
        _ => message
            .options
            .get(&code::ROUTER)
            .map(|value| options::addresses(value))
            .into_iter()
            .flatten()
            .map(plain)
            .collect(),
    };
    let leads_out = |to: &Ipv4Net| to.prefix_len() == 0 || is_host(to.addr());
    all.retain(|(to, via)| leads_out(to) && (via.is_unspecified() || near(via)));
    // Of two to the same net the first counts.
    let mut seen: Vec<Ipv4Net> = Vec::new();
    all.retain(|(to, _)| {
        !seen.contains(to) && {
            seen.push(*to);
            true
        }
    });
    all.into_iter().map(|(to, via)| (to, (!via.is_unspecified()).then_some(via))).collect()
}

fn search(message: &Message) -> Vec<String> {
    let listed = message.options.get(&code::SEARCH).map(|value| options::names(value)).unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    message.options.get(&code::DOMAIN).and_then(|value| options::domain(value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    fn ack() -> Message {
        let mut ack = Message::new(Kind::Ack, 1, [2, 0x74, 0, 0, 0, 1])
            .with(code::SERVER, [192, 0, 2, 1])
            .with(code::MASK, [255, 255, 255, 0])
            .with(code::ROUTER, [192, 0, 2, 1])
            .with(code::LEASE, 3600_u32.to_be_bytes());
        (ack.reply, ack.yours) = (true, Ipv4Addr::new(192, 0, 2, 7));
        ack
    }

    #[test]
    fn what_is_given_is_taken() {
        let all = ack()
            .with(code::SERVERS, [192, 0, 2, 53, 127, 0, 0, 1])
            .with(code::DOMAIN, *b"lan.example")
            .with(code::MTU, 1400_u16.to_be_bytes());
        let lease = Lease::of(&all, &[]).expect("a lease");
        assert_eq!(lease.address.to_string(), "192.0.2.7/24");
        assert_eq!(lease.gateway(), Some([192, 0, 2, 1].into()));
        assert_eq!((lease.renew.as_secs(), lease.rebind.as_secs()), (1800, 3150));
        assert_eq!(
            (lease.servers, lease.search),
            (vec![[192, 0, 2, 53].into()], vec!["lan.example".to_owned()])
        );
        assert_eq!(lease.mtu, Some(1400));
    }

    #[test]
    fn routes_with_nets_stand_for_all() {
        let routed = ack().with(code::ROUTES, [8, 10, 192, 0, 2, 9, 24, 192, 0, 3, 0, 0, 0, 0]);
        let lease = Lease::of(&routed, &[]).expect("a lease");
        assert_eq!(lease.gateway(), None);
        let texts: Vec<String> = lease.routes.iter().map(|(to, via)| format!("{to} {via:?}")).collect();
        assert_eq!(texts, ["10.0.0.0/8 Some(192.0.2.9)", "192.0.3.0/24 None"]);
    }

    #[test]
    fn who_does_not_lead_leads_nowhere_where_others_do() {
        let all =
            [1, 0, 192, 0, 2, 9, 1, 128, 192, 0, 2, 9, 16, 10, 88, 192, 0, 2, 9, 24, 10, 88, 7, 192, 0, 2, 9];
        let rest = [8, 10, 192, 0, 2, 9, 24, 192, 0, 3, 192, 0, 2, 9, 7, 48, 192, 0, 2, 9];
        let routed = ack().with(code::ROUTES, [&all[..], &rest].concat());
        let lease = Lease::of(&routed, &[]).expect("a lease");
        let kept = |others: &[&str]| -> Vec<String> {
            let others: Vec<Ipv4Net> = others.iter().map(|net| net.parse().expect("a net")).collect();
            lease.routes_beside(&others).iter().map(|(to, _)| to.to_string()).collect()
        };
        assert_eq!(kept(&["10.88.0.0/16"]), ["192.0.3.0/24"]);
        assert_eq!(kept(&["10.88.7.0/25"]), ["192.0.3.0/24"]);
        assert_eq!(kept(&[]), ["10.88.0.0/16", "10.88.7.0/24", "10.0.0.0/8", "192.0.3.0/24"]);
    }

    #[test]
    fn times_that_make_no_sense_are_as_usual() {
        for (renew, rebind, expected) in [
            (100, 200, (100, 200)),
            (0, 200, (1800, 3150)),
            (200, 100, (1800, 3150)),
            (100, 3600, (1800, 3150)),
        ] {
            let said =
                ack().with(code::RENEW, u32::to_be_bytes(renew)).with(code::REBIND, u32::to_be_bytes(rebind));
            let lease = Lease::of(&said, &[]).expect("a lease");
            assert_eq!((lease.renew.as_secs(), lease.rebind.as_secs()), expected);
        }
        let ever = Lease::of(&ack().with(code::LEASE, u32::MAX.to_be_bytes()), &[]).expect("a lease");
        assert_eq!(ever.time, None);
    }

    #[test]
    fn what_nobody_can_have_is_refused() {
        for address in [
            [127, 0, 0, 1],
            [0, 0, 0, 0],
            [224, 0, 0, 1],
            [255; 4],
            [192, 0, 2, 0],
            [192, 0, 2, 255],
            [192, 0, 2, 1],
        ] {
            let mut ack = ack();
            ack.yours = address.into();
            Lease::of(&ack, &[]).expect_err("an address");
        }
        let taken = Lease::of(&ack(), &[[192, 0, 2, 7].into()]).expect_err("taken");
        assert!(taken.contains("somebody else's"), "{taken}");
        for (code, value) in [
            (code::SERVER, vec![]),
            (code::SERVER, vec![127, 0, 0, 1]),
            (code::MASK, vec![255, 0, 255, 0]),
            (code::MASK, vec![0; 4]),
            (code::MASK, vec![254, 0, 0, 0]),
            (code::LEASE, vec![0; 4]),
            (code::LEASE, vec![1]),
        ] {
            Lease::of(&ack().with(code, value), &[]).expect_err("an option");
        }
    }
}
