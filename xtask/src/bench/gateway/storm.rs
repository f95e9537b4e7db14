//! Many services that are all asked for within one second, while none of them runs.

use std::thread;
use std::time::{Duration, Instant};

use super::asked::{self, Summary};
use super::gate::{Gate, Served};
use super::packed::{PORT, STATIC};
use super::{Home, Part};
use crate::bench::{Ask, row};
use crate::shell::Result;

const COUNT: u32 = 200;
const ROUNDS: u32 = 3;
/// What the gateway has before a storm, to make beforehand what it makes beforehand; none before the first.
const REST: Duration = Duration::from_secs(10);

const SECOND: u64 = 1_000_000;

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let count = ask.count.unwrap_or(COUNT);
    let served: Vec<Served> =
        (0..count).map(|n| Served::new(&format!("s{n}"), STATIC, PORT, "idle = \"2s\"")).collect();
    let hosts: Vec<String> = served.iter().map(Served::host).collect();
    let gate = Gate::open(home, &served)?;
    let mut rows = vec![row([
        "cold services asked in a second",
        "after s of rest",
        "answered",
        "errors",
        "median ms",
        "99 %",
        "slowest",
        "all stopped again after s",
        "goal",
    ])];
    for rest in std::iter::once(Duration::ZERO).chain((0..ask.rounds(ROUNDS)).map(|_| REST)) {
        thread::sleep(rest);
        let answers =
            home.ask(gate.port, &asked::schedule(&hosts, "/", hosts.len(), SECOND / u64::from(count)))?;
        let told = Summary::of(&answers);
        let began = Instant::now();
        gate.until_running(0)?;
        let stopped = began.elapsed().as_secs_f64();
        let seconds = rest.as_secs() as usize;
        let counts = [told.asked, seconds, told.asked - told.errors].map(|n| n.to_string());
        let counts = [&counts[..], &[told.failures()]].concat();
        let ends = [format!("{stopped:.1}"), "0 errors".into()];
        rows.push([counts, asked::cells(&told.all), ends.to_vec()].concat());
    }
    Ok(Part { tables: vec![rows], note: NOTE })
}

const NOTE: &str = "Storm: one request for each of these services, evenly over one second, on a connection each; a round each line, all of \
    them stopped before (after two seconds without requests); the first when the gateway has just begun and no container is made yet. Milliseconds from the time the request was meant for to the first byte of its answer.";
