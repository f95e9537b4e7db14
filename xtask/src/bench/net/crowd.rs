//! Many containers on one network: the last start, what each keeps of the memory, and looking at the network.

use std::time::Instant;

use super::starts::NETWORK;
use super::{Home, Table, milliseconds};
use crate::bench::fleet::Fleet;
use crate::bench::footprint::counters::Counters;
use crate::bench::footprint::processes::Pids;
use crate::bench::runtimes::{Runtime, Tsubo, Words, floor_of};
use crate::bench::samples::Samples;
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

const CROWD: u32 = 500;
/// How many count as the first and as the last.
const END: usize = 30;
const LOOKS: u32 = 10;

/// The starts, and the memory.
pub(super) fn measure(ask: &Ask, home: &Home, tsubo: &Tsubo<'_>) -> Result<[Table; 2]> {
    let count = ask.count.unwrap_or(if ask.quick { 80 } else { CROWD });
    let (none, net) = (["--network", "none"], NETWORK);
    let crowds = [
        Crowd::grow(&detached("floor, none", floor(home, "default,net")), count, || Ok(Vec::new()))?,
        Crowd::grow(&detached("floor, network", floor(home, "default,net,wire")), count, || Ok(Vec::new()))?,
        Crowd::grow(&ours(tsubo, "tsubo, none", &none), count, || Ok(Vec::new()))?,
        Crowd::grow(&ours(tsubo, "tsubo, network", &net), count, || looks(home))?,
    ];
    let mut starts =
        vec![row(["one after the other", "running", "first", "last", "last to first", "inspect", "goals"])];
    starts.extend(crowds.iter().map(Crowd::starts));
    let mut memory =
        vec![row(["KiB per container", "kernel", "anonymous", "in all", "network over none", "left"])];
    for pair in crowds.chunks(2) {
        memory.extend(pair.iter().map(|crowd| crowd.memory(&pair[0])));
    }
    Ok([starts, memory])
}

/// `tsubo network inspect` with all of them on it, milliseconds.
fn looks(home: &Home) -> Result<Vec<f64>> {
    let look = |_| {
        let begun = Instant::now();
        home.state.quiet(&["network", "inspect", "tsubo", "--format", "json"])?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    (0..LOOKS).map(look).collect()
}

fn floor(home: &Home, parts: &str) -> (Words, Words) {
    let line = floor_of(&home.ground, parts).run;
    // `floor -g GROUP PARTS ROOT /bin/idle true` becomes one that stays.
    let mut stays: Words = line.iter().take(line.len() - 1).cloned().collect();
    stays.insert(1, "-d".into());
    (stays, vec![line[0].clone(), "-k".into(), line[2].clone()])
}

fn detached(name: &str, (detach, remove): (Words, Words)) -> Runtime {
    Runtime { name: name.into(), detach: Some(detach), remove: Some(remove), ..Runtime::default() }
}

fn ours(tsubo: &Tsubo<'_>, name: &str, network: &[&str]) -> Runtime {
    let detach = tsubo.run(&[&["-d", "--name", "t{}"], network].concat(), &[]);
    detached(name, (detach, tsubo.runtime().remove.unwrap_or_default()))
}

struct Crowd {
    name: String,
    count: u32,
    first: Samples,
    last: Samples,
    /// KiB of each.
    kernel: f64,
    anonymous: f64,
    left: f64,
    looks: Samples,
}

impl Crowd {
    fn grow(runtime: &Runtime, count: u32, look: impl Fn() -> Result<Vec<f64>>) -> Result<Self> {
        shell::unless_interrupted()?;
        let detach = runtime.detach.as_ref().ok_or("nothing to leave running")?;
        // What only the first one makes is not a container's: it stays meanwhile.
        let mut first = Fleet::numbered(runtime, detach, Fleet::first() * 2)?;
        first.grow(1)?;
        let others = Pids::now();
        let before = Counters::settled()?;
        let mut fleet = Fleet::new(runtime, detach)?;
        let times = fleet.grow(count)?;
        let after = Counters::settled()?;
        let (helpers, idle) = others.since();
        if idle.processes != count {
            return Err(format!(
                "{}: {} programs are running in {count} containers",
                runtime.name, idle.processes
            )
            .into());
        }
        let mut looks = Samples::default();
        looks.extend(look()?);
        drop(fleet);
        let end = Counters::settled()?;
        let each = |kib: f64| kib / f64::from(count);
        let grown = |counters: &Counters| each(counters.less(&before).iter().sum());
        let [mut early, mut late] = [Samples::default(), Samples::default()];
        early.extend(times.iter().take(END).copied());
        late.extend(times.iter().rev().take(END).copied());
        Ok(Self {
            name: runtime.name.clone(),
            count,
            first: early,
            last: late,
            kernel: grown(&after),
            anonymous: each((helpers.anonymous + idle.anonymous) as f64),
            left: grown(&end),
            looks,
        })
    }

    fn starts(&self) -> Vec<String> {
        let ratio = self.last.median() / self.first.median();
        let ours = !self.looks.median().is_nan();
        let look = if ours { format!("{} ms", milliseconds(self.looks.median())) } else { String::new() };
        row([
            &self.name,
            &self.count.to_string(),
            &milliseconds(self.first.median()),
            &milliseconds(self.last.median()),
            &format!("{ratio:.2}"),
            &look,
            if ours { "1.5; 50 ms" } else { "" },
        ])
    }

    fn all(&self) -> f64 {
        self.kernel + self.anonymous
    }

    fn memory(&self, none: &Self) -> Vec<String> {
        let numbers = [self.kernel, self.anonymous, self.all(), self.all() - none.all(), self.left];
        std::iter::once(self.name.clone()).chain(numbers.map(|kib| format!("{kib:.0}"))).collect()
    }
}
