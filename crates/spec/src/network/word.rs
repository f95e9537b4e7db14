//! `--network` in words.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::{DEFAULT, Mac};
use crate::{Error, Name, Result};

/// Words for something else than a network of this name.
const TAKEN: [&str; 9] =
    ["host", "none", "own", "private", "pasta", "slirp4netns", "bridge", "default", "outside"];

/// The longest name of an interface (IFNAMSIZ, less the end).
const LONGEST_INTERFACE: usize = 15;

/// The least that an IP packet may be (RFC 791), and the most that an interface takes.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

const FORMS: &str = "as in NAME, NAME:ip=10.88.0.7,alias=db, host, none, container:NAME, ns:/PATH, interface:ETH, cni:NAME, netavark:NAME, or pasta";

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The host's.
    Host,
    /// Its own, with nothing but the loopback.
    None,
    /// That of another container.
    Container(String),
    /// By the file of a network namespace.
    Path(PathBuf),
    /// Its own, whose packets a process carries as if they were its own (pasta).
    User,
    /// An interface on each of these.
    Attached(Vec<Wish>),
}

/// One interface that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// A network of ours.
    pub network: Option<Name>,
    /// Or an interface of the host.
    pub host: Option<String>,
    /// Or what a configuration of CNI says.
    pub cni: Option<String>,
    /// Or a network of podman's.
    pub netavark: Option<String>,
    /// Its name inside; None for `eth0` and so on.
    pub interface: Option<String>,
    /// Addresses by hand; without a length of the prefix they are whole ones (/32, /128).
    pub addresses: Vec<IpNet>,
    /// MAC address by hand.
    pub mac: Option<Mac>,
    /// Names besides the container's.
    pub aliases: Vec<String>,
    /// Addresses are asked for on the network.
    pub dhcp: bool,
    /// MTU other than the network's.
    pub mtu: Option<u32>,
}

impl Choice {
    /// What several words mean together; None for no word.
    ///
    /// # Errors
    /// A word that is none; one that goes with no other; a network or an interface given twice.
    pub fn of(words: &[String]) -> Result<Option<Self>> {
        let choices = words.iter().map(|word| word.parse()).collect::<Result<Vec<Self>>>()?;
        let mut wishes: Vec<Wish> = Vec::new();
        let several = choices.len() > 1;
        for (choice, word) in choices.into_iter().zip(words) {
            match choice {
                Self::Attached(more) => wishes.extend(more),
                alone if !several => return Ok(Some(alone)),
                _ => {
                    return Err(Error::user(format!("the network {word:?} goes with no other")).hint(
                        "several networks are networks of ours, interfaces, configurations of CNI, and podman's",
                    ));
                }
            }
        }
        each_once(&wishes)?;
        Ok((!wishes.is_empty()).then_some(Self::Attached(wishes)))
    }
}

fn each_once(wishes: &[Wish]) -> Result<()> {
    for (index, wish) in wishes.iter().enumerate() {
        let before = &wishes[..index];
        let twice = |of: fn(&Wish) -> Option<&str>| {
            of(wish).filter(|own| before.iter().any(|one| of(one) == Some(*own)))
        };
        if let Some(name) = twice(|wish| wish.network.as_ref().map(Name::as_str)) {
            return Err(Error::user(format!("the network {name} is given twice")).hint(
                "a container hangs on a network once; it may have further names there: NAME:alias=A,alias=B",
            ));
        }
        if let Some(name) = twice(|wish| wish.host.as_deref()).or(twice(|wish| wish.interface.as_deref())) {
            return Err(Error::user(format!("the interface {name} is given twice")));
        }
    }
    Ok(())
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |what: String| Error::user(what).hint(FORMS);
        match text.split_once(':') {
            None if text.is_empty() => Err(bad("the network is empty".to_owned())),
            None if text == "host" => Ok(Self::Host),
            None if matches!(text, "none" | "own" | "private") => Ok(Self::None),
            None if matches!(text, "pasta" | "slirp4netns") => Ok(Self::User),
            _ if text.starts_with('/') => Ok(Self::Path(text.into())),
            Some(("container", "")) => Err(bad("container: names no container".to_owned())),
            Some(("container", name)) => Ok(Self::Container(name.to_owned())),
            Some(("ns" | "path", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
            Some(("ns" | "path", path)) => Err(bad(format!("{path:?} is no path of a network namespace"))),
            Some(("interface", rest)) => {
                attached(rest, |name| Ok(Wish { host: Some(interface(name)?), ..Wish::default() }))
            }
            Some(("cni", rest)) => attached(rest, |name| {
                Ok(Wish { cni: Some(theirs(name, "a CNI configuration")?), ..Wish::default() })
            }),
            Some(("netavark", rest)) => attached(rest, |name| {
                Ok(Wish { netavark: Some(theirs(name, "a network of podman's")?), ..Wish::default() })
            }),
            Some((word @ ("host" | "none" | "pasta" | "slirp4netns" | "own" | "private"), _)) => {
                Err(bad(format!("the network {word:?} takes no options")))
            }
            _ => attached(text, |name| {
                let name = if matches!(name, "bridge" | "default") { DEFAULT } else { name };
                let network = name
                    .parse::<Name>()
                    .map_err(|error| error.context(format!("the network {:?}", shown(text))))?;
                Ok(Wish { network: Some(network), ..Wish::default() })
            }),
        }
    }
}

/// What others call something of theirs: both CNI and podman take letters, digits, `_`, `.` and `-`.
fn theirs(name: &str, what: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good =
        name.len() <= 250 && name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    good.then(|| name.to_owned())
        .ok_or_else(|| Error::user(format!("{:?} is no name of {what}", shown(name))).hint(FORMS))
}

/// What comes of a name with options behind a colon.
fn attached(text: &str, named: impl Fn(&str) -> Result<Wish>) -> Result<Choice> {
    let (name, options) = text.split_once(':').map_or((text, None), |(name, options)| (name, Some(options)));
    let mut wish = named(name)?;
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        add(&mut wish, option).map_err(|error| error.context(format!("the network {:?}", shown(text))))?;
    }
    if wish.dhcp && !wish.addresses.is_empty() {
        return Err(Error::user(format!(
            "the network {:?} has addresses both by hand and by DHCP",
            shown(text)
        )));
    }
    Ok(Choice::Attached(vec![wish]))
}

fn add(wish: &mut Wish, option: &str) -> Result<()> {
    let unknown = || {
        Error::user(format!("{:?} is no option of a network", shown(option))).hint(
            "they are ip=ADDRESS, ip6=ADDRESS, mac=ADDRESS, alias=NAME, name=INTERFACE, mtu=BYTES, dhcp",
        )
    };
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    match key {
        "ip" | "ip4" => wish.addresses.push(address(value, Some(false))?),
        "ip6" => wish.addresses.push(address(value, Some(true))?),
        "mac" => wish.mac = Some(value.parse()?),
        "alias" => wish.aliases.push(alias(value)?),
        "name" => wish.interface = Some(interface(value)?),
        "mtu" => wish.mtu = Some(mtu(value)?),
        "dhcp" if matches!(value, "" | "true" | "yes") => wish.dhcp = true,
        _ => return Err(unknown()),
    }
    Ok(())
}

/// An address by hand; of IPv6 or of IPv4, if that is said.
///
/// # Errors
/// What is none, or of the other kind; one that no interface can have.
pub fn address(text: &str, six: Option<bool>) -> Result<IpNet> {
    let kind = match six {
        Some(true) => "IPv6 address",
        Some(false) => "IPv4 address",
        None => "IP address",
    };
    let bad = || {
        Error::user(format!("{:?} is no {kind}", shown(text))).hint(
            "as in 10.88.0.7 or fd00::7; with the prefix's length where no subnet tells it: 192.168.1.7/24",
        )
    };
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| bad())?),
    };
    let address = net.addr();
    let is_one = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    let right = six.is_none_or(|six| six == address.is_ipv6());
    if is_one && right { Ok(net) } else { Err(bad()) }
}

/// What a network knows a container by besides its name: one label. A name with dots is one of somebody elsewhere,
/// for whom no container may be taken.
///
/// # Errors
/// What is none (RFC 1123), or longer than any.
pub fn alias(text: &str) -> Result<String> {
    match domain(text)? {
        dotted if dotted.contains('.') => {
            Err(Error::user(format!("{:?} has dots, and is a name of somebody elsewhere", shown(text))).hint(
                "an alias is one word, as in db; --add-host NAME:ADDRESS tells one container of another name",
            ))
        }
        label => Ok(label),
    }
}

/// A name that a resolver can be asked for: labels of letters, digits, `-` and `_`.
///
/// # Errors
/// What is none (RFC 1123), or longer than any.
pub(super) fn domain(text: &str) -> Result<String> {
    let good = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(good) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::user(format!("{:?} is no name that a resolver can know", shown(text)))
        .hint("labels of letters, digits and '-', 63 bytes each, with dots between them"))
}

/// A name of an interface, as the kernel takes it.
///
/// # Errors
/// What it does not take.
pub fn interface(text: &str) -> Result<String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    let good = (1..=LONGEST_INTERFACE).contains(&text.len())
        && !text.contains(odd)
        && !matches!(text, "." | ".." | "lo" | "all" | "default");
    if good {
        return Ok(text.to_owned());
    }
    Err(Error::user(format!("{:?} is no name for an interface", shown(text)))
        .hint("1 to 15 bytes without spaces, slashes and colons, as in eth0"))
}

/// Bytes of a packet.
///
/// # Errors
/// What no interface takes.
pub fn mtu(text: &str) -> Result<u32> {
    text.parse().ok().filter(|bytes| MTU.contains(bytes)).ok_or_else(|| {
        Error::user(format!("{:?} is no MTU", shown(text))).hint(format!(
            "a number from {} to {}, as in 1450; IPv6 takes 1280 at least",
            MTU.start(),
            MTU.end()
        ))
    })
}

/// Whether a network may be called so.
///
/// # Errors
/// A word that means something else where a network is named.
pub fn nameable(name: &Name) -> Result<()> {
    if !TAKEN.contains(&name.as_str()) {
        return Ok(());
    }
    Err(Error::user(format!("a network cannot be called {name}: that word means something else"))
        .hint(format!("other words are {}", TAKEN.join(", "))))
}

/// As much of it as is worth showing.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    match text.chars().count() > MOST {
        true => text.chars().take(MOST).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Option<Choice>> {
        Choice::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    fn one(word: &str) -> Choice {
        of(&[word]).expect(word).expect("one")
    }

    #[test]
    fn words_that_stand_alone() {
        assert_eq!(of(&[]).expect("nothing"), None);
        assert_eq!(one("host"), Choice::Host);
        assert_eq!((one("none"), one("own")), (Choice::None, Choice::None));
        assert_eq!(one("container:web"), Choice::Container("web".into()));
        assert_eq!(one("ns:/run/netns/a"), Choice::Path("/run/netns/a".into()));
        assert_eq!(one("/proc/1/ns/net"), Choice::Path("/proc/1/ns/net".into()));
        assert_eq!((one("pasta"), one("slirp4netns")), (Choice::User, Choice::User));
        for pair in [["host", "none"], ["a", "host"], ["container:a", "b"], ["pasta", "a"]] {
            assert!(of(&pair).expect_err("together").to_string().contains("no other"), "{pair:?}");
        }
    }

    #[test]
    fn several_networks_with_options() {
        let words = [
            "front:ip=10.9.0.7,ip6=fd00::7,mac=02:74:00:00:00:01,alias=WEB,alias=www-site,mtu=1450",
            "back:name=eth9",
            "lan:dhcp",
            "interface:eth1:name=up,ip=192.168.7.2/24",
            "cni:ptp",
            "netavark:podman:ip=10.88.7.7",
        ];
        let Some(Choice::Attached(wishes)) = of(&words).expect("words") else { panic!("no wishes") };
        let front = &wishes[0];
        assert_eq!(front.network.as_ref().map(Name::as_str), Some("front"));
        assert_eq!(front.addresses, ["10.9.0.7/32".parse().expect("v4"), "fd00::7/128".parse().expect("v6")]);
        assert_eq!(
            (front.aliases.as_slice(), front.mtu),
            (&["web".to_owned(), "www-site".to_owned()][..], Some(1450))
        );
        assert_eq!(front.mac.map(|mac| mac.to_string()).as_deref(), Some("02:74:00:00:00:01"));
        assert_eq!(wishes[1].interface.as_deref(), Some("eth9"));
        assert!(wishes[2].dhcp && wishes[3].host.as_deref() == Some("eth1"));
        assert_eq!(wishes[3].addresses[0].prefix_len(), 24);
        assert_eq!(wishes[4].cni.as_deref(), Some("ptp"));
        assert_eq!(wishes[5].netavark.as_deref(), Some("podman"));
        let Choice::Attached(wishes) = one("bridge") else { panic!("Docker's word") };
        assert_eq!(wishes[0].network.as_ref().map(Name::as_str), Some(DEFAULT));
    }

    #[test]
    fn nonsense_is_refused_in_clear_words() {
        let long = "n".repeat(300);
        for (word, part) in [
            ("", "empty"),
            ("a b", "' ' is not allowed"),
            ("..", "does not start"),
            (long.as_str(), "300 bytes"),
            ("a:ip=10.0.0.300", "no IPv4 address"),
            ("a:ip=fd00::1", "no IPv4 address"),
            ("a:ip6=10.0.0.1", "no IPv6 address"),
            ("a:ip=127.0.0.1", "no IPv4 address"),
            ("a:ip=224.0.0.1", "no IPv4 address"),
            ("a:mac=01:00:5e:00:00:01", "no MAC address"),
            ("a:alias=a b", "no name that a resolver"),
            ("a:alias=", "no name that a resolver"),
            ("a:alias=github.com", "somebody elsewhere"),
            ("a:name=a/b", "no name for an interface"),
            ("a:name=lo", "no name for an interface"),
            ("a:name=abcdefghijklmnop", "no name for an interface"),
            ("a:mtu=60", "no MTU"),
            ("a:color=red", "no option of a network"),
            ("a:dhcp,ip=10.0.0.7", "both"),
            ("host:ip=10.0.0.7", "no options"),
            ("container:", "no container"),
            ("ns:relative", "no path"),
            ("interface:", "no name for an interface"),
            ("cni:../x", "CNI"),
            ("cni:", "CNI"),
            ("netavark:a/b", "podman"),
        ] {
            let error = of(&[word]).expect_err(word);
            assert!(error.chain().contains(part), "{word}: {}", error.chain());
            assert!(!error.chain().contains(&long), "so much is not repeated");
        }
        assert!(of(&["a", "a:ip=10.0.0.7"]).expect_err("twice").to_string().contains("twice"));
        assert!(of(&["a:name=x", "b:name=x"]).is_err() && of(&["interface:e", "interface:e"]).is_err());
        assert!(nameable(&"host".parse().expect("name")).is_err());
        nameable(&"front".parse().expect("name")).expect("a name");
    }
}
