//! From a stopped service to the first byte of its answer.

mod ways;

use std::thread;
use std::time::Duration;

use super::gate::{Gate, Served};
use super::packed::{self, PORT, STATIC, USUAL, Usual};
use super::{Home, Part, milliseconds};
use crate::bench::samples::Samples;
use crate::bench::{Ask, row};
use crate::shell::{self, Result};
use ways::{Bare, Called, Way};

const ROUNDS: u32 = 25;
/// Of those that take a tenth of a second each.
const SLOW_ROUNDS: u32 = 10;

/// Before each request: what the kernel has at hand after a start is cold again.
const PAUSE: Duration = Duration::from_millis(300);

/// Instances stop soon, so that the next round finds none.
const SOON: &str = "idle = \"200ms\"";

/// What a gateway may take more than the floor, and than a bare start.
const GOAL_STATIC: f64 = 3.0;
const GOAL_USUAL: f64 = 5.0;

const OURS: &str = "tsubo gateway";
const FLOOR: &str = "floor";
const HANDED: &str = "floor, socket handed over";

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let mut usual = Vec::new();
    for service in &USUAL {
        match home.install(service) {
            Ok(()) => usual.push(service),
            Err(error) => println!("SKIPPED: a cold {}: {error}", service.name),
        }
    }
    let mut served = vec![Served::new("web", STATIC, PORT, SOON)];
    served.extend(usual.iter().map(|service| Served::new(service.name, service.name, service.port, SOON)));
    let gate = Gate::open(home, &served)?;
    let tables = vec![
        static_table(ask, home, &gate, &served[0])?,
        usual_table(ask, home, &gate, &usual, &served[1..])?,
    ];
    Ok(Part { tables, note: NOTE })
}

const NOTE: &str = "Cold: milliseconds from the beginning of the client's connection to the first byte of the answer; each request \
    finds the service stopped, 300 ms after the last thing that happened; in turns. The server is a static program \
    (bench/gateway/server.c). The floor (bench/floor) has its control groups beforehand, like the gateway, and nothing else: on the first connection \
    it makes all namespaces and mounts, executes the server, which listens on its own network, connects to it and passes on what \
    is said. With the socket handed over there is nobody in between and nothing to connect to; socket activation is the same without any namespace or \
    group. crun + shell is socat, which has crun run the server and then connects to it. The bare process is started by the \
    client, which tries to connect after 0.1 ms and then more and more rarely, 1 ms at most, so that it takes no time from who starts; so are nginx, Python and Node from the same files of this host.";

/// Rounds in turns; one that does not work here is left out. Each begins when the gateway has ended, and prepared,
/// what it does after its own.
fn turns(
    mut ways: Vec<Box<dyn Way + '_>>,
    rounds: u32,
    gate: &Gate<'_>,
    served: &Served,
) -> Result<Vec<(String, Samples)>> {
    let once = |way: &mut dyn Way| gate.until_stopped(&served.name).and_then(|()| once(way));
    ways.retain_mut(|way| match once(&mut **way) {
        Ok(_) => true,
        Err(error) => {
            println!("SKIPPED: {}: {error}", way.name());
            false
        }
    });
    let mut all: Vec<_> = ways.iter().map(|way| (way.name(), Samples::default())).collect();
    for _ in 0..rounds {
        for (way, (name, samples)) in ways.iter_mut().zip(&mut all) {
            samples.extend([once(&mut **way).map_err(|error| format!("{name}: {error}"))?]);
        }
    }
    Ok(all)
}

fn once(way: &mut dyn Way) -> Result<f64> {
    shell::unless_interrupted()?;
    way.arm()?;
    thread::sleep(PAUSE);
    let taken = way.first();
    way.disarm()?;
    taken
}

fn static_table(ask: &Ask, home: &Home, gate: &Gate<'_>, served: &Served) -> Result<Vec<Vec<String>>> {
    let mut all: Vec<Box<dyn Way + '_>> = vec![
        Box::new(ways::Gateway { name: OURS, gate, served }),
        Box::new(Called::floor(home, FLOOR, "-r", "default,net", &PORT.to_string())?),
        Box::new(Called::floor(home, HANDED, "-l", "default,net", "-")?),
        Box::new(Called::floor(home, "socket activation", "-l", "none", "-")?),
    ];
    if packed::has("crun", "crun") && packed::has("socat", "socat") {
        all.push(Box::new(Called::crun(home)?));
    }
    all.push(Box::new(Bare::of_static(home)?));
    let found = turns(all, ask.rounds(ROUNDS), gate, served)?;
    let median = |name: &str| found.iter().find(|one| one.0 == name).map_or(f64::NAN, |one| one.1.median());
    let mut rows = vec![row([
        "static server",
        "median",
        "fastest",
        "95 %",
        "over the floor",
        "over the handed",
        "goal",
    ])];
    for (name, samples) in &found {
        let times = [0.5, 0.0, 0.95].map(|share| samples.quantile(share));
        let over = [FLOOR, HANDED].map(|floor| samples.median() - median(floor));
        let goal = if name == OURS { format!("{GOAL_STATIC:.0} over the floor") } else { String::new() };
        let numbers = times.into_iter().chain(over).map(milliseconds);
        rows.push(std::iter::once(name.clone()).chain(numbers).chain([goal]).collect());
    }
    Ok(rows)
}

/// Each beside its own bare start.
fn usual_table(
    ask: &Ask,
    home: &Home,
    gate: &Gate<'_>,
    usual: &[&Usual],
    served: &[Served],
) -> Result<Vec<Vec<String>>> {
    let mut rows =
        vec![row(["service", "bare", "95 %", "by the gateway", "fastest", "95 %", "added", "goal"])];
    for (service, served) in usual.iter().zip(served) {
        let pair: Vec<Box<dyn Way + '_>> = vec![
            Box::new(Bare::of(home, service)?),
            Box::new(ways::Gateway { name: service.name, gate, served }),
        ];
        let found = turns(pair, ask.rounds(SLOW_ROUNDS), gate, served)?;
        let [(_, bare), (_, ours)] = &found[..] else { continue };
        let numbers = [
            bare.median(),
            bare.quantile(0.95),
            ours.median(),
            ours.quantile(0.0),
            ours.quantile(0.95),
            ours.median() - bare.median(),
            GOAL_USUAL,
        ];
        rows.push(std::iter::once(service.name.to_owned()).chain(numbers.map(milliseconds)).collect());
    }
    Ok(rows)
}
