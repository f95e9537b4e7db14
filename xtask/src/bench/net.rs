//! `./x bench net`: what a network costs at the start, in a crowd, on the way to a service and by name, beside
//! the bare kernel objects and the engines. All of it in network namespaces of its own.

mod crowd;
mod engines;
mod flows;
mod names;
mod service;
mod starts;
mod world;

use std::path::Path;

use super::runtimes::{Ground, Tsubo};
use super::{Ask, Findings, State};
use crate::shell::{self, Result};
use engines::Engine;
use world::World;

/// Ours, where tsubo and the floor have the same host. It is left at the end, after what is on it is gone.
struct Home {
    state: State,
    ground: Ground,
    _inside: world::Inside,
    world: World,
}

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let home = Home::new(ask)?;
    let engines = Engine::all(&home.ground);
    let tsubo = Tsubo::install(&home.state, &home.ground)?;
    let mut tables = Vec::new();
    tables.extend(part("starts", starts::measure(ask, &home, &tsubo, &engines))?);
    tables.extend(part("a crowd", crowd::measure(ask, &home, &tsubo))?);
    tables.extend(part("names", names::measure(&home).map(|table| [table]))?);
    tables.extend(part("flows", flows::measure(ask, &home, &engines).map(|table| [table]))?);
    Ok(Findings {
        title: "Networks: a start, a crowd, names, and the way through a published port",
        tables,
        notes: vec![NOTE.into()],
    })
}

type Table = Vec<Vec<String>>;

/// A part that does not work here is said and left out: the others are as good without it.
fn part<const N: usize>(what: &str, measured: Result<[Table; N]>) -> Result<Vec<Table>> {
    shell::unless_interrupted()?;
    match measured {
        Ok(tables) => Ok(tables.into()),
        Err(error) => {
            println!("SKIPPED: {what}: {error}");
            Ok(Vec::new())
        }
    }
}

const NOTE: &str = "All on hosts of their own: network namespaces that this benchmark makes, each with a client at the other end of \
    a pair of links. Starts: milliseconds from the command to its exit status, in turns, while another container is on the network. \
    \"Over none\" is the difference to the same runtime's `--network none`, which has a network namespace too. The floor's wire is \
    by bare system calls: a pair of links, addresses, routes and permanent neighbours of both families on both sides, and one \
    element of nftables that is taken away at the end. Crowd: containers that are left running, started one after the other; first \
    and last are medians of 30. Names: a datagram of ours to the network's resolver and back, out of a container. Flows: iperf3 with \
    one stream, and wrk with one connection to nginx, which answers two bytes; medians of the rounds, in turns. The bare veth is a \
    network namespace behind a second pair of links, routed by a host without any table of packets; host network is nginx on that \
    host itself.";

impl Home {
    fn new(ask: &Ask) -> Result<Self> {
        let world = World::new("tsubo")?;
        let inside = world.enter()?;
        let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
        let ground = Ground::lay(&state.file("g"))?;
        Ok(Self { state, ground, _inside: inside, world })
    }
}

/// Milliseconds as people read them.
fn milliseconds(value: f64) -> String {
    format!("{value:.2}")
}
