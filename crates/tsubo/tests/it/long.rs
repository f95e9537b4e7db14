//! Many, one after the other and at once: what a single start leaves too little of to be seen adds
//! up. Where `TSUBO_SOAK` is set (`./x soak`) there are thousands, otherwise a hundred or two.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::leftovers::{self, all_groups, everything, no_empty_group_since};
use crate::support::{House, ended, one_clear_error};

/// Events are kept up to a size, in a file and the one before it.
#[track_caller]
fn no_new_files(house: &House, before: &[PathBuf]) {
    let mut new = everything(&house.elsewhere());
    new.retain(|path| !before.contains(path) && !path.ends_with("run/events.1"));
    assert_eq!(new, [] as [PathBuf; 0]);
}

fn soak() -> bool {
    std::env::var_os("TSUBO_SOAK").is_some()
}

/// What the kernel holds, by name. Others on this host are in the same counts.
fn kernel() -> BTreeMap<String, i64> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok());
    let mut held = BTreeMap::new();
    // These count groups that are removed and not gone yet, too.
    for line in read("/proc/cgroups").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (name, count) = (words.next().unwrap_or_default().to_owned(), number(words.nth(1)));
        held.extend(count.map(|count| (format!("groups of {name}"), count)));
    }
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        for line in read(&format!("{root}/cgroup.stat")).lines() {
            let dying = line.strip_prefix("nr_dying_descendants ");
            held.extend(number(dying).map(|count| ("dying groups of version 2".to_owned(), count)));
        }
    }
    const OBJECTS: [&str; 9] = [
        "mnt_cache",
        "pid",
        "task_struct",
        "mm_struct",
        "filp",
        "sock_inode_cache",
        "net_namespace",
        "uts_namespace",
        "user_namespace",
    ];
    for line in read("/proc/slabinfo").lines() {
        let mut words = line.split_whitespace();
        if let Some(name) = words.next().filter(|name| OBJECTS.contains(name)) {
            held.extend(number(words.next()).map(|count| (format!("slab objects {name}"), count)));
        }
    }
    held.extend(
        number(read("/proc/sys/fs/file-nr").split_whitespace().next())
            .map(|count| ("open files".into(), count)),
    );
    let memory = read("/proc/meminfo");
    let slab = memory.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
    held.extend(
        number(slab.and_then(|slab| slab.split_whitespace().next())).map(|count| ("slab KiB".into(), count)),
    );
    held
}

/// No count grows with every run. It may take a while until what is dying is gone.
#[track_caller]
fn nothing_grew(before: &BTreeMap<String, i64>, runs: i64) {
    // A run that leaves one object more is seen against what others do meanwhile.
    let allowed = |name: &str| if name == "slab KiB" { 32 << 10 } else { 200 } + runs / 2;
    let grown = || -> Vec<String> {
        let after = kernel();
        let grew = before.iter().filter_map(|(name, count)| Some((name, after.get(name)? - count)));
        grew.filter(|(name, more)| *more > allowed(name))
            .map(|(name, more)| format!("{more} more {name}"))
            .collect()
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !grown().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(grown(), [] as [String; 0], "after {runs} runs");
    let after = kernel();
    let told =
        before.iter().map(|(name, count)| format!("{name} {:+}", after.get(name).unwrap_or(&0) - count));
    println!("after {runs} runs: {}", told.collect::<Vec<_>>().join(", "));
}

#[test]
fn fault_f17_runs_one_after_the_other_leave_nothing_in_the_kernel() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let run = || house.ok_elsewhere(["run", "--rm", "web", "/bin/true"]);
    (0..20).for_each(|_| _ = run());
    let (files, groups, held) = (everything(&house.elsewhere()), all_groups(), kernel());
    let count = if soak() { 10_000 } else { 150 };
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        run();
        times.push(began.elapsed());
    }
    let slow = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100])
    };
    println!(
        "median and 99th percentile: {:?} of the first 100, {:?} of the last",
        slow(&times[..100]),
        slow(&times[count - 100..])
    );
    no_new_files(&house, &files);
    assert_eq!(leftovers::of(&house.elsewhere(), &[]), [] as [String; 0]);
    no_empty_group_since(&groups);
    nothing_grew(&held, count as i64);
}

fn tsubo(house: &House, args: &[&str]) -> Output {
    let mut command = house.command_elsewhere(args);
    ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn"), &format!("{args:?}"))
}

/// Does `work` with every number below `count`, with so many threads at once.
fn at_once(threads: usize, count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < count => work(number),
                        _ => return,
                    }
                }
            });
        }
    });
}

fn crowd() -> (usize, usize) {
    if soak() { (64, 500) } else { (16, 60) }
}

/// Nobody is in the way of anybody: nothing fails.
#[test]
fn fault_f4_many_names_come_and_go_at_once() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    house.ok_elsewhere(["run", "--rm", "web", "/bin/true"]);
    let (files, groups, (threads, count)) = (everything(&house.elsewhere()), all_groups(), crowd());
    at_once(threads, count, |number| {
        let name = format!("n{number}");
        let verbs: [&[&str]; 4] = [
            &["run", "-d", "--name", &name, "web"],
            &["run", "--rm", "web", "/bin/true"],
            &["stop", "-t", "0", &name],
            &["rm", &name],
        ];
        for verb in verbs {
            let output = tsubo(&house, verb);
            assert!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    });
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
    no_new_files(&house, &files);
    no_empty_group_since(&groups);
}

/// What somebody may be told who comes second.
const SECOND: [&str; 9] = [
    "there is a container",
    "another command is working on container",
    "is just being made",
    "no container",
    "is not running",
    "is running already",
    "has just ended",
    "has just been removed",
    "the container is stopping",
];

/// Five names (none of which an id can begin with), wanted by all: each command does what it should or says who was first.
#[test]
fn fault_f4_a_few_names_are_wanted_by_all_at_once() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    house.ok_elsewhere(["run", "--rm", "web", "/bin/true"]);
    let (files, groups, (threads, count)) = (everything(&house.elsewhere()), all_groups(), crowd());
    let told: Mutex<BTreeMap<String, usize>> = Mutex::default();
    at_once(threads, count, |number| {
        let name = format!("n{}", number % 5);
        let verbs: [&[&str]; 5] = [
            &["run", "-d", "--name", &name, "web"],
            &["exec", &name, "/bin/true"],
            &["stop", "-t", "0", &name],
            &["start", &name],
            &["rm", "-f", &name],
        ];
        for verb in verbs.iter().cycle().skip(number / 5 % 5).take(5) {
            let output = tsubo(&house, verb);
            let complaint = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                // What was being executed dies with its container.
                Some(0) => {}
                Some(137) if verb[0] == "exec" => {}
                Some(125) => {
                    one_clear_error(&complaint, &[&name]);
                    let known = SECOND.iter().find(|words| complaint.contains(**words));
                    let known = known.unwrap_or_else(|| panic!("{verb:?}: {complaint}"));
                    *told.lock().expect("unpoisoned").entry((*known).to_owned()).or_default() += 1;
                }
                _ => panic!("{verb:?}: {}: {complaint}", output.status),
            }
        }
    });
    println!("{:?}", told.lock().expect("unpoisoned"));
    for number in 0..5 {
        let output = tsubo(&house, &["rm", "-f", &format!("n{number}")]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || complaint.contains("no container"), "{complaint}");
    }
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
    no_new_files(&house, &files);
    assert_eq!(leftovers::of(&house.elsewhere(), &[]), [] as [String; 0]);
    no_empty_group_since(&groups);
}
