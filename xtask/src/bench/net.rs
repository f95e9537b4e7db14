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
use crate::shell::Result;
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
    let [hot, paused, over] = starts::measure(ask, &home, &tsubo, &engines)?;
    let [crowd, memory] = crowd::measure(ask, &home, &tsubo)?;
    let names = names::measure(&home)?;
    let flows = flows::measure(ask, &home, &engines)?;
    Ok(Findings {
        title: "Networks: a start, a crowd, names, and the way through a published port",
        tables: vec![hot, paused, over, crowd, memory, names, flows],
        notes: vec![NOTE.into()],
    })
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
        let state = State::new(&ask.dist, Path::new("/var/tmp"))?;
        let ground = Ground::lay(&state.file("g"))?;
        Ok(Self { state, ground, _inside: inside, world })
    }
}

/// Milliseconds as people read them.
fn milliseconds(value: f64) -> String {
    format!("{value:.2}")
}
