//! A thousand services that nobody asks for.

use std::fs;
use std::thread;
use std::time::Duration;

use super::gate::{Gate, Served};
use super::packed::{PORT, STATIC};
use super::{Home, Part, asked};
use crate::bench::footprint::processes::memory_of;
use crate::bench::{Ask, row};
use crate::shell::Result;

const COUNT: u32 = 1000;

/// So long nobody does anything before anybody looks.
const REST: Duration = Duration::from_secs(15);

/// MiB.
const GOAL: &str = "20";

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let mut rows = vec![row([
        "services, none running",
        "PSS MiB",
        "RSS MiB",
        "processes",
        "waiting keepers",
        "PSS MiB",
        "ready after ms",
        "first answer ms",
        "goal",
    ])];
    for count in [1, ask.count.unwrap_or(COUNT)] {
        let served: Vec<Served> =
            (0..count).map(|n| Served::new(&format!("s{n}"), STATIC, PORT, "")).collect();
        let gate = Gate::open(home, &served)?;
        thread::sleep(REST);
        let processes = gate.processes();
        let helpers = gate.helpers();
        let [pss, waiting] =
            [&processes, &helpers].map(|pids| pids.iter().map(|pid| memory_of(*pid).pss).sum::<u64>());
        let rss: u64 = processes.iter().map(|pid| resident(*pid)).sum();
        let hosts: Vec<String> = served.iter().rev().take(1).map(Served::host).collect();
        let answers = home.ask(gate.port, &asked::schedule(&hosts, "/", 1, 1))?;
        let first = answers.first().filter(|answer| answer.fine).map_or(f64::NAN, |answer| answer.first);
        rows.push(row([
            &count.to_string(),
            &mebibytes(pss),
            &mebibytes(rss),
            &processes.len().to_string(),
            &helpers.len().to_string(),
            &mebibytes(waiting),
            &format!("{:.0}", gate.ready),
            &format!("{first:.1}"),
            if count > 1 { GOAL } else { "" },
        ]));
    }
    Ok(Part { tables: vec![rows], note: NOTE })
}

const NOTE: &str = "Many: all processes that run the gateway's program, fifteen seconds after it listens; and the keepers that it has made \
    beforehand, which wait for the word to start. Ready: from the command, \
    with one package installed and no container made yet, until requests are taken. The first answer is that of the last service.";

fn mebibytes(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|size| size.parse().ok()).unwrap_or(0)
}
