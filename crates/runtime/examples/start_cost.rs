//! What each feature of a container adds to its start: the processor time of the starter and of the
//! new process until the gate, and the time on the clock until there and until the end of a program
//! that does nothing.
//!
//!     cargo run --release -p tsubo-runtime --example start_cost [ROUNDS]
//!
//! All cases take turns, so that what else the machine does hits all of them alike.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use spec::container::{
    Capabilities, DEFAULT_CAPABILITIES, Mount, MountFlags, MountKind, Namespace, Nodes, Place, Process, Room,
    Root, RootChange, Spec, Users,
};
use spec::plan::{Plan, plan};
use spec::seccomp::Choice;
use spec::{Id, Result, RootPath};
use tsubo_runtime::{Options, Stdio};

type Feature = (&'static str, fn(&mut Spec));

/// One after the other, each on top of those before it.
const FEATURES: [Feature; 19] = [
    ("mount namespace", |spec| own(spec, &[Namespace::Mount])),
    ("root: a tree, pivot", |spec| {
        spec.root = Root::Tree { path: spec.process.argv[1].clone().into() };
        spec.root_change = RootChange::Pivot;
    }),
    ("pid, ipc and uts namespaces", |spec| own(spec, &[Namespace::Pid, Namespace::Ipc, Namespace::Uts])),
    ("cgroup namespace", |spec| {
        spec.cgroup = true;
        own(spec, &[Namespace::Cgroup]);
    }),
    ("host name", |spec| spec.hostname = Some("inside".to_owned())),
    ("proc", |spec| mount(spec, "/proc", MountKind::Proc)),
    ("sys", |spec| mount(spec, "/sys", MountKind::Sys { writable: false })),
    ("dev: nodes made, pts, shm, mqueue", |spec| dev(spec, Nodes::Made)),
    ("users of its own, tree mapped", |spec| {
        spec.users = Some(Users::anywhere().at(0x7fed_0000));
        own(spec, &[Namespace::User]);
    }),
    ("a tmpfs", |spec| tmpfs(spec, false)),
    ("a seeded tmpfs", |spec| tmpfs(spec, true)),
    ("12 masks", |spec| {
        let masks = "acpi asound interrupts kcore keys latency_stats sched_debug scsi sysrq-trigger timer_list timer_stats kmsg";
        spec.masked = masks.split(' ').filter_map(|name| format!("/proc/{name}").parse().ok()).collect();
    }),
    ("4 read-only paths", |spec| {
        let paths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];
        spec.read_only = paths.iter().filter_map(|path| path.parse().ok()).collect();
    }),
    ("limits", |spec| spec.process.rlimits = vec![(4, 0, 0), (7, 1024, 4096)]),
    ("14 capabilities", |spec| spec.process.capabilities = Capabilities::of(DEFAULT_CAPABILITIES)),
    ("no_new_privs", |spec| spec.process.no_new_privs = true),
    ("the default filter", |spec| spec.process.seccomp = Choice::Default),
    ("an init", |spec| spec.init = true),
    ("a network of its own", |spec| own(spec, &[Namespace::Net])),
];

/// In place of a feature of the whole.
const INSTEAD: [Feature; 4] = [
    ("all but an init and a network", |spec| {
        spec.init = false;
        spec.namespaces.remove(&Namespace::Net);
    }),
    ("the same, root with a writable layer", |spec| {
        spec.init = false;
        spec.namespaces.remove(&Namespace::Net);
        let path = spec.process.argv[1].clone().into();
        spec.root = Root::Scratch { path };
        spec.room = Room { bytes: 16 << 20, inodes: 4096 };
    }),
    ("the same as the first, the host's users", |spec| {
        spec.init = false;
        for namespace in [Namespace::Net, Namespace::User] {
            spec.namespaces.remove(&namespace);
        }
        spec.users = None;
    }),
    ("the same, the host's devices bound", |spec| {
        spec.init = false;
        spec.namespaces.remove(&Namespace::Net);
        spec.mounts.retain(|mount| !matches!(mount.what, MountKind::Dev { .. }));
        dev(spec, Nodes::Bound);
    }),
];

fn own(spec: &mut Spec, namespaces: &[Namespace]) {
    spec.namespaces.extend(namespaces.iter().map(|namespace| (*namespace, Place::Own)));
}

fn mount(spec: &mut Spec, at: &str, what: MountKind) {
    if let Ok(at) = at.parse::<RootPath>() {
        spec.mounts.push(Mount { at, what, flags: MountFlags::default() });
    }
}

fn dev(spec: &mut Spec, nodes: Nodes) {
    mount(spec, "/dev", MountKind::Dev { shm: 64 << 20, nodes });
}

fn tmpfs(spec: &mut Spec, seeded: bool) {
    let at = if seeded { "/var" } else { "/tmp" };
    mount(spec, at, MountKind::Tmpfs { bytes: 64 << 20, inodes: 4096, seeded, mode: 0o755 });
}

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let tree = std::env::temp_dir().join(format!("tsubo-start-cost-{}", std::process::id()));
    build(&tree).map_err(|cause| spec::Error::io("building a root", cause))?;
    let measured = cases(&tree).and_then(|cases| measure(&cases, rounds));
    let _ = fs::remove_dir_all(&tree);
    print(&measured?);
    Ok(())
}

fn build(tree: &Path) -> std::io::Result<()> {
    for name in ["bin", "proc", "sys", "dev", "tmp", "var/lib", "var/log"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/true"))
}

/// Label, plan, and whether it is compared with the one before it.
fn cases(tree: &Path) -> Result<Vec<(String, Plan, bool)>> {
    // The second argument is where features find the tree; `true` does not look at it.
    let process = Process::new(vec!["/bin/true".into(), tree.to_string_lossy().into_owned()]);
    let mut spec = Spec::new(Id::from_bytes([7; 6]), "cost".parse()?, Root::Host, process);
    spec.root_change = RootChange::None;
    spec.namespaces.clear();
    let mut cases = vec![("nothing: fork and exec".to_owned(), plan(&spec), false)];
    for (name, add) in FEATURES {
        add(&mut spec);
        cases.push((format!("+ {name}"), plan(&spec), true));
    }
    for (name, change) in INSTEAD {
        let mut other = spec.clone();
        change(&mut other);
        cases.push((name.to_owned(), plan(&other), false));
    }
    Ok(cases)
}

/// One start: what the starter and the new process computed until the gate, and how long the whole
/// took.
#[derive(Clone, Copy)]
struct Cost {
    starter: Duration,
    child: Duration,
    gate: Duration,
    end: Duration,
}

/// Label, whether it is compared, costs.
type Measured = (String, bool, Cost);

fn measure(cases: &[(String, Plan, bool)], rounds: usize) -> Result<Vec<Measured>> {
    let mut costs = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for ((_, plan, _), costs) in cases.iter().zip(&mut costs) {
            costs.push(once(plan)?);
        }
    }
    let rows = cases.iter().zip(costs).map(|((name, _, compared), costs)| {
        let median = |part: fn(&Cost) -> Duration| {
            let mut times: Vec<_> = costs.iter().map(part).collect();
            times.sort_unstable();
            times[times.len() / 2]
        };
        let cost = Cost {
            starter: median(|cost| cost.starter),
            child: median(|cost| cost.child),
            gate: median(|cost| cost.gate),
            end: median(|cost| cost.end),
        };
        (name.clone(), *compared, cost)
    });
    Ok(rows.collect())
}

fn once(plan: &Plan) -> Result<Cost> {
    let stdio = Stdio::null()?;
    let (begin, computed) = (Instant::now(), computed());
    let mut child = tsubo_runtime::spawn(plan, Options::new(stdio))?;
    let gate = begin.elapsed();
    let starter = self::computed().saturating_sub(computed);
    let at_gate = on_processor(child.pid());
    child.release()?;
    child.wait()?;
    Ok(Cost { starter, child: at_gate, gate, end: begin.elapsed() })
}

/// The processor time of this thread.
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time of a process that waits.
fn on_processor(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

fn print(rows: &[Measured]) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "µs, medians", "starter", "child", "added", "gate", "end"
    );
    let mut before = 0.0;
    for (name, compared, cost) in rows {
        let computed = micros(cost.starter) + micros(cost.child);
        let added = if *compared { format!("{:+.0}", computed - before) } else { String::new() };
        let (starter, child) = (micros(cost.starter), micros(cost.child));
        let (gate, end) = (micros(cost.gate), micros(cost.end));
        println!("{name:<44} {starter:>8.0} {child:>8.0} {added:>8} {gate:>8.0} {end:>8.0}");
        before = computed;
    }
}
