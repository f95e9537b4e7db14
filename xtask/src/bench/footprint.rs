//! `./x bench footprint`: what an idle container keeps of the host's memory.

pub(super) mod counters;
pub(super) mod processes;

use std::path::Path;

use super::fleet::Fleet;
use super::runtimes::{self, Ground, Runtime, containerd};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};
use counters::Counters;
use processes::{Pids, Share};

const COUNT: u32 = 500;
/// Of those that take a tenth of a second and megabytes each.
const HEAVY: u32 = 100;
const CONTAINERD: &str = "containerd's shim";
const WHO: [&str; 7] =
    ["tsubo run --rm", "floor", "floor, our default", "crun", "lxc", "podman with crun", CONTAINERD];

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let runtimes = runtimes::select(&runtimes::all(&state, &ground)?, &WHO);
    if runtimes.iter().any(|r| r.name == CONTAINERD) {
        containerd::serve(&ground)?;
    }
    let mut kernel = vec![
        [&["KiB per container", "count"], &counters::NAMES[..], &["anonymous", "in all", "left"]]
            .concat()
            .iter()
            .map(|w| (*w).to_owned())
            .collect::<Vec<_>>(),
    ];
    let mut processes =
        vec![row(["PSS in KiB per container", "helpers", "its own anonymous", "idle", "its own anonymous"])];
    let mut notes = Vec::new();
    for runtime in &runtimes {
        shell::unless_interrupted()?;
        match Footprint::measure(runtime, ask.count.unwrap_or(COUNT)) {
            Ok(found) => {
                kernel.push(found.kernel(runtime));
                processes.push(found.processes(runtime));
                notes.push(format!(
                    "Slab caches of {}: {}.",
                    name(runtime),
                    found.after.slabs(&found.before, found.count)
                ));
            }
            Err(error) => println!("SKIPPED: {}: {error}", runtime.name),
        }
    }
    notes.insert(0, NOTE.into());
    Ok(Findings { title: "Footprint: what an idle container keeps", tables: vec![kernel, processes], notes })
}

const NOTE: &str = "Counters of /proc/meminfo before and after, divided by the number of containers; caches of names and inodes \
    (from /proc/slabinfo) are dropped before each look; anonymous memory is that of the container's program and its helpers. \"left\" is what is still there when the containers are gone: the noise of the host, and what the kernel \
    gives back late. Goal for tsubo: at most 600 in all, its keeper at most 64 (aim 24). The floor is bare namespaces and groups; \
    its program, like crun's, stays without a helper. containerd's own daemon is not counted. \
    kmalloc-1k is what a memory group of cgroup v1 or v2 holds for each 64 super blocks that the host has ever had at once, so it grows \
    with the number of containers and of their mounts of proc, tmpfs and devpts.";

struct Footprint {
    count: u32,
    before: Counters,
    after: Counters,
    end: Counters,
    helpers: Share,
    idle: Share,
}

impl Footprint {
    fn measure(runtime: &Runtime, count: u32) -> Result<Self> {
        let count = if runtime.heavy { count.min(HEAVY) } else { count };
        let detach = runtime.detach.as_ref().ok_or("nothing to leave running")?;
        // What only the first one makes is not a container's.
        let mut first = Fleet::new(runtime, detach)?;
        first.grow(1)?;
        drop(first);
        let others = Pids::now();
        let before = Counters::settled()?;
        let mut fleet = Fleet::new(runtime, detach)?;
        fleet.grow(count)?;
        let after = Counters::settled()?;
        let (helpers, idle) = others.since();
        if idle.processes != count {
            return Err(format!("{} programs are running in {count} containers", idle.processes).into());
        }
        drop(fleet);
        let end = Counters::settled()?;
        Ok(Self { count, before, after, end, helpers, idle })
    }

    fn kernel(&self, runtime: &Runtime) -> Vec<String> {
        let anonymous = (self.helpers.anonymous + self.idle.anonymous) as f64;
        let grown = self.after.less(&self.before).into_iter().chain([anonymous]);
        let each: Vec<f64> = grown.map(|kib| kib / f64::from(self.count)).collect();
        let left = self.end.less(&self.before).iter().sum::<f64>() / f64::from(self.count);
        let all = each.iter().sum::<f64>();
        let cells = each.iter().chain([&all, &left]).map(|kib| format!("{kib:.0}"));
        [name(runtime), self.count.to_string()].into_iter().chain(cells).collect()
    }

    fn processes(&self, runtime: &Runtime) -> Vec<String> {
        let each = |kib: u64| format!("{:.1}", kib as f64 / f64::from(self.count));
        let [helpers, idle] = [&self.helpers, &self.idle];
        row([
            &name(runtime),
            &each(helpers.pss),
            &each(helpers.anonymous),
            &each(idle.pss),
            &each(idle.anonymous),
        ])
    }
}

fn name(runtime: &Runtime) -> String {
    runtime.name.split(" run").next().unwrap_or_default().to_owned()
}
