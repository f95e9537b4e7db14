//! What the network of a container costs in the parts of its plan, in microseconds, against the bare objects:
//! `cargo run --release -p tsubo-net --example cost [LINKS]`. In a network namespace of its own; as root.

use std::time::Instant;

use spec::network::{
    Attachment, Kind, Mac, Network, Networking, Place, Plan, Protocol, Publish, Step, Subnet, ZONES, plan,
};
use spec::{Id, Result};
use tsubo_net::{Host, Inside};

/// Rounds of each measurement.
const ROUNDS: usize = 50;

/// Which steps are measured.
type Keep = fn(&Step) -> bool;

fn main() -> Result<()> {
    let links: u16 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(50);
    sys::namespace::unshare(sys::namespace::NET).expect("a network namespace: are we root?");
    let host = Host::open()?;
    let network = network();
    let first = Instant::now();
    host.raise(&network)?;
    println!("raise, first (with nft)      {:8.0}", micros(first));
    report("raise, all is there", || {
        let start = Instant::now();
        host.raise(&network)?;
        Ok(micros(start))
    })?;
    let mut kept = Vec::new();
    report("a network namespace", || {
        let start = Instant::now();
        kept.push(space());
        Ok(micros(start))
    })?;
    let keep: [(&str, Keep); 4] = [
        ("a pair of links", |step| matches!(step, Step::Link(_))),
        ("+ addresses, routes", |step| !matches!(step, Step::Element(_) | Step::Parameter { .. })),
        ("+ elements", |step| !matches!(step, Step::Parameter { .. })),
        ("+ parameter (all)", |_| true),
    ];
    for (what, keep) in keep {
        parts(&host, &network, what, keep)?;
    }
    many(&host, &network, links)
}

/// How long the first and the last of many links take.
fn many(host: &Host, network: &Network, links: u16) -> Result<()> {
    let mut kept = Vec::new();
    let mut taken = Vec::new();
    for number in 0..links {
        let (plan, space) = (planned(10 + number, network), space());
        let start = Instant::now();
        host.raise(network)?;
        host.attach_by(&plan, &space)?;
        taken.push(micros(start));
        kept.push(space);
    }
    let tenth = (taken.len() / 10).max(1);
    let last = median(taken.split_off(taken.len() - tenth));
    taken.truncate(tenth);
    println!("raise + attach, first tenth of {links:4} {:6.0}, last tenth {last:6.0}", median(taken));
    Ok(())
}

/// The steps that are kept, of many containers; none ends while others are measured, as that takes the kernel a while.
fn parts(host: &Host, network: &Network, what: &str, keep: Keep) -> Result<()> {
    let mut kept = Vec::new();
    report(what, || {
        let (mut plan, space) = (planned(10 + kept.len() as u16, network), space());
        plan.retain(keep);
        let start = Instant::now();
        host.attach_by(&plan, &space)?;
        let taken = micros(start);
        kept.push((plan, space));
        Ok(taken)
    })?;
    let mut plans = kept.iter().map(|(plan, _)| plan);
    if what.contains("all") {
        report("detach", || {
            let start = Instant::now();
            plans.next().map_or(Ok(()), |plan| host.detach(plan))?;
            Ok(micros(start))
        })?;
    }
    kept.iter().try_for_each(|(plan, _)| host.remove_links(plan))?;
    drop(kept);
    std::thread::sleep(std::time::Duration::from_secs(1));
    Ok(())
}

fn report(what: &str, mut round: impl FnMut() -> Result<f64>) -> Result<()> {
    let mut taken = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        taken.push(round()?);
    }
    let least = taken.iter().copied().fold(f64::MAX, f64::min);
    println!("{what:28} {:8.0} (least {least:.0})", median(taken));
    Ok(())
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

fn space() -> Inside {
    let thread = std::thread::spawn(|| {
        sys::namespace::unshare(sys::namespace::NET).expect("a namespace");
        Inside::here().expect("its file")
    });
    thread.join().expect("thread")
}

fn planned(number: u16, network: &Network) -> Plan {
    let [high, low] = number.to_be_bytes();
    let v6 = format!("fd88::{number:x}/64");
    let addresses =
        vec![format!("10.88.{high}.{low}/16").parse().expect("address"), v6.parse().expect("address")];
    let networking = Networking {
        attachments: vec![Attachment::Network {
            network: network.name.clone(),
            interface: "eth0".into(),
            mac: Mac::of([10, 88, high, low].into()),
            addresses,
            aliases: Vec::new(),
            dhcp: false,
            mtu: None,
        }],
        published: vec![Publish {
            address: None,
            host: 1024 + number,
            container: 80,
            protocol: Protocol::Tcp,
        }],
        ..Networking::default()
    };
    let id = Id::from_bytes([0, 0, 0, 0, high, low]);
    plan(id, &networking, &[Place { network, zone: ZONES + 1 }], &[])
}

fn network() -> Network {
    let subnet = |net: &str, gateway: &str| Subnet {
        net: net.parse().expect("net"),
        gateway: gateway.parse().expect("gateway"),
        range: None,
    };
    Network {
        name: "cost".parse().expect("name"),
        id: Id::from_bytes([1; 6]),
        kind: Kind::Nat,
        subnets: vec![subnet("10.88.0.0/16", "10.88.0.1"), subnet("fd88::/64", "fd88::1")],
        mtu: None,
        names: false,
        servers: Vec::new(),
        zones: [(String::new(), ZONES + 1)].into(),
        created: 0,
    }
}
