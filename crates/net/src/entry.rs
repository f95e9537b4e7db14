//! What is in the sets and maps of our table, as the kernel has it: keys are registers, each part of
//! which takes whole words.

use std::net::IpAddr;

use ipnet::IpNet;
use spec::network::{Element, Permit, Protocol, Whom};

/// The name of an interface, as in a register.
const NAME: usize = 16;

/// The sets of the table for ports of bridges.
pub(crate) const BRIDGED: [&str; 4] = ["locked", "port4", "port6", "target6"];

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub(crate) set: String,
    pub(crate) key: Vec<u8>,
    /// The end of a range.
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) data: Option<Vec<u8>>,
    /// The object that a map leads to.
    pub(crate) object: Option<Limit>,
    pub(crate) flags: u32,
}

/// A limit of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// A second.
    pub(crate) rate: u64,
    /// Bytes, and not packets.
    pub(crate) bytes: bool,
}

impl Entry {
    fn new(set: &str, key: Vec<u8>) -> Self {
        Self { set: set.to_owned(), key, ..Self::default() }
    }

    /// The set that it is in.
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The interface of the host that it is about, if it is about one.
    pub fn interface(&self) -> Option<String> {
        let named = ["outside", "speak", "hear", "connections", "packets", "egress"];
        let is_named =
            named.iter().any(|start| self.set.starts_with(start)) || BRIDGED.contains(&self.set.as_str());
        (is_named && self.key.len() >= NAME).then(|| crate::message::text(&self.key[..NAME]))
    }

    /// The one address that a permission is about, if it is about one.
    pub fn about(&self) -> Option<IpAddr> {
        let length = match self.set.as_str() {
            "speak4" | "hear4" => 4,
            "speak6" | "hear6" => 16,
            _ => return None,
        };
        let place = NAME..NAME + length;
        let whose = self.key.get(place.clone())?;
        if self.end.as_ref().is_some_and(|end| end.get(place) != Some(whose)) {
            return None;
        }
        let four = || <[u8; 4]>::try_from(whose).ok().map(IpAddr::from);
        four().or_else(|| <[u8; 16]>::try_from(whose).ok().map(IpAddr::from))
    }

    /// The address of the container that it leads to, if it is about a published port.
    pub fn leads_to(&self) -> Option<IpAddr> {
        if !self.set.starts_with("published") {
            return None;
        }
        let data = self.data.as_ref()?;
        if self.set.starts_with("published4") {
            <[u8; 4]>::try_from(data.get(..4)?).ok().map(IpAddr::from)
        } else {
            <[u8; 16]>::try_from(data.get(..16)?).ok().map(IpAddr::from)
        }
    }

    /// The published port, if it is about one.
    pub fn port(&self) -> Option<u16> {
        let two = self.key.get(self.key.len().checked_sub(4)?..)?;
        self.set.starts_with("published").then(|| u16::from_be_bytes([two[0], two[1]]))
    }
}

/// The entries that an element is made of.
pub(crate) fn entries(element: &Element) -> Vec<Entry> {
    match element {
        Element::Zones(from, to) => {
            vec![Entry::new("zones", [from.to_ne_bytes(), to.to_ne_bytes()].concat())]
        }
        Element::Names(zone, gateway) => {
            let set = format!("names{}", family(*gateway));
            vec![Entry::new(&set, [zone.to_ne_bytes().to_vec(), octets(*gateway)].concat())]
        }
        Element::Outside(interface) => vec![Entry::new("outside", name(interface))],
        Element::Published { .. } => vec![published(element)],
        Element::Allow { interface, permit } => allowed(interface, permit),
        Element::Port { interface, address } => port(interface, *address),
        Element::Packets { interface, packets } => vec![limited("packets", interface, *packets, false)],
        Element::Egress { interface, bytes } => vec![limited("egress", interface, *bytes, true)],
    }
}

/// The host speaks for these addresses outside.
pub(crate) fn spoken_for(net: IpNet) -> Vec<Entry> {
    let set = format!("nat{}", family(net.addr()));
    let (first, last) = (octets(net.network()), octets(net.broadcast()));
    let mut entries = vec![Entry::new(&set, first)];
    if let Some(end) = after(last) {
        let flags = crate::uapi::filter::INTERVAL_END;
        entries.push(Entry { flags, ..Entry::new(&set, end) });
    }
    entries
}

/// A protocol is forwarded only because of us.
pub(crate) fn guarded(protocol: u8) -> Entry {
    Entry::new("guard", vec![protocol])
}

/// An interface that the host had when it became a router.
pub(crate) fn uplink(interface: &str) -> Entry {
    Entry::new("uplinks", name(interface))
}

/// How many connections come from an interface: the kernel makes this one by itself.
pub(crate) fn counted(interface: &str) -> Entry {
    Entry::new("connections", name(interface))
}

fn published(element: &Element) -> Entry {
    let Element::Published { address, protocol, port, to, to_port } = element else {
        return Entry::default();
    };
    let any = if address.is_none() { "_any" } else { "" };
    let set = format!("published{}{any}", family(*to));
    let mut key = address.map(octets).unwrap_or_default();
    key.extend(protocol_word(protocol.number()));
    key.extend(port_word(*port));
    let data = [octets(*to), port_word(*to_port).to_vec()].concat();
    Entry { data: Some(data), ..Entry::new(&set, key) }
}

/// What a port of a bridge says comes from this address, or is about it.
fn port(interface: &str, address: IpAddr) -> Vec<Entry> {
    let key = [name(interface), octets(address)].concat();
    let mut entries = vec![
        Entry::new("locked", name(interface)),
        Entry::new(&format!("port{}", family(address)), key.clone()),
    ];
    if address.is_ipv6() {
        entries.push(Entry::new("target6", key));
    }
    entries
}

/// A permission for one protocol and port, or for all of both.
fn allowed(interface: &str, permit: &Permit) -> Vec<Entry> {
    let direction = if permit.inward { "hear" } else { "speak" };
    let (set, first, last) = match permit.whom {
        Whom::Host if permit.inward => return Vec::new(),
        Whom::Host => (format!("{direction}_host"), Vec::new(), Vec::new()),
        Whom::Outside => (format!("{direction}_outside"), Vec::new(), Vec::new()),
        // Ranges are compared byte by byte: the first is the most significant one here.
        Whom::Zone(zone) => {
            (format!("{direction}_zone"), zone.to_be_bytes().to_vec(), zone.to_be_bytes().to_vec())
        }
        Whom::Net(net) => {
            let set = format!("{direction}{}", family(net.addr()));
            (set, octets(net.network()), octets(net.broadcast()))
        }
    };
    let ((low, high), (from, to)) = match permit.port {
        Some((protocol, port)) => ((protocol.number(), protocol.number()), (port, port)),
        None => ((0, u8::MAX), (0, u16::MAX)),
    };
    let key = |middle, protocol, port| {
        [name(interface), middle, protocol_word(protocol).to_vec(), port_word(port).to_vec()].concat()
    };
    vec![Entry { end: Some(key(last, high, to)), ..Entry::new(&set, key(first, low, from)) }]
}

fn limited(map: &str, interface: &str, rate: u64, bytes: bool) -> Entry {
    let name_of = format!("{map}-{interface}");
    Entry { object: Some(Limit { name: name_of, rate, bytes }), ..Entry::new(map, name(interface)) }
}

fn name(interface: &str) -> Vec<u8> {
    let mut key = interface.as_bytes().to_vec();
    key.resize(NAME, 0);
    key
}

fn protocol_word(number: u8) -> [u8; 4] {
    [number, 0, 0, 0]
}

fn port_word(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn family(address: IpAddr) -> char {
    if address.is_ipv4() { '4' } else { '6' }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The number behind this one; None behind the greatest.
fn after(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

/// What a published port is called.
pub(crate) fn spoken(address: Option<IpAddr>, protocol: Protocol, port: u16) -> String {
    match address {
        Some(address) => format!("port {port}/{} of {address}", protocol.word()),
        None => format!("port {port}/{}", protocol.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_nft_writes_them() {
        let element = Element::Published {
            address: None,
            protocol: Protocol::Tcp,
            port: 80,
            to: [10, 88, 0, 5].into(),
            to_port: 8080,
        };
        let entry = entries(&element).remove(0);
        assert_eq!((entry.set(), entry.port()), ("published4_any", Some(80)));
        assert_eq!(entry.key, [6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(entry.data.as_deref(), Some(&[10, 88, 0, 5, 0x1f, 0x90, 0, 0][..]));
        assert_eq!(entry.leads_to(), Some([10, 88, 0, 5].into()));
    }

    #[test]
    fn a_permission_for_all_is_a_range() {
        let net = Whom::Net("10.0.0.0/8".parse().expect("net"));
        let permit = Permit { inward: false, whom: net, port: None };
        let entry = entries(&Element::Allow { interface: "vabc".into(), permit }).remove(0);
        assert_eq!(entry.set(), "speak4");
        assert_eq!(entry.key[16..], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(entry.end.expect("end")[16..], [10, 255, 255, 255, 255, 0, 0, 0, 255, 255, 0, 0]);
    }

    #[test]
    fn a_subnet_ends_before_the_next() {
        let both = spoken_for("10.88.0.0/24".parse().expect("net"));
        assert_eq!(both[1].key, [10, 88, 1, 0]);
        assert_eq!(spoken_for("0.0.0.0/0".parse().expect("net")).len(), 1);
    }
}
