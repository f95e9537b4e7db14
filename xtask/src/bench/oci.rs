//! `./x bench oci`: `tsubo-oci` beside the floor, crun and runc, on the bundle that `runc spec` writes;
//! and below engines, beside runc.

mod bundle;
pub(super) mod engines;
mod memory;

use std::path::{Path, PathBuf};

use super::runtimes::{Ground, Runtime, Words, floor_of, pure_v1, words};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

/// Starts of each runtime in a row, then the next one's turn: what is near in time is comparable.
const BLOCK: u32 = 10;
const ROUNDS: u32 = 20;
const PAUSED_ROUNDS: u32 = 25;
const STEP_ROUNDS: u32 = 40;
const PAUSE_MS: u64 = 100;

const OURS: &str = "tsubo-oci";
const FLOOR: &str = "floor";
const CRUN: &str = "crun";

/// What is done with a container that is not just run.
const STEPS: [&str; 4] = ["create", "start", "exec", "delete --force"];

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let ours = ask.dist.join(OURS).to_string_lossy().into_owned();
    let home = Home::new()?;
    bundle::write(&ground)?;
    let peers: Vec<Peer> = peers(&ours, &ground, &home).into_iter().filter(Peer::works).collect();
    let hot = measure(&peers, ask.rounds(ROUNDS), |timer| Ok(timer.time(BLOCK, 0)?.split_off(1)))?;
    let paused = measure(&peers, ask.rounds(PAUSED_ROUNDS), |timer| timer.time(1, PAUSE_MS))?;
    let steps = [0, PAUSE_MS].map(|pause| steps(&peers, ask.rounds(STEP_ROUNDS), pause));
    let [steps_hot, steps_paused] = steps;
    let memory = memory::measure(&peers)?;
    let goals = goals(&hot, &paused, &memory);
    Ok(Findings {
        title: "tsubo-oci: the standard bundle, from the command to its exit status",
        tables: vec![
            tabulate("run, hot loop", &hot),
            tabulate("run, 100 ms pause before each", &paused),
            tabulate_steps("hot", &steps_hot?),
            tabulate_steps("100 ms pause before each", &steps_paused?),
            memory::tabulate(&memory),
            engines::measure(ask, &ground, &ours)?,
            goals,
        ],
        notes: vec![NOTE.into()],
    })
}

const NOTE: &str = "Milliseconds, medians. The bundle is what `runc spec` writes, without a terminal and with a static program: mount, \
    network, pid, ipc and uts namespace, 7 mounts among which the control groups, 10 masked and 5 read-only paths, rules for devices, \
    a limit, capabilities. The floor (bench/floor) has the same namespaces, control groups, 6 of the mounts and pivot_root, and \
    nothing else. All run in a mount namespace that has no unified hierarchy, which crun refuses beside version 1; all keep their \
    state on a tmpfs. delete --force ends a container that runs. Below engines the program is the same, without a network; runc's \
    and ours in turns.";

/// A place for states that is what `/run` is on a host with systemd: a tmpfs.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self> {
        let path = Path::new("/dev/shm").join(Ground::prefix());
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Who is measured.
struct Peer {
    name: String,
    wrapper: Words,
    run: Words,
    /// Its steps, if it has such.
    steps: Vec<Words>,
}

fn peers(ours: &str, ground: &Ground, home: &Home) -> Vec<Peer> {
    let Runtime { run, .. } = floor_of(ground, "minimal,net");
    let floor = Peer { name: FLOOR.into(), wrapper: pure_v1(), run, steps: Vec::new() };
    let others = [OURS, CRUN, "runc"].map(|name| {
        let program = if name == OURS { ours } else { name };
        let (state, id) = (home.0.join(name), format!("{}-{name}-{{}}", Ground::prefix()));
        let line = |rest: &str| words(&format!("{program} --root {} {rest}", state.display()));
        let (brief, idle) = (ground.at("bundle-brief"), ground.at("bundle-idle"));
        Peer {
            name: name.into(),
            wrapper: pure_v1(),
            run: line(&format!("run -b {brief} {id}")),
            steps: [
                format!("create -b {idle} {id}"),
                format!("start {id}"),
                format!("exec {id} /bin/idle true"),
                format!("delete --force {id}"),
            ]
            .iter()
            .map(|rest| line(rest))
            .collect(),
        }
    });
    std::iter::once(floor).chain(others).collect()
}

impl Peer {
    /// Whether it works here; that it does not is said.
    fn works(&self) -> bool {
        let tried = self.timer().and_then(|mut timer| timer.time(3, 0));
        if let Err(error) = &tried {
            println!("SKIPPED: {} does not work on this host: {error}", self.name);
        }
        tried.is_ok()
    }

    fn timer(&self) -> Result<Timer> {
        Timer::start(&self.wrapper, &[&self.run], Until::Success)
    }
}

type Measured = Vec<(String, Samples)>;

fn measure(peers: &[Peer], rounds: u32, turn: fn(&mut Timer) -> Result<Vec<f64>>) -> Result<Measured> {
    let mut timers = peers.iter().map(Peer::timer).collect::<Result<Vec<_>>>()?;
    let mut all: Measured = peers.iter().map(|peer| (peer.name.clone(), Samples::default())).collect();
    for _ in 0..rounds {
        for (timer, (name, samples)) in timers.iter_mut().zip(&mut all) {
            shell::unless_interrupted()?;
            samples.extend(turn(timer).map_err(|error| format!("{name}: {error}"))?);
        }
    }
    Ok(all)
}

/// For each who has steps the times of each.
type Steps = Vec<(String, Vec<Samples>)>;

fn steps(peers: &[Peer], rounds: u32, pause_ms: u64) -> Result<Steps> {
    let with_steps: Vec<&Peer> = peers.iter().filter(|peer| !peer.steps.is_empty()).collect();
    let mut timers = Vec::new();
    for peer in &with_steps {
        let commands: Vec<&Words> = peer.steps.iter().collect();
        timers.push(Timer::start(&peer.wrapper, &commands, Until::Success)?);
    }
    let mut all: Steps = with_steps.iter().map(|peer| (peer.name.clone(), Vec::new())).collect();
    for round in 0..=rounds {
        for (timer, (name, samples)) in timers.iter_mut().zip(&mut all) {
            shell::unless_interrupted()?;
            let times = timer.laps(round, 1, pause_ms).map_err(|error| format!("{name}: {error}"))?.concat();
            samples.resize_with(times.len(), Samples::default);
            // The first pays for what the kernel and the disk have not yet got at hand.
            for (samples, time) in samples.iter_mut().zip(times).filter(|_| round > 0) {
                samples.extend([time]);
            }
        }
    }
    Ok(all)
}

fn median(all: &Measured, name: &str) -> f64 {
    all.iter().find(|one| one.0 == name).map_or(f64::NAN, |one| one.1.median())
}

fn tabulate(title: &str, all: &Measured) -> Vec<Vec<String>> {
    let against = [FLOOR, CRUN].map(|name| median(all, name));
    let mut rows = vec![row([title, "median", "fastest", "90 %", "to the floor", "to crun"])];
    for (name, samples) in all {
        let times = [samples.median(), samples.quantile(0.0), samples.quantile(0.9)];
        let ratios = against.map(|other| samples.median() / other);
        let cells = times.iter().chain(&ratios).map(|number| format!("{number:.2}"));
        rows.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    rows
}

fn tabulate_steps(title: &str, all: &Steps) -> Vec<Vec<String>> {
    let crun = all.iter().find(|one| one.0 == CRUN);
    let head = STEPS.iter().flat_map(|step| [*step, "to crun"]);
    let mut rows: Vec<Vec<String>> = vec![std::iter::once(title).chain(head).map(str::to_owned).collect()];
    for (name, samples) in all {
        let mut cells = vec![name.clone()];
        for (index, step) in samples.iter().enumerate() {
            let other = crun.and_then(|crun| crun.1.get(index)).map_or(f64::NAN, Samples::median);
            cells.extend([step.median(), step.median() / other].map(|number| format!("{number:.2}")));
        }
        rows.push(cells);
    }
    rows
}

/// What was promised.
fn goals(hot: &Measured, paused: &Measured, memory: &memory::Peaks) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "ratio", "goal"])];
    let mut goal = |what: &str, over: f64, under: f64, goal: &str| {
        rows.push(row([what, &format!("{:.2}", over / under), goal]));
    };
    let ours = |all: &Measured| median(all, OURS);
    goal("run to the floor, hot", ours(hot), median(hot, FLOOR), "1.4, aim 1.15");
    goal("run to crun, hot", ours(hot), median(hot, CRUN), "-");
    goal("run to crun, paused", ours(paused), median(paused, CRUN), "0.3");
    goal("peak memory of run to crun's", memory.of(OURS), memory.of(CRUN), "below 1");
    rows
}
