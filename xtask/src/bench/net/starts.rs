//! From the command to its exit status: on a network with a published port, and without.

use super::engines::Engine;
use super::{Home, Table, milliseconds};
use crate::bench::runtimes::{Tsubo, Words, floor_of};
use crate::bench::samples::Samples;
use crate::bench::timer::{Timer, Until};
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

/// Starts of each in a row, then the next one's turn: what is near in time is comparable.
const BLOCK: u32 = 5;
const ROUNDS: u32 = 30;
const PAUSED_ROUNDS: u32 = 25;
const PAUSE_MS: u64 = 100;
/// Of those that take a fifth of a second.
const HEAVY_ROUNDS: u32 = 12;

/// What the floor needs of the host: the gateway and the map that its element goes to.
const FLOOR: &str = "ip link add floor-gw type bridge && ip address add 10.77.0.1/16 dev floor-gw && \
    ip address add fd77::1/64 dev floor-gw nodad && ip link set floor-gw up && nft add table inet floor && \
    nft 'add map inet floor published { type inet_proto . inet_service : ipv4_addr . inet_service ; }'";

struct Start {
    who: &'static str,
    where_: &'static str,
    wrapper: Words,
    line: Words,
    heavy: bool,
}

type Measured = Vec<Samples>;

/// Hot, with a pause before each, and what is over the start without a network.
pub(super) fn measure(ask: &Ask, home: &Home, tsubo: &Tsubo<'_>, engines: &[Engine]) -> Result<[Table; 3]> {
    shell::read(&mut home.world.here(FLOOR))?;
    // So that the network itself stays.
    home.state.quiet(&["run", "-d", "--name", "stays", NETWORK[0], NETWORK[1], "idle", "/bin/idle"])?;
    let starts = starts(home, tsubo, engines);
    let hot = turns(
        &starts,
        |start, timer, round| match start.heavy {
            true if round > ask.rounds(HEAVY_ROUNDS) => Ok(Vec::new()),
            true => timer.time(1, 0),
            false => Ok(timer.time(BLOCK, 0)?.split_off(1)),
        },
        ask.rounds(ROUNDS),
    )?;
    let paused = turns(
        &starts,
        |start, timer, _| {
            if start.heavy { Ok(Vec::new()) } else { timer.time(1, PAUSE_MS) }
        },
        ask.rounds(PAUSED_ROUNDS),
    )?;
    home.state.quiet(&["rm", "-f", "stays"])?;
    let over = over(&starts, &hot, &paused);
    Ok([tabulate("start, hot loop", &starts, &hot), tabulate("start, 100 ms pause", &starts, &paused), over])
}

pub(super) const NETWORK: [&str; 2] = ["--network", "tsubo"];
const NONE: &str = "none";
const PUBLISHED: &str = "network, -p";

fn starts(home: &Home, tsubo: &Tsubo<'_>, engines: &[Engine]) -> Vec<Start> {
    let light = |who, where_, line| Start { who, where_, wrapper: Words::new(), line, heavy: false };
    let ours = |options: &[&str]| tsubo.run(&[&["--rm"], options].concat(), &["true"]);
    let floor = |parts: &str| floor_of(&home.ground, parts).run;
    let mut all = vec![
        light("tsubo", NONE, ours(&["--network", "none"])),
        light("tsubo", "host", ours(&["--network", "host"])),
        light("tsubo", "network", ours(&NETWORK)),
        light("tsubo", PUBLISHED, ours(&[&NETWORK[..], &["-p", "0:80"]].concat())),
        light("floor, our default", NONE, floor("default,net")),
        light("floor, our default", "host", floor("default")),
        light("floor, our default", PUBLISHED, floor("default,net,wire")),
    ];
    for engine in engines {
        for (where_, line) in [(NONE, engine.alone(&home.ground)), (PUBLISHED, engine.bridged(&home.ground))]
        {
            all.push(Start { who: engine.name, where_, wrapper: engine.world.wrapper(), line, heavy: true });
        }
    }
    all
}

fn turns(
    starts: &[Start],
    turn: impl Fn(&Start, &mut Timer, u32) -> Result<Vec<f64>>,
    rounds: u32,
) -> Result<Measured> {
    let timers = starts.iter().map(|start| Timer::start(&start.wrapper, &[&start.line], Until::Success));
    let mut timers = timers.collect::<Result<Vec<_>>>()?;
    let mut all = vec![Samples::default(); starts.len()];
    for round in 0..=rounds {
        for ((start, timer), samples) in starts.iter().zip(&mut timers).zip(&mut all) {
            shell::unless_interrupted()?;
            let times =
                turn(start, timer, round).map_err(|e| format!("{}, {}: {e}", start.who, start.where_))?;
            // The first pays for what the kernel and the disk have not yet got at hand.
            samples.extend(times.into_iter().filter(|_| round > 0));
        }
    }
    Ok(all)
}

/// The median of the same runtime without a network.
fn without(starts: &[Start], all: &Measured, who: &str, where_: &str) -> f64 {
    let found = starts.iter().position(|start| start.who == who && start.where_ == where_);
    found.map_or(f64::NAN, |at| all[at].median())
}

fn tabulate(title: &str, starts: &[Start], all: &Measured) -> Table {
    let mut rows = vec![row([title, "where", "median", "fastest", "90 %", "over none", "to the floor"])];
    for (start, samples) in starts.iter().zip(all).filter(|(_, samples)| !samples.median().is_nan()) {
        let times = [samples.median(), samples.quantile(0.0), samples.quantile(0.9)].map(milliseconds);
        let over = samples.median() - without(starts, all, start.who, NONE);
        let ratio = samples.median() / without(starts, all, "floor, our default", start.where_);
        let ratio = if ratio.is_nan() { String::new() } else { format!("{ratio:.2}") };
        rows.push(
            [vec![start.who.into(), start.where_.into()], times.to_vec(), vec![milliseconds(over), ratio]]
                .concat(),
        );
    }
    rows
}

/// What the network and the port cost each, as a difference, and that to the bare objects' and to the goal.
fn over(starts: &[Start], hot: &Measured, paused: &Measured) -> Table {
    let cost = |all: &Measured, who: &str, base: &str| {
        without(starts, all, who, PUBLISHED) - without(starts, all, who, base)
    };
    let mut rows =
        vec![row(["network with a published port", "hot", "paused", "to the floor's, hot", "goal"])];
    let floor = "floor, our default";
    let mut whose: Vec<&str> = starts.iter().map(|start| start.who).collect();
    whose.dedup();
    for who in whose {
        for base in [NONE, "host"].into_iter().filter(|base| !without(starts, hot, who, base).is_nan()) {
            let goal = if who == "tsubo" && base == NONE { "1.3 ms" } else { "" };
            let [hot_cost, paused_cost] = [hot, paused].map(|all| cost(all, who, base));
            let paused = if paused_cost.is_nan() { String::new() } else { milliseconds(paused_cost) };
            let ratio = format!("{:.2}", hot_cost / cost(hot, floor, base));
            rows.push(row([&format!("{who}, over {base}"), &milliseconds(hot_cost), &paused, &ratio, goal]));
        }
    }
    rows
}
