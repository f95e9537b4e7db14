//! What the way through a gateway costs when the service runs already, beside plain proxies.

mod load;
mod proxies;

use super::gate::{Gate, Served};
use super::packed::{self, PORT, STATIC};
use super::process::Backend;
use super::{Home, Part};
use crate::bench::samples::Samples;
use crate::bench::{Ask, row};
use crate::shell::{self, Result};
use load::{Load, Measured};
use proxies::Proxy;

const ROUNDS: u32 = 5;

/// The proxy has the first core alone; who asks, and who answers, have the other.
const PROXY: &str = "0";
const OTHERS: &str = "1";

const OURS: &str = "tsubo gateway";
const NGINX: &str = "nginx";

/// Of nginx's requests per second at least, of its 99 % at most.
const GOAL_RATE: f64 = 0.9;
const GOAL_MOST: f64 = 1.2;

/// Somebody who answers on a port of this host.
struct Way {
    name: &'static str,
    port: u16,
}

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let served = Served::new("web", STATIC, PORT, "idle = \"never\"\nmin = 1");
    let gate = Gate::open(home, std::slice::from_ref(&served))?;
    gate.until_running(1)?;
    pin(&gate)?;
    let backend = Backend::start(home, Some(OTHERS))?;
    let proxies = Proxy::all(home, backend.port, PROXY);
    let mut ways = vec![Way { name: OURS, port: gate.port }];
    ways.extend(proxies.iter().map(|proxy| Way { name: proxy.name, port: proxy.port }));
    ways.push(Way { name: "no proxy", port: backend.port });
    let mut tables = vec![table(ask, "HTTP/1.1", &ways, &served.host(), &load::WRK)?];
    if packed::has("h2load", "nghttp2-client") {
        let mut ways = vec![Way { name: OURS, port: gate.port }];
        ways.extend(proxies.iter().map(|p| Way { name: p.name, port: p.second_version }));
        tables.push(table(ask, "HTTP/2 without TLS", &ways, &served.host(), &load::H2LOAD)?);
    }
    Ok(Part { tables, note: NOTE })
}

const NOTE: &str = "Warm: wrk with one thread and 32 connections that stay, or h2load with 8 connections of 8 requests at once, 4 seconds each, medians of the rounds, \
    in turns. The proxy is bound to one core; who asks and the server that answers (the small static one; in a container for ours, on this host \
    for the others) to the other. \"Of the core\" is how busy the proxy's was: below 100 % somebody else was the bottleneck. nginx has one worker, kept \
    connections to the server and no log; haproxy one thread, and the same. Without a proxy the other core does it all alone.";

/// The gateway to its core, with all of its threads; its instance to the other.
fn pin(gate: &Gate<'_>) -> Result {
    let own = gate.processes().into_iter().map(|pid| (PROXY, pid));
    let instances = gate.running()?.into_iter().map(|(_, pid)| (OTHERS, pid));
    for (core, pid) in own.chain(instances) {
        let mut pin = std::process::Command::new("taskset");
        shell::read(pin.args(["--all-tasks", "--pid", "--cpu-list", core, &pid.to_string()]))?;
    }
    Ok(())
}

fn table(ask: &Ask, title: &str, ways: &[Way], host: &str, load: &Load) -> Result<Vec<Vec<String>>> {
    let mut all: Vec<(&Way, Rounds)> = Vec::new();
    for way in ways {
        match load.put(way.port, host, OTHERS, PROXY) {
            Ok(_) => all.push((way, Rounds::default())),
            Err(error) => println!("SKIPPED: {title}: {}: {error}", way.name),
        }
    }
    for _ in 0..ask.rounds(ROUNDS) {
        for (way, samples) in &mut all {
            shell::unless_interrupted()?;
            let measured = load.put(way.port, host, OTHERS, PROXY);
            samples.add(&measured.map_err(|error| format!("{}: {error}", way.name))?);
        }
    }
    Ok(tabulate(title, &all))
}

/// Of several rounds.
#[derive(Default)]
struct Rounds {
    rate: Samples,
    half: Samples,
    most: Samples,
    busy: Samples,
}

impl Rounds {
    fn add(&mut self, measured: &Measured) {
        self.rate.extend([measured.rate]);
        self.half.extend([measured.half]);
        self.most.extend([measured.most]);
        self.busy.extend([measured.busy]);
    }
}

fn tabulate(title: &str, all: &[(&Way, Rounds)]) -> Vec<Vec<String>> {
    let head = [
        title,
        "requests/s",
        "to nginx",
        "median µs",
        "to nginx",
        "99 % µs",
        "to nginx",
        "of the core",
        "goals",
    ];
    let mut rows = vec![row(head)];
    let nginx = all.iter().find(|one| one.0.name == NGINX).map(|one| &one.1);
    let ratio = |own: &Samples, theirs: fn(&Rounds) -> &Samples| {
        nginx.map_or(String::new(), |nginx| format!("{:.2}", own.median() / theirs(nginx).median()))
    };
    for (way, found) in all {
        let goals = if way.name == OURS { format!("{GOAL_RATE} and {GOAL_MOST}") } else { String::new() };
        rows.push(vec![
            way.name.to_owned(),
            format!("{:.0}", found.rate.median()),
            ratio(&found.rate, |n| &n.rate),
            format!("{:.0}", found.half.median()),
            ratio(&found.half, |n| &n.half),
            format!("{:.0}", found.most.median()),
            ratio(&found.most, |n| &n.most),
            format!("{:.0} %", found.busy.median()),
            goals,
        ]);
    }
    rows
}
