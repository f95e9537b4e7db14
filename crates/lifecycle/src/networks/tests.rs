//! Networks and leases in a state directory of the test's own.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use spec::container::{Process, Root, Spec};
use spec::network::{Attachment, Kind, Mac, Networking};
use spec::{ErrorKind, Id, Name};

use super::*;
use crate::disk::{self, Durable};
use crate::home::{Home, new_id};
use crate::record::Record;

struct House {
    dir: tempfile::TempDir,
    networks: Networks,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for inner in ["lib", "run"] {
            fs::create_dir(dir.path().join(inner)).expect("made");
        }
        let home = Home::at(&dir.path().join("lib"), &dir.path().join("run"));
        Self { networks: Networks::of(&home), dir }
    }

    fn make(&self, name: &str, subnet: &str) -> spec::network::Network {
        let net = subnet.parse().expect(subnet);
        let subnets = vec![WantedSubnet { net, gateway: None, range: None }];
        self.networks.create(&Wanted { subnets, ..Wanted::named(parsed(name)) }).expect(name)
    }

    /// A container that is written down.
    fn container(&self, name: &str, attachments: Vec<Attachment>) -> spec::Result<Spec> {
        let mut spec = unwritten(name, attachments);
        self.networks.lease(&mut spec)?;
        self.write(&spec);
        Ok(spec)
    }

    fn write(&self, spec: &Spec) {
        let dir = self.dir.path().join("lib/containers").join(&spec.name);
        fs::create_dir_all(&dir).expect("made");
        let record = Record {
            version: crate::record::VERSION,
            spec: spec.clone(),
            image: String::new(),
            created: 0,
            remove: false,
            life: spec::life::Life::default(),
            ports: BTreeSet::new(),
            overcommit: false,
            asked: None,
            service: None,
        };
        disk::write_json(&dir.join("container.json"), &record, Durable::No).expect("written");
    }

    fn forget(&self, name: &str) {
        fs::remove_dir_all(self.dir.path().join("lib/containers").join(name)).expect("removed");
    }

    /// As after a boot.
    fn lose_run(&self) {
        fs::remove_dir_all(self.dir.path().join("run")).expect("removed");
        fs::create_dir(self.dir.path().join("run")).expect("made");
    }

    fn leases(&self, name: &str) -> BTreeSet<String> {
        let dir = self.networks.run_dir(&parsed(name)).join("leases");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

fn parsed(name: &str) -> Name {
    name.parse().expect(name)
}

fn unwritten(name: &str, attachments: Vec<Attachment>) -> Spec {
    let (root, process) = (Root::Tree { path: "/tree".into() }, Process::new(vec!["true".into()]));
    let mut spec = Spec::new(new_id().expect("id"), parsed(name), root, process);
    spec.network = Some(Box::new(Networking { attachments, ..Networking::default() }));
    spec
}

fn on(network: &str, addresses: &[&str]) -> Attachment {
    Attachment::Network {
        network: parsed(network),
        interface: "eth0".to_owned(),
        addresses: addresses
            .iter()
            .map(|text| spec::network::word::address(text, None).expect(text))
            .collect(),
        mac: NO_MAC,
        aliases: Vec::new(),
        dhcp: false,
        mtu: None,
    }
}

fn with_mac(attachment: Attachment, own: &str) -> Attachment {
    match attachment {
        Attachment::Network { network, interface, addresses, aliases, dhcp, mtu, .. } => {
            let mac = own.parse().expect(own);
            Attachment::Network { network, interface, addresses, mac, aliases, dhcp, mtu }
        }
        other => other,
    }
}

fn addresses(spec: &Spec) -> Vec<String> {
    let attachments = spec.network.iter().flat_map(|network| &network.attachments);
    let each = attachments.flat_map(|attachment| match attachment {
        Attachment::Network { addresses, .. } => addresses.clone(),
        _ => Vec::new(),
    });
    each.map(|address: IpNet| address.to_string()).collect()
}

fn mac(spec: &Spec) -> Mac {
    match &spec.network.as_ref().expect("network").attachments[0] {
        Attachment::Network { mac, .. } => *mac,
        _ => NO_MAC,
    }
}

#[test]
fn networks_are_made_listed_found_and_removed() {
    let house = House::new();
    let networks = &house.networks;
    let made = networks.create(&Wanted::named(parsed("front"))).expect("made");
    assert!(made.names && made.kind == Kind::Nat && !made.subnets.is_empty());
    assert_eq!(
        networks.create(&Wanted::named(parsed("front"))).expect_err("twice").kind(),
        ErrorKind::Conflict
    );
    assert!(networks.create(&Wanted::named(parsed("host"))).is_err(), "a word");
    let second = networks.create(&Wanted::named(parsed("back"))).expect("made");
    assert!(!overlap(&made, &second), "{made:?} {second:?}");
    assert_eq!(networks.names().expect("names"), [parsed("back"), parsed("front")]);
    assert_eq!(networks.find(&made.id.to_string()[..6]).expect("by id").name, parsed("front"));
    let error = networks.find("none-such").expect_err("none");
    assert!(error.kind() == ErrorKind::NotFound && error.hints()[0].contains("network create"));
    assert_eq!(networks.remove("back").expect("removed"), parsed("back"));
    assert_eq!(networks.list().expect("list"), [made]);
    assert_eq!(networks.remove("back").expect_err("gone").kind(), ErrorKind::NotFound);
}

fn overlap(one: &spec::network::Network, other: &spec::network::Network) -> bool {
    let meets = |a: IpNet, b: IpNet| a.contains(&b) || b.contains(&a);
    one.subnets.iter().any(|a| other.subnets.iter().any(|b| meets(a.net, b.net)))
}

#[test]
fn many_who_make_networks_at_once_get_addresses_of_their_own() {
    let house = House::new();
    let networks = &house.networks;
    std::thread::scope(|scope| {
        for number in 0..12 {
            scope
                .spawn(move || networks.create(&Wanted::named(parsed(&format!("n{number}")))).expect("made"));
            scope.spawn(move || networks.usual().expect("the usual one"));
        }
    });
    let all = networks.list().expect("list");
    assert_eq!(all.len(), 13);
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| !overlap(one, other)), "{one:?}");
        assert!(all[..index].iter().all(|other| one.zones[""] != other.zones[""]));
    }
}

#[test]
fn a_container_keeps_its_addresses_over_boots() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    let one = house.container("one", vec![on("front", &[])]).expect("leased");
    let two = house.container("two", vec![on("front", &["10.200.0.9"])]).expect("leased");
    assert_eq!(addresses(&one), ["10.200.0.2/24"]);
    assert_eq!(addresses(&two), ["10.200.0.9/24"]);
    assert_eq!(mac(&one).to_string(), "02:74:0a:c8:00:02");
    house.lose_run();
    let three = house.container("three", vec![on("front", &[])]).expect("leased");
    assert_eq!(house.leases("front").len(), 3, "those before are there again");
    assert_ne!(addresses(&three), addresses(&one));
    house.networks.hold(&one).expect("still its own");
    let taken = house.container("four", vec![on("front", &["10.200.0.9"])]).expect_err("taken");
    assert!(
        taken.kind() == ErrorKind::Conflict && taken.to_string().contains("container two's"),
        "{taken:?}"
    );
    let members = house.networks.members(&parsed("front")).expect("members");
    assert_eq!(
        members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(),
        ["one", "three", "two"]
    );
    assert_eq!(members[2].addresses, [IpAddr::from([10, 200, 0, 9])]);
}

#[test]
fn an_address_is_not_given_again_at_once() {
    let house = House::new();
    house.make("front", "10.200.0.0/29");
    let one = house.container("one", vec![on("front", &[])]).expect("leased");
    house.networks.release(&one);
    house.forget("one");
    let two = house.container("two", vec![on("front", &[])]).expect("leased");
    assert_eq!(
        (addresses(&one), addresses(&two)),
        (vec!["10.200.0.2/29".into()], vec!["10.200.0.3/29".into()])
    );
    let given: Vec<_> = ["c", "d", "e", "f"]
        .map(|name| addresses(&house.container(name, vec![on("front", &[])]).expect("leased")))
        .concat();
    assert_eq!(
        given,
        ["10.200.0.4/29", "10.200.0.5/29", "10.200.0.6/29", "10.200.0.2/29"],
        "round and round"
    );
    let full = house.container("g", vec![on("front", &[])]).expect_err("full");
    assert!(full.kind() == ErrorKind::Conflict && full.hints()[0].contains("larger network"), "{full:?}");
    assert_eq!(house.leases("front").len(), 5);
    // What was lost with its container is found when it is needed.
    house.forget("d");
    assert_eq!(
        addresses(&house.container("g", vec![on("front", &[])]).expect("reclaimed")),
        ["10.200.0.5/29"]
    );
}

#[test]
fn addresses_and_macs_by_hand_are_checked_and_given_once() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    for (bad, part) in [
        ("10.201.0.5", "not in network"),
        ("10.200.0.1", "gateway"),
        ("10.200.0.0", "all or none"),
        ("10.200.0.255", "all or none"),
        ("fd00::7", "not in network"),
    ] {
        let spec = unwritten("x", vec![on("front", &[bad])]);
        let error = house.networks.foresee(&spec).expect_err(bad);
        assert!(error.kind() == ErrorKind::User && error.to_string().contains(part), "{bad}: {error:?}");
        assert!(house.networks.lease(&mut spec.clone()).is_err());
    }
    let own = "02:74:00:00:00:01";
    let one = house.container("one", vec![with_mac(on("front", &[]), own)]).expect("leased");
    assert_eq!(mac(&one).to_string(), own);
    let two = house.container("two", vec![with_mac(on("front", &[]), own)]).expect_err("twice");
    assert!(two.kind() == ErrorKind::Conflict && two.to_string().contains("container one's"), "{two:?}");
    assert_eq!(house.leases("front").len(), 1, "who is refused keeps nothing");
    let odd = house.container("odd", vec![with_mac(on("front", &[]), "02:74:0a:c8:00:05")]).expect("its MAC");
    let next = house.container("next", vec![on("front", &["10.200.0.5"])]).expect("its address");
    assert!(mac(&next) != mac(&odd) && mac(&next).is_ordinary());
}

#[test]
fn both_kinds_of_addresses_have_one_number() {
    let house = House::new();
    let subnets = ["10.200.0.0/24", "fd00:7::/64"].map(|net| WantedSubnet {
        net: net.parse().expect(net),
        gateway: None,
        range: None,
    });
    house
        .networks
        .create(&Wanted { subnets: subnets.to_vec(), ..Wanted::named(parsed("front")) })
        .expect("made");
    let one = house.container("one", vec![on("front", &["10.200.0.77"])]).expect("leased");
    assert_eq!(addresses(&one), ["10.200.0.77/24", "fd00:7::4d/64"]);
    house.container("two", vec![on("front", &["fd00:7::2"])]).expect("leased");
    let three = house.container("three", vec![on("front", &[])]).expect("leased");
    assert!(addresses(&three)[1].starts_with("fd00:7::"), "{:?}", addresses(&three));
}

#[test]
fn ranges_hold() {
    let house = House::new();
    let range = Some("10.200.0.128/30".parse().expect("range"));
    let subnets = vec![WantedSubnet { net: "10.200.0.0/24".parse().expect("net"), gateway: None, range }];
    house.networks.create(&Wanted { subnets, ..Wanted::named(parsed("front")) }).expect("made");
    let given: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| addresses(&house.container(name, vec![on("front", &[])]).expect("leased")))
        .concat();
    assert_eq!(given, ["10.200.0.128/24", "10.200.0.129/24", "10.200.0.130/24", "10.200.0.131/24"]);
    assert!(
        house
            .container("e", vec![on("front", &[])])
            .expect_err("full")
            .to_string()
            .contains("10.200.0.128/30")
    );
    house.container("f", vec![on("front", &["10.200.0.7"])]).expect("by hand from all");
}

#[test]
fn all_of_several_networks_or_none() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    house.make("back", "10.201.0.0/24");
    let both = house.container("both", vec![on("front", &[]), on("back", &[])]).expect("leased");
    assert_eq!(addresses(&both), ["10.200.0.2/24", "10.201.0.2/24"]);
    house.container("more", vec![on("front", &[]), on("back", &["10.201.0.2"])]).expect_err("taken");
    assert_eq!(house.leases("front").len(), 1);
    assert_eq!(
        house.container("x", vec![on("none-such", &[])]).expect_err("none").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_network_in_use_stays_and_says_who_is_on_it() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    let one = house.container("one", vec![on("front", &[])]).expect("leased");
    let error = house.networks.remove("front").expect_err("in use");
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().ends_with("in use: one"), "{error:?}");
    house.networks.hold(&one).expect("its lease is there as before");
    house.lose_run();
    assert!(house.networks.remove("front").is_err(), "records are the truth");
    house.forget("one");
    house.networks.remove("front").expect("nobody is on it");
    assert!(house.networks.names().expect("names").is_empty() && house.leases("front").is_empty());
}

#[test]
fn groups_have_zones_of_their_own() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    let mut spec = unwritten("one", vec![on("front", &[])]);
    spec.group = Some("tenant-a".parse().expect("group"));
    house.networks.lease(&mut spec).expect("leased");
    let network = house.networks.find("front").expect("network");
    let (own, others) = (network.zone(spec.group.as_ref()).expect("zone"), network.zone(None).expect("zone"));
    assert!(own != others && own > spec::network::ZONES && own >> 24 == 0x75, "{own:x} {others:x}");
    assert_eq!(house.networks.of_container(&spec).expect("networks"), [network]);
}

#[test]
fn a_pair_is_of_two() {
    let house = House::new();
    house.networks.create(&Wanted { kind: Kind::Pair, ..Wanted::named(parsed("two")) }).expect("made");
    house.container("one", vec![on("two", &[])]).expect("the first");
    house.container("other", vec![on("two", &[])]).expect("the second");
    let error = house.container("third", vec![on("two", &[])]).expect_err("the third");
    assert!(error.to_string().contains("a pair, of one and other"), "{error:?}");
}

#[test]
fn addresses_from_outside() {
    let house = House::new();
    let kind = Kind::Macvlan { parent: "eth0".into(), mode: None };
    house.networks.create(&Wanted { kind, ..Wanted::named(parsed("lan")) }).expect("made");
    let none = house.networks.foresee(&unwritten("one", vec![on("lan", &[])])).expect_err("DHCP");
    assert!(none.kind() == ErrorKind::Unsupported && none.hints()[0].contains("ip="), "{none:?}");
    assert!(house.container("one", vec![on("lan", &[])]).is_err());
    let bare = house.container("two", vec![on("lan", &["192.168.1.7"])]).expect_err("no length");
    assert!(bare.hints()[0].contains("192.168.1.7/24"), "{bare:?}");
    let hand = house.container("two", vec![on("lan", &["192.168.1.7/24"])]).expect("by hand");
    assert_eq!(addresses(&hand), ["192.168.1.7/24"]);
    assert!(mac(&hand).is_ordinary());
    assert_eq!(house.networks.members(&parsed("lan")).expect("members").len(), 1);
    assert!(house.container("three", vec![on("lan", &["192.168.1.7/24"])]).is_err(), "given twice");
}

#[test]
fn names_follow_and_what_is_left_is_collected() {
    let house = House::new();
    house.make("front", "10.200.0.0/24");
    let one = house.container("one", vec![on("front", &[])]).expect("leased");
    house.networks.rename(&one, &parsed("uno"));
    assert_eq!(house.networks.members(&parsed("front")).expect("members")[0].name, parsed("uno"));
    assert_eq!(house.networks.gc().expect("collected"), Vec::<String>::new());
    assert_eq!(
        house.networks.members(&parsed("front")).expect("members")[0].name,
        parsed("one"),
        "as is written"
    );
    // Its command was killed before it was written down.
    let mut lost = unwritten("lost", vec![on("front", &[])]);
    house.networks.lease(&mut lost).expect("leased");
    fs::create_dir_all(house.networks.run_dir(&parsed("gone")).join("leases"))
        .expect("of a network that is gone");
    let removed = house.networks.gc().expect("collected");
    assert_eq!(removed, ["addresses of container lost on network front", "leases of gone"]);
    assert_eq!(house.leases("front").len(), 1);
    // Somebody is just making it.
    let making = house.dir.path().join("lib/containers/lost");
    let lock = crate::lock::Lock::try_take(&making).expect("lock").expect("free");
    house.networks.lease(&mut lost).expect("leased");
    assert!(house.networks.gc().expect("collected").is_empty());
    drop(lock);
    // Files that are lost come again.
    house.write(&lost);
    for address in house.leases("front") {
        fs::remove_file(house.networks.run_dir(&parsed("front")).join("leases").join(address))
            .expect("removed");
    }
    house.networks.gc().expect("collected");
    assert_eq!(house.leases("front").len(), 2);
}

#[test]
fn two_times_fifty_at_once_from_one_small_pool() {
    let house = House::new();
    house.make("front", "10.200.0.0/26");
    let results = std::thread::scope(|scope| {
        let start = |number: usize| {
            let house = &house;
            // Of two state directories' worth of callers none shares anything with another but the files.
            let networks =
                Networks::of(&Home::at(&house.dir.path().join("lib"), &house.dir.path().join("run")));
            scope.spawn(move || {
                let mut spec = unwritten(&format!("c{number}"), vec![on("front", &[])]);
                let dir = house.dir.path().join("lib/containers").join(&spec.name);
                let lock = crate::lock::Lock::try_take(&dir).expect("lock").expect("free");
                let leased = networks.lease(&mut spec).map(|()| addresses(&spec));
                if leased.is_ok() {
                    house.write(&spec);
                }
                drop(lock);
                leased
            })
        };
        let all: Vec<_> = (0..100).map(start).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    let given: Vec<String> =
        results.iter().filter_map(|result| result.as_ref().ok()).flatten().cloned().collect();
    let each: BTreeSet<&String> = given.iter().collect();
    assert_eq!((given.len(), each.len()), (61, 61), "64 less the net, all of it, and the gateway");
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(refused.to_string().contains("no free address"), "{refused:?}");
    }
    assert_eq!(house.leases("front").len(), 61);
    let macs = house.networks.members(&parsed("front")).expect("members");
    assert_eq!(macs.iter().filter_map(|member| member.mac).collect::<BTreeSet<_>>().len(), 61);
    let ids: BTreeSet<Id> = macs.iter().map(|member| member.id).collect();
    assert_eq!(ids.len(), 61);
}

fn known_as(attachment: Attachment, alias: &str) -> Attachment {
    match attachment {
        Attachment::Network { network, interface, addresses, mac, dhcp, mtu, .. } => {
            let aliases = vec![alias.to_owned()];
            Attachment::Network { network, interface, addresses, mac, aliases, dhcp, mtu }
        }
        other => other,
    }
}

#[test]
fn nobody_takes_another_ones_name() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    house.container("db", vec![known_as(on("net", &[]), "db")]).expect("its own name");
    let thief = house.container("thief", vec![known_as(on("net", &[]), "db")]).expect_err("another's");
    assert!(thief.kind() == ErrorKind::Conflict && thief.to_string().contains("db"), "{thief:?}");
    assert_eq!(house.leases("net").len(), 1, "nothing is left of it");
    house.container("second", vec![known_as(on("net", &[]), "sql")]).expect("leased");
    house.container("third", vec![known_as(on("net", &[]), "sql")]).expect("several with one alias");
}

#[test]
fn a_resolver_is_told_who_asks() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    let told = |words: &[&str], closed| {
        let mut spec = unwritten("web", vec![on("net", &[])]);
        spec.group = Some("tenant-a".parse().expect("a group"));
        let networking = spec.network.as_mut().expect("network");
        networking.closed = closed;
        networking.allow = words.iter().map(|word| word.parse().expect("who")).collect();
        house.networks.lease(&mut spec).expect("leased");
        let address = addresses(&spec)[0].split('/').next().expect("an address").to_owned();
        let file = house.networks.run_dir(&parsed("net")).join("leases").join(address);
        let lease = lease::holder(&file).expect("a lease");
        house.networks.release(&spec);
        (lease.group, lease.closed)
    };
    let own = "tenant-a".to_owned();
    assert_eq!(told(&[], false), (own.clone(), false));
    assert_eq!(told(&["from:outside", "host"], true), (own.clone(), true));
    assert_eq!(told(&["outside:443"], true), (own, false));
}

#[test]
fn the_host_is_not_asked_in_a_containers_name() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    house.make("others", "10.99.2.0/24");
    let ask = |server: &str| {
        let mut spec = unwritten("web", vec![on("net", &[])]);
        spec.network.as_mut().expect("network").servers = vec![server.parse().expect("an address")];
        house.networks.foresee(&spec)
    };
    for bad in ["127.0.0.1", "::1", "0.0.0.0", "169.254.1.1", "fe80::1", "10.99.2.1", "::ffff:10.99.1.1"] {
        assert_eq!(ask(bad).expect_err(bad).kind(), ErrorKind::User, "{bad}");
    }
    ask("9.9.9.9").expect("elsewhere");
}

#[test]
fn the_port_of_names_is_published_on_one_address() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    let publish = |word: &str| {
        let mut spec = unwritten("web", vec![on("net", &[])]);
        spec.network.as_mut().expect("network").published =
            spec::network::Publish::parse(word).expect("ports");
        house.networks.foresee(&spec)
    };
    for bad in ["53:53/udp", "53:5353", "50-60:50-60"] {
        assert!(publish(bad).expect_err(bad).hints()[0].contains("-p IP:53"), "{bad}");
    }
    publish("192.0.2.7:53:53/udp").expect("one address");
    publish("5353:53/udp").expect("another port");
}

#[test]
fn a_lease_is_never_written_through_another_name() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    house.container("web", vec![on("net", &[])]).expect("leased");
    let dir = house.networks.run_dir(&parsed("net"));
    let live = dir.join("leases").join(house.leases("net").first().expect("one"));
    let before = fs::read(&live).expect("a lease");
    // As a command leaves it that is killed before it removes the first name.
    let other = lease::holder(&live).expect("a lease");
    let left = dir.join(".new-left");
    fs::hard_link(&live, &left).expect("linked");
    lease::write(&left, &lease::Lease { name: parsed("other"), ..other }).expect("written");
    assert_eq!(fs::read(&live).expect("a lease"), before);
}

#[test]
fn what_cannot_be_read_is_nobodys_after_a_while() {
    let house = House::new();
    house.make("net", "10.99.1.0/24");
    house.container("web", vec![on("net", &[])]).expect("leased");
    let leases = house.networks.run_dir(&parsed("net")).join("leases");
    for (name, age) in [("10.99.1.77", 3600), ("10.99.1.78", 0)] {
        fs::write(leases.join(name), "").expect("written");
        let file = fs::File::options().write(true).open(leases.join(name)).expect("a file");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(then).expect("a time");
    }
    let removed = house.networks.gc().expect("collected");
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(!leases.join("10.99.1.77").exists() && leases.join("10.99.1.78").exists());
}
