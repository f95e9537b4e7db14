//! `./x bench parts`: what each feature of a container costs on its own.

use std::path::Path;

use super::runtimes::{self, Ground, Runtime, Tsubo};
use super::samples::Samples;
use super::timer::Timer;
use super::{Ask, Findings, State, row, start};
use crate::shell::{self, Result};

const ROUNDS: u32 = 40;
const BLOCK: u32 = 10;

/// One feature by bare system calls: what is measured, over what it cannot do without
/// (names from bench/floor/parts.c).
struct Part {
    label: &'static str,
    over: &'static str,
    with: &'static str,
}

const fn part(label: &'static str, over: &'static str, with: &'static str) -> Part {
    Part { label, over, with }
}

const PARTS: &[Part] = &[
    part("pid namespace", "none", "pid"),
    part("ipc namespace", "none", "ipc"),
    part("uts namespace", "none", "uts"),
    part("cgroup namespace", "none", "cgroup"),
    part("time namespace", "none", "time"),
    part("network namespace", "none", "net"),
    part("user namespace, 65,536 ids", "none", "user"),
    part("mount namespace", "none", "mnt"),
    part("control groups", "none", "groups"),
    part("root bound on itself", "mnt", "mnt,root"),
    part("pivot_root", "mnt,root", "mnt,root,pivot"),
    part("root idmapped, read-only", "mnt,user,root", "mnt,user,idmap"),
    part("/proc", "mnt,pid", "mnt,pid,proc"),
    part("/sys", "mnt", "mnt,sys"),
    part("/dev (tmpfs)", "mnt", "mnt,dev"),
    part("/dev/pts", "mnt", "mnt,pts"),
    part("/dev/shm", "mnt", "mnt,shm"),
    part("/dev/mqueue", "mnt,ipc", "mnt,ipc,mqueue"),
    part("no_new_privs", "none", "nnp"),
    part("capabilities dropped", "none", "caps"),
    part("filter of 297 instructions", "nnp", "nnp,seccomp"),
];

/// In which order a container is built up from nothing.
const STEPS: &[(&str, &str)] = &[
    ("nothing", "none"),
    ("mount namespace", "mnt"),
    ("pid, ipc, uts namespaces", "pid,ipc,uts"),
    ("control groups and their namespace", "groups,cgroup"),
    ("root and pivot_root", "root,pivot"),
    ("/proc, /sys", "proc,sys"),
    ("/dev, /dev/pts, /dev/shm, /dev/mqueue: the floor", "dev,pts,shm,mqueue"),
    ("no_new_privs, no capabilities", "nnp,caps"),
    ("filter", "seccomp"),
    ("user namespace", "user"),
    ("idmapped root: the floor of our default", "idmap"),
    ("network namespace", "net"),
];

/// One feature of `tsubo run`: what it is given without it and with it. Options that this tsubo does
/// not know, and what it refuses, are skipped and said.
struct Feature {
    label: &'static str,
    over: &'static [&'static str],
    with: &'static [&'static str],
}

const fn feature(
    label: &'static str,
    over: &'static [&'static str],
    with: &'static [&'static str],
) -> Feature {
    Feature { label, over, with }
}

const NONE: &[&str] = &["--preset", "bare"];
const GROUPED: &[&str] = &["--preset", "bare", "--isolation", "cgroup=true"];
const OWN_MOUNTS: &[&str] = &["--preset", "bare", "--namespace", "mount=own"];

/// `with` is added to `over`; where it is nothing, `over` takes the feature away from the default.
const FEATURES: &[Feature] = &[
    feature("network namespace", NONE, &["--network", "none"]),
    feature("pid namespace", NONE, &["--pid", "own"]),
    feature("ipc namespace", NONE, &["--ipc", "own"]),
    feature("uts namespace", NONE, &["--uts", "own"]),
    feature("time namespace", NONE, &["--namespace", "time=own"]),
    feature("control groups", NONE, &["--isolation", "cgroup=true"]),
    feature("cgroup namespace", GROUPED, &["--namespace", "cgroup=own"]),
    feature("mount namespace", NONE, &["--namespace", "mount=own"]),
    feature("pivot_root", OWN_MOUNTS, &["--isolation", "root=pivot"]),
    feature("user namespace, mapped root", OWN_MOUNTS, &["--userns", "own", "--isolation", "root=pivot"]),
    feature("no_new_privs", NONE, &["--isolation", "no_new_privileges=true"]),
    feature("no capabilities", NONE, &["--cap-drop", "ALL"]),
    feature("default filter", NONE, &["--isolation", "no_new_privileges=true", "--seccomp", "default"]),
    feature("limits of resources", NONE, &["--ulimit", "nofile=1024:4096", "--ulimit", "core=0"]),
    feature("default: /proc", &["--without", "/proc"], &[]),
    feature("default: /sys and its groups", &["--without", "/sys", "--without", "/sys/fs/cgroup"], &[]),
    feature("default: /dev", &["--without", "/dev"], &[]),
    feature("default: filter", &["--seccomp", "none"], &[]),
    feature("default: user namespace", &["--userns", "host"], &[]),
    feature("default: own network", &[], &["--network", "none"]),
    feature("default: writable root", &[], &["--writable"]),
    feature("default: an init", &[], &["--init"]),
];

/// Whole sets, over the smallest.
const PRESETS: [&str; 4] = ["default", "strict", "system", "host-debug"];

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let rounds = ask.rounds(ROUNDS);
    Ok(Findings {
        title: "Parts: what each feature costs",
        tables: vec![alone(&ground, rounds)?, together(&ground, rounds)?, features(&state, &ground, rounds)?],
        notes: vec![NOTE.into()],
    })
}

const NOTE: &str = "Milliseconds. A cost is the median of the differences between blocks of 10 starts with and without the part, in \
    turns; below about 0.02 it is noise. The first two tables are bare system calls (bench/floor), the last is `tsubo run --rm`. \
    Making and removing are both in it, but for what the kernel puts off until later.";

/// Each part over what it needs.
fn alone(ground: &Ground, rounds: u32) -> Result<Vec<Vec<String>>> {
    let mut rows = vec![row(["on its own", "without", "with", "cost"])];
    for part in PARTS {
        let [over, with] = [part.over, part.with].map(|parts| runtimes::floor_of(ground, parts));
        let pair = Pair::measure(&over, &with, rounds)?;
        rows.push(pair.row(part.label));
    }
    Ok(rows)
}

/// From nothing to everything, a step at a time.
fn together(ground: &Ground, rounds: u32) -> Result<Vec<Vec<String>>> {
    let mut rows = vec![row(["one after another", "median", "this step"])];
    let mut before: Option<f64> = None;
    for (median, (label, _)) in steps(ground, rounds)?.into_iter().zip(STEPS) {
        let step = before.map_or(String::new(), |b| format!("{:+.3}", median - b));
        rows.push(row([label, &format!("{median:.3}"), &step]));
        before = Some(median);
    }
    Ok(rows)
}

fn steps(ground: &Ground, rounds: u32) -> Result<Vec<f64>> {
    let mut parts = Vec::new();
    let mut timers = Vec::new();
    for (_, more) in STEPS {
        parts.push(*more);
        timers.push(start::start(&runtimes::floor_of(ground, &parts.join(",")))?);
    }
    let mut samples = vec![Samples::default(); timers.len()];
    for _ in 0..rounds {
        for (timer, samples) in timers.iter_mut().zip(&mut samples) {
            samples.extend(block(timer)?);
        }
    }
    Ok(samples.iter().map(Samples::median).collect())
}

/// `tsubo run --rm`: whole presets, then each feature.
fn features(state: &State, ground: &Ground, rounds: u32) -> Result<Vec<Vec<String>>> {
    let tsubo = Tsubo::install(state, ground)?;
    let of = |flags: &[&[&str]]| {
        let options = [&["--rm"], &flags.concat()[..]].concat();
        Runtime { run: tsubo.run(&options, &["true"]), ..Runtime::default() }
    };
    let mut rows = vec![row(["tsubo run --rm", "without", "with", "cost"])];
    let mut add = |label: &str, over: &[&[&str]], with: &[&[&str]]| -> Result {
        shell::unless_interrupted()?;
        let flags = [over, with].concat().concat();
        let unknown = flags.iter().find(|f| f.starts_with("--") && !runtimes::has_flag(state, f));
        let pair = match unknown {
            Some(flag) => Err(format!("this tsubo has no {flag}").into()),
            None => Pair::measure(&of(over), &of(with), rounds),
        };
        match pair {
            Ok(pair) => rows.push(pair.row(label)),
            Err(error) => println!("SKIPPED: {label}: {error}"),
        }
        Ok(())
    };
    for preset in PRESETS {
        add(&format!("preset {preset} over bare"), &[NONE], &[&["--preset", preset]])?;
    }
    for feature in FEATURES {
        let with: &[&[&str]] = match feature.with {
            [] => &[],
            with => &[feature.over, with],
        };
        add(feature.label, &[feature.over], with)?;
    }
    Ok(rows)
}

/// Something with and without a part.
struct Pair {
    without: Samples,
    with: Samples,
    cost: Samples,
}

impl Pair {
    fn measure(over: &Runtime, with: &Runtime, rounds: u32) -> Result<Self> {
        let mut timers = [start::start(over)?, start::start(with)?];
        let mut pair =
            Self { without: Samples::default(), with: Samples::default(), cost: Samples::default() };
        for _ in 0..rounds {
            let [without, with] = &mut timers;
            let (without, with) = (block(without)?, block(with)?);
            pair.cost.extend([middle(&with) - middle(&without)]);
            pair.without.extend(without);
            pair.with.extend(with);
        }
        Ok(pair)
    }

    fn row(&self, label: &str) -> Vec<String> {
        let [without, with] = [&self.without, &self.with].map(|s| format!("{:.3}", s.median()));
        row([label, &without, &with, &format!("{:+.3}", self.cost.median())])
    }
}

/// A block of starts, without the first: the one before was another's.
fn block(timer: &mut Timer) -> Result<Vec<f64>> {
    shell::unless_interrupted()?;
    Ok(timer.time(BLOCK + 1, 0)?.split_off(1))
}

fn middle(times: &[f64]) -> f64 {
    let mut samples = Samples::default();
    samples.extend(times.iter().copied());
    samples.median()
}
