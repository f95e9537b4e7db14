//! Hundreds of small web servers that run: what each keeps of the host's memory, whoever runs them.

use std::fs;
use std::process::{Command, Stdio};

use super::gate::{Gate, Served};
use super::packed::{self, NGINX};
use super::process::{Process, until_served};
use super::{Home, Part};
use crate::bench::footprint::counters::Counters;
use crate::bench::footprint::processes::Pids;
use crate::bench::runtimes::{Ground, Words, podman_line, pure_v1};
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

const COUNT: u32 = 500;
/// Of those that take a tenth of a second each.
const HEAVY: u32 = 20;

/// The servers, and who stays with them.
const PROGRAMS: [&str; 3] = ["nginx", "tsubo", "conmon"];

/// The first port of the bare processes.
const FIRST_PORT: u16 = 20_000;

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install(&NGINX)?;
    let count = ask.count.unwrap_or(if ask.quick { 50 } else { COUNT });
    let mut rows = vec![row([
        "KiB per running nginx",
        "count",
        "kernel",
        "anonymous",
        "in all",
        "to the bare",
        "processes",
    ])];
    let bare = Kept::by(count, |count| bare(home, count))?;
    let ours = Kept::by(count, |count| ours(home, count))?;
    let mut all = vec![("tsubo, behind the gateway", ours), ("bare process", bare)];
    if packed::has("podman", "podman") {
        match Kept::by(HEAVY.min(count), |count| Podman::run(home, count)) {
            Ok(kept) => all.insert(1, ("podman, no network", kept)),
            Err(error) => println!("SKIPPED: podman does not work on this host: {error}"),
        }
    }
    let bare = all.last().map_or(f64::NAN, |one| one.1.all());
    for (name, kept) in &all {
        let numbers = [kept.kernel, kept.anonymous, kept.all()].map(|kib| format!("{kib:.0}"));
        let ratio = format!("{:.2}", kept.all() / bare);
        let ends = [ratio, format!("{:.1}", kept.processes)];
        rows.push(
            [vec![(*name).to_owned(), kept.count.to_string()], numbers.to_vec(), ends.to_vec()].concat(),
        );
    }
    Ok(Part { tables: vec![rows], note: NOTE })
}

const NOTE: &str = "Fleet: nginx as a single process that answers five bytes, from the package that its test left (bare: from this host's files); each a \
    service of its own with min = 1. What the kernel has more than before (/proc/meminfo: slab, stacks, page tables, per CPU, and caches of names and inodes that somebody \
    holds), and the anonymous memory of the servers, the gateway, the keepers and conmon, divided by the number of \
    servers. Of podman there are fewer, and what few have each is taken for what many would.";

/// KiB of each server, and processes.
struct Kept {
    count: u32,
    kernel: f64,
    anonymous: f64,
    processes: f64,
}

impl Kept {
    /// `run` returns when so many run, which end with what it returns.
    fn by<R>(count: u32, run: impl Fn(u32) -> Result<R>) -> Result<Self> {
        shell::unless_interrupted()?;
        // What only the first one makes is not a server's.
        drop(run(1)?);
        let (others, before) = (Pids::now(), Counters::settled()?);
        let running = run(count)?;
        let (after, share) = (Counters::settled()?, others.since_of(&PROGRAMS));
        drop(running);
        let each = |sum: f64| sum / f64::from(count);
        Ok(Self {
            count,
            kernel: each(after.less(&before).iter().sum()),
            anonymous: each(share.anonymous as f64),
            processes: each(f64::from(share.processes)),
        })
    }

    fn all(&self) -> f64 {
        self.kernel + self.anonymous
    }
}

fn ours(home: &Home, count: u32) -> Result<Gate<'_>> {
    let served = |n| Served::new(&format!("f{n}"), NGINX.name, NGINX.port, "min = 1\nidle = \"never\"");
    let gate = Gate::open(home, &(0..count).map(served).collect::<Vec<_>>())?;
    gate.until_running(count as usize)?;
    Ok(gate)
}

fn bare(home: &Home, count: u32) -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for port in (FIRST_PORT..).take(count as usize) {
        let file = home.ground.at(&format!("nginx-{port}.conf"));
        let usual = fs::read_to_string(home.nginx_configuration()?)?;
        fs::write(
            &file,
            usual
                .replace(&format!("listen {}", NGINX.port), &format!("listen {port}"))
                .replace("nginx.pid", &format!("nginx-{port}.pid")),
        )?;
        let line = ["nginx", "-e", "stderr", "-c", &file];
        all.push(Process::start(&line.map(str::to_owned))?);
    }
    for port in (FIRST_PORT..).take(count as usize) {
        until_served(port)?;
    }
    Ok(all)
}

/// Containers of podman, removed in the end.
struct Podman<'a>(&'a Home);

impl<'a> Podman<'a> {
    fn run(home: &'a Home, count: u32) -> Result<Self> {
        let podman = Self(home);
        // It makes directories in the root, so that is a copy.
        let root = home.ground.at("podman-root");
        if !fs::exists(&root)? {
            shell::run(Command::new("cp").arg("-a").arg(home.tree(NGINX.name)?).arg(&root))?;
        }
        for n in 0..count {
            shell::unless_interrupted()?;
            let name = format!("{}-fleet-{n}", Ground::prefix());
            let limits = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000";
            podman.call(&format!(
                "run -d --name {name} --network none --log-driver none --read-only --tmpfs /var/lib/nginx {limits} --rootfs {root} \
                 nginx -e stderr -c /srv/nginx.conf"
            ))?;
        }
        Ok(podman)
    }

    fn call(&self, words: &str) -> Result {
        let line: Words = [pure_v1(), podman_line(&self.0.ground, words)].concat();
        let (program, args) = line.split_first().ok_or("no command")?;
        shell::read_even_if_interrupted(Command::new(program).args(args).stdin(Stdio::null())).map(drop)
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.call("rm --all --force --time 0") {
            eprintln!("containers of podman may be left: {error}");
        }
    }
}
