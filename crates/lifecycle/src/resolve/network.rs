//! Where a container's network comes from: what was said, by whom, and what nobody has to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use spec::container::{IDS, Namespace, RootChange, Spec};
use spec::isolation::Origin;
use spec::network::{
    Asked, Attachment, Choice, DEFAULT, NetworkTable, Networking, Protocol, Publish, Shown, Wish,
};
use spec::observation::Port;
use spec::portable::Portable;
use spec::ready::Ready;
use spec::{Error, Result};

use super::Resolving;
use super::reason::Reasons;
use crate::networks::{NO_MAC, cni, netavark};

/// How to have it otherwise.
const OTHERWISE: &str = "--network NAME|host|none|container:C|interface:ETH";

/// From here on the kernel gives ports to whoever does not ask for one (`ip_local_port_range`, ip(7)).
const EPHEMERAL: u16 = 32_768;

/// Whoever has written a preset of this name for a host says what is usual there, and no more.
const USUAL: &str = "preset default";

/// Below, ports are those of the host's own services; these two are anybody's.
const FIRST_PORT: u16 = 1024;
const WEB: [u16; 2] = [80, 443];

/// Each is held by the keeper.
const MOST_SHOWN: usize = 64;

/// What was decided, and why.
pub(super) struct Decided {
    pub(super) choice: Choice,
    why: String,
    /// It was a flag that said so.
    asked: bool,
    /// Nobody said so.
    usual: bool,
}

impl Resolving<'_> {
    /// Decides on the network, and fills in what of it does not depend on others' addresses: these are given
    /// when the container is made.
    pub(super) fn network(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<Origin> {
        let flags = &self.options.network;
        let table = self.portable.network.clone().merged(flags.clone());
        let mut decided = self.decide(&table)?;
        self.for_users(&mut decided, &table, reasons);
        let mut networking = table.networking()?;
        let origin = match decided.choice {
            Choice::Host => Origin::Host,
            Choice::None => Origin::Own,
            Choice::Container(ref name) => Origin::Container(name.clone()),
            Choice::Path(ref path) => Origin::Path(path.clone()),
            Choice::User => {
                self.carried(&mut networking, &table, reasons)?;
                Origin::Own
            }
            Choice::Attached(ref wishes) => {
                self.must_be_root(wishes)?;
                networking.attachments = attachments(wishes, &table)?;
                if decided.usual {
                    networking.shown =
                        shown_ports(self.portable, self.options.as_packaged, &networking.published);
                    at_most(&mut networking.shown, reasons);
                }
                Origin::Own
            }
        };
        reasons.add("network", shown(&decided.choice), decided.why.as_str(), OTHERWISE);
        if networking.attachments.is_empty() {
            only_names(&mut networking, &table, &decided, flags, reasons)?;
        } else {
            tell(&networking, reasons);
        }
        spec.network = (networking != Networking::default()).then(|| Box::new(networking));
        Ok(origin)
    }

    /// The strongest word: `--network`, `--namespace net=`, the definition's networks, its namespaces, what
    /// only an interface can have, and then what is usual.
    fn decide(&self, table: &NetworkTable) -> Result<Decided> {
        let decided =
            |choice, why: &str, asked| Ok(Decided { choice, why: why.to_owned(), asked, usual: false });
        let flag = self.options.isolation.namespaces.get(&Namespace::Net);
        match (self.options.network.choice()?, flag) {
            (Some(_), Some(origin)) => {
                return Err(Error::user(format!(
                    "--network and --namespace net={origin} both say where the network comes from"
                ))
                .hint("leave one of them out"));
            }
            (Some(choice), None) => return decided(choice, "asked for", true),
            (None, Some(origin)) => return decided(of_origin(origin), "asked for", true),
            (None, None) => {}
        }
        if let Some(choice) = self.portable.network.choice()? {
            return decided(choice, "the package", false);
        }
        let layered = self.layers.get(|layer| layer.namespaces.get(&Namespace::Net).cloned());
        let (said, usual) = match layered {
            Some((origin, USUAL)) => (None, Some((of_origin(&origin), USUAL))),
            Some(said) => (Some(said), None),
            None => (None, None),
        };
        if let Some((origin, whose)) = said {
            return decided(of_origin(&origin), whose, false);
        }
        if let Some(what) = table.needs_own() {
            // Ports that somebody publishes are all that he wants.
            let (why, usual) = (format!("{what} take a network of its own"), table.publish.is_empty());
            return Ok(Decided { choice: self.own(), why, asked: false, usual });
        }
        let (choice, why) = usual.unwrap_or_else(|| self.usual_network());
        Ok(Decided { choice, why: why.to_owned(), asked: false, usual: true })
    }

    /// Where a container is that nobody says anything about.
    fn usual_network(&self) -> (Choice, &'static str) {
        if self.facts.rootless {
            return (Choice::Host, "default without root; --network pasta gives it one of its own");
        }
        if self.layers.value(|layer| layer.root) == Some(RootChange::None) {
            return (Choice::Host, "default, with the host's root");
        }
        let calls = self.portable.policy.as_ref().map(|policy| &policy.syscalls);
        if self.portable.ports.is_empty() && calls.is_some_and(makes_no_socket) {
            return (Choice::None, "it was never seen to open a socket");
        }
        (self.own(), "default")
    }

    /// On a network of its own nobody needs a privilege to send an echo request or to listen on a low port.
    pub(super) fn usual_parameters(&self, spec: &mut Spec) {
        if !crate::networks::is_wired(spec) || !spec.owns(Namespace::Net) {
            return;
        }
        // Groups that are not mapped cannot be named; an ordinary user may have none but his own.
        let mapped = spec.users.as_ref().and_then(|users| users.gids.first()).map(|range| range.count);
        let groups = mapped.unwrap_or(if self.facts.rootless { 1 } else { IDS });
        let usual = [
            ("net.ipv4.ping_group_range", format!("0 {}", groups.saturating_sub(1))),
            ("net.ipv4.ip_unprivileged_port_start", "0".to_owned()),
        ];
        for (name, value) in usual {
            spec.sysctls.entry(name.to_owned()).or_insert(value);
        }
    }

    /// The network of all that name none.
    fn own(&self) -> Choice {
        if self.facts.rootless {
            return Choice::User;
        }
        Choice::Attached(vec![Wish { network: DEFAULT.parse().ok(), ..Wish::default() }])
    }

    /// Links to the host are the host's root's to make.
    fn must_be_root(&self, wishes: &[Wish]) -> Result<()> {
        if !self.facts.rootless {
            return Ok(());
        }
        let what = shown(&Choice::Attached(wishes.to_vec()));
        Err(Error::unsupported(format!("without root a container cannot be on {what}"))
            .hint("--network pasta carries its packets as if they were your own, and publishes ports too; or run it with sudo"))
    }
}

/// Nothing is known of one whose calls are unknown.
fn makes_no_socket(calls: &BTreeSet<String>) -> bool {
    !calls.is_empty() && !["socket", "socketcall", "io_uring_setup"].iter().any(|call| calls.contains(*call))
}

/// Leaves out what is too much, and says so.
fn at_most(shown: &mut Vec<Shown>, reasons: &mut Reasons) {
    let more = shown.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        shown.truncate(MOST_SHOWN);
        let why = format!("{MOST_SHOWN} of the ports that it listens on are shown to the host unasked");
        reasons.add("shown ports", format!("left out: {more}"), why, "-p HOST:CONTAINER");
        reasons.notable();
    }
}

/// The ports that a service is known to listen on, but for those that somebody published.
fn shown_ports(portable: &Portable, trusted: bool, published: &[Publish]) -> Vec<Shown> {
    let mut known: BTreeMap<(Protocol, u16), bool> = BTreeMap::new();
    for Port { protocol, port, local } in &portable.ports {
        let protocol = match protocol.as_str() {
            "tcp" => Protocol::Tcp,
            // The higher ones are those of somebody who asks.
            "udp" if *port < EPHEMERAL => Protocol::Udp,
            _ => continue,
        };
        known.entry((protocol, *port)).and_modify(|known| *known &= local).or_insert(*local);
    }
    let ready = match &portable.ready {
        Some(Ready::Tcp(port)) => Some(*port),
        Some(Ready::Http(url)) => Some(url.port),
        _ => None,
    };
    if let Some(port) = ready {
        // Nobody saw on which address. From its own loopback it is reached on any.
        known.entry((Protocol::Tcp, port)).or_insert(true);
    }
    let is_published =
        |key: &(Protocol, u16)| published.iter().any(|one| (one.protocol, one.container) == *key);
    let free = known.into_iter().filter(|(key, _)| key.1 != 0 && !is_published(key));
    let show = |((protocol, port), local)| {
        let address = Some(Ipv4Addr::LOCALHOST.into());
        // Whoever made the package does not become the host's server of names, or of shells, when that is away.
        let host = if trusted || port >= FIRST_PORT || WEB.contains(&port) { port } else { 0 };
        Shown { publish: Publish { address, host, container: port, protocol }, local }
    };
    free.map(show).collect()
}

fn of_origin(origin: &Origin) -> Choice {
    match origin {
        Origin::Own => Choice::None,
        Origin::Host => Choice::Host,
        Origin::Container(name) => Choice::Container(name.clone()),
        Origin::Path(path) => Choice::Path(path.clone()),
    }
}

/// Without interfaces of its own only names mean something. What a flag has asked for beyond that is an
/// error; what a package has is left out.
fn only_names(
    networking: &mut Networking,
    table: &NetworkTable,
    decided: &Decided,
    flags: &NetworkTable,
    reasons: &mut Reasons,
) -> Result<()> {
    let has = shown(&decided.choice);
    if let Some(what) = flags.needs_own() {
        return Err(Error::user(format!(
            "{what}: that takes interfaces of its own, and its network is {has} ({})",
            decided.why
        ))
        .hint("say which: --network NAME, or --network tsubo for the usual one"));
    }
    if let Some(what) = table.needs_own() {
        let why = if decided.asked { "asked for" } else { decided.why.as_str() };
        reasons.add(
            "network.publish",
            format!("left out: {what}"),
            format!("its network is {has} ({why})"),
            OTHERWISE,
        );
        reasons.notable();
    }
    let (servers, search, hosts) =
        (networking.servers.clone(), networking.search.clone(), networking.hosts.clone());
    *networking = Networking { servers, search, hosts, ..Networking::default() };
    Ok(())
}

/// One interface for each wish. Addresses that are not said are given later.
fn attachments(wishes: &[Wish], table: &NetworkTable) -> Result<Vec<Attachment>> {
    let mut taken: Vec<String> = wishes.iter().filter_map(|wish| wish.interface.clone()).collect();
    let mut all = Vec::new();
    for wish in wishes {
        let interface = match (&wish.interface, &wish.host) {
            (Some(name), _) => name.clone(),
            (None, Some(host)) if !taken.contains(host) => host.clone(),
            _ => free_name(&taken),
        };
        taken.push(interface.clone());
        all.push(attachment(wish, interface, table)?);
    }
    Ok(all)
}

fn free_name(taken: &[String]) -> String {
    let names = (0..).map(|number: u32| format!("eth{number}"));
    names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default()
}

fn attachment(wish: &Wish, interface: String, table: &NetworkTable) -> Result<Attachment> {
    let only = |what: &str| {
        let plain = wish.mac.is_none() && wish.aliases.is_empty() && wish.mtu.is_none();
        plain.then_some(()).ok_or_else(|| {
            Error::user(format!("{what} takes no mac, alias or mtu")).hint("only networks of ours do")
        })
    };
    if let Some(name) = &wish.netavark {
        let asked = netavark::by_environment(asked(wish, table, "a network of podman's")?)?;
        return Ok(Attachment::Netavark { name: name.clone(), interface, asked });
    }
    match (&wish.network, &wish.host, &wish.cni) {
        (_, Some(host), _) => {
            only("an interface of the host")?;
            // Nobody says how many neighbours a bare address has.
            if let Some(bare) = wish.addresses.iter().find(|net| net.prefix_len() == net.max_prefix_len()) {
                return Err(Error::user(format!(
                    "nothing says how many neighbours {} has on {host}",
                    bare.addr()
                ))
                .hint(format!("say it, as in interface:{host}:ip={}/24", bare.addr())));
            }
            let (host, addresses) = (host.clone(), wish.addresses.clone());
            Ok(Attachment::Interface { host, interface, addresses, dhcp: wish.dhcp })
        }
        (_, _, Some(name)) => {
            let asked = cni::by_environment(asked(wish, table, "a configuration of CNI")?)?;
            Ok(Attachment::Cni { name: name.clone(), interface, asked })
        }
        (network, ..) => {
            let aliases =
                wish.aliases.iter().chain(&table.aliases).map(|name| spec::network::word::alias(name));
            let mut aliases = aliases.collect::<Result<Vec<_>>>()?;
            aliases.sort();
            aliases.dedup();
            Ok(Attachment::Network {
                network: network.clone().map_or_else(|| DEFAULT.parse(), Ok)?,
                interface,
                addresses: wish.addresses.clone(),
                mac: wish.mac.unwrap_or(NO_MAC),
                aliases,
                dhcp: wish.dhcp,
                mtu: wish.mtu,
            })
        }
    }
}

/// What is asked of those who make it. How large packets are and who gives addresses they say themselves.
fn asked(wish: &Wish, table: &NetworkTable, what: &str) -> Result<Asked> {
    if wish.dhcp || wish.mtu.is_some() {
        return Err(
            Error::user(format!("{what} takes no dhcp or mtu")).hint("they are for those who make it to say")
        );
    }
    let mut aliases = wish.aliases.iter().chain(&table.aliases).map(|name| spec::network::word::alias(name));
    let aliases = aliases.by_ref().collect::<Result<Vec<_>>>()?;
    Ok(Asked { addresses: wish.addresses.clone(), mac: wish.mac, aliases, ..Asked::default() })
}

fn tell(networking: &Networking, reasons: &mut Reasons) {
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let published = networking.published.iter().map(ToString::to_string).collect();
    reasons.add("published ports", list(published), "what the host passes on", "-p HOST:CONTAINER");
    if !networking.shown.is_empty() {
        let shown = networking.shown.iter().map(|shown| shown.publish.to_string()).collect();
        let why = "where it listens, for this host alone; another port where that is taken (tsubo port)";
        reasons.add("shown ports", list(shown), why, "-p HOST:CONTAINER, --network NAME");
    }
    if networking.attachments.iter().all(Attachment::is_foreign) {
        let why = "others make its network, by rules of their own";
        return reasons.add("may talk to", "as its network says", why, "--network tsubo");
    }
    let outside = if networking.closed { "closed" } else { "open" };
    reasons.add("outside", outside, "the network may say less", "--closed, --allow WHOM");
    let allowed: Vec<String> = networking.allow.iter().map(ToString::to_string).collect();
    let why = "besides the containers of its group on its networks";
    reasons.add("may talk to", list(allowed), why, "--allow host:5432, --allow from:NAME");
}

fn shown(choice: &Choice) -> String {
    match choice {
        Choice::Host => "host".to_owned(),
        Choice::None => "loopback only".to_owned(),
        Choice::Container(name) => format!("container:{name}"),
        Choice::Path(path) => path.display().to_string(),
        Choice::User => "pasta".to_owned(),
        Choice::Attached(wishes) => {
            let one = |wish: &Wish| match (&wish.network, &wish.host, &wish.cni) {
                (_, Some(host), _) => format!("interface {host}"),
                (_, _, Some(name)) => format!("CNI {name}"),
                (Some(name), ..) => format!("network {name}"),
                _ => match &wish.netavark {
                    Some(name) => format!("podman's network {name}"),
                    None => format!("network {DEFAULT}"),
                },
            };
            wishes.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spec::container::Place;
    use spec::portable::Policy;

    use super::*;
    use crate::resolve::{Reason, RunOptions, explained};

    fn portable(words: &str) -> Portable {
        let mut portable = Portable::new("web".parse().expect("name"), vec!["/bin/true".to_owned()]);
        portable.network = table(words);
        portable
    }

    fn table(words: &str) -> NetworkTable {
        serde_json::from_str(words).expect(words)
    }

    fn of(portable: &Portable, words: &str) -> Result<(Spec, Vec<Reason>)> {
        let mut options = RunOptions::named(portable.name.clone());
        options.network = table(words);
        explained(portable, Path::new(env!("CARGO_MANIFEST_DIR")), &options)
    }

    fn attachments_of(spec: &Spec) -> &[Attachment] {
        spec.network.as_ref().map_or(&[], |network| &network.attachments)
    }

    fn listening(on: &[(&str, u16, bool)]) -> Portable {
        let mut listening = portable("{}");
        let port = |(protocol, port, local): &(&str, u16, bool)| Port {
            protocol: (*protocol).to_owned(),
            port: *port,
            local: *local,
        };
        listening.ports = on.iter().map(port).collect();
        listening
    }

    fn shown_by(portable: &Portable, words: &str) -> Vec<(String, bool)> {
        let (spec, _) = of(portable, words).expect("spec");
        let shown = spec.network.map(|network| network.shown).unwrap_or_default();
        shown.iter().map(|shown| (shown.publish.to_string(), shown.local)).collect()
    }

    #[test]
    fn what_nobody_says_is_a_network_of_its_own() {
        let (spec, reasons) = of(&portable("{}"), "{}").expect("spec");
        assert!(spec.owns(Namespace::Net));
        assert!(
            matches!(attachments_of(&spec), [Attachment::Network { network, .. }] if network.as_str() == DEFAULT)
        );
        assert!(reasons.iter().any(|reason| reason.what == "network" && reason.why == "default"));
    }

    #[test]
    fn what_opens_no_socket_needs_no_network() {
        let mut quiet = portable("{}");
        let calls = |calls: &[&str]| Policy {
            syscalls: calls.iter().map(|call| (*call).to_owned()).collect(),
            ..Policy::default()
        };
        quiet.policy = Some(calls(&["read", "socketpair"]));
        let (spec, _) = of(&quiet, "{}").expect("spec");
        assert!(spec.owns(Namespace::Net) && spec.network.is_none());
        for policy in [calls(&["read", "socket"]), calls(&[])] {
            quiet.policy = Some(policy);
            assert_eq!(attachments_of(&of(&quiet, "{}").expect("spec").0).len(), 1);
        }
    }

    #[test]
    fn where_it_listens_is_shown_to_the_host_unless_somebody_says_otherwise() {
        let seen = [
            ("tcp", 80, false),
            ("tcp", 80, true),
            ("tcp", 6379, true),
            ("udp", 53, false),
            ("udp", 45_000, false),
        ];
        let all = [("127.0.0.1:80:80", false), ("127.0.0.1:6379:6379", true), ("127.0.0.1:0:53/udp", false)];
        let mut service = listening(&seen);
        assert_eq!(shown_by(&service, "{}"), all.map(|(port, local)| (port.to_owned(), local)));
        assert_eq!(shown_by(&service, "{\"publish\":[\"8080:80\"]}"), []);
        assert_eq!(shown_by(&service, "{\"networks\":[\"tsubo\"]}"), []);
        service.ports.clear();
        service.ready = Some("tcp:8080".parse().expect("ready"));
        assert_eq!(shown_by(&service, "{}"), [("127.0.0.1:8080:8080".to_owned(), true)]);
    }

    #[test]
    fn a_network_of_its_own_takes_no_users_of_the_host() {
        let (spec, reasons) =
            of(&listening(&[("tcp", 80, false)]), "{\"publish\":[\"8080:80\"]}").expect("spec");
        assert!(spec.owns(Namespace::Net) && spec.users.is_some(), "its root may bind port 80 there");
        let reason = reasons.iter().find(|reason| reason.what == "network").expect("reason");
        assert!(reason.state.contains(DEFAULT) && reason.why.contains("published ports"), "{reason:?}");
        assert!(
            matches!(&attachments_of(&spec)[0], Attachment::Network { network, interface, .. } if network.as_str() == DEFAULT && interface == "eth0")
        );
    }

    #[test]
    fn interfaces_have_names_of_their_own() {
        let words = "{\"networks\":[\"a\",\"b:name=eth0\",\"interface:up1\",\"c\"],\"aliases\":[\"www\"]}";
        let (spec, _) = of(&portable("{}"), words).expect("spec");
        let names: Vec<&str> = attachments_of(&spec)
            .iter()
            .map(|attachment| match attachment {
                Attachment::Network { interface, .. } | Attachment::Interface { interface, .. } => {
                    interface.as_str()
                }
                _ => "",
            })
            .collect();
        assert_eq!(names, ["eth1", "eth0", "up1", "eth2"]);
        assert!(
            matches!(&attachments_of(&spec)[0], Attachment::Network { aliases, .. } if aliases == &["www"])
        );
    }

    #[test]
    fn flags_are_stronger_than_packages() {
        let packaged = portable("{\"networks\":[\"tsubo\"],\"publish\":[\"8080:80\"],\"closed\":true}");
        let (spec, _) = of(&packaged, "{\"publish\":[\"9090:80\"]}").expect("spec");
        let network = spec.network.expect("network");
        assert_eq!(network.published.iter().map(ToString::to_string).collect::<Vec<_>>(), ["9090:80"]);
        assert!(network.closed);
        let (spec, reasons) = of(&packaged, "{\"networks\":[\"host\"]}").expect("spec");
        assert!(spec.network.is_none() && !spec.namespaces.contains_key(&Namespace::Net));
        assert!(reasons.iter().any(|reason| reason.notable && reason.state.contains("published ports")));
        let (spec, _) = of(&packaged, "{\"networks\":[\"container:db\"]}").expect("spec");
        assert_eq!(spec.namespaces[&Namespace::Net], Place::Container("db".into()));
        let (spec, _) = of(&packaged, "{\"networks\":[\"none\"],\"dns\":[\"9.9.9.9\"]}").expect("spec");
        assert!(spec.owns(Namespace::Net) && spec.network.expect("names").servers.len() == 1);
    }

    #[test]
    fn what_goes_with_no_interface_is_refused() {
        for words in [
            "{\"networks\":[\"host\"],\"publish\":[\"80\"]}",
            "{\"networks\":[\"none\"],\"allow\":[\"host\"]}",
            "{\"networks\":[\"container:db\"],\"closed\":true}",
            "{\"networks\":[\"interface:eth1:ip=10.0.0.7\"]}",
            "{\"networks\":[\"interface:eth1:mac=02:74:00:00:00:01\"]}",
            "{\"networks\":[\"cni:ptp:dhcp\"]}",
            "{\"networks\":[\"netavark:podman:mtu=1400\"]}",
        ] {
            let error = of(&portable("{}"), words).expect_err(words);
            assert!(!error.to_string().is_empty(), "{error:?}");
        }
        let mut options = RunOptions::named("web".parse().expect("name"));
        options.network = table("{\"networks\":[\"tsubo\"]}");
        options.isolation = spec::isolation::set("namespaces.net=own").expect("setting");
        let both = explained(&portable("{}"), Path::new("/"), &options).expect_err("both");
        assert!(both.to_string().contains("both say"), "{both:?}");
    }
}
