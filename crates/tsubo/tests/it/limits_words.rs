//! Words of `[limits]` that not every host has, memory given back on demand, groups in groups, and
//! what all containers have together: each tried by a program that wants more.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::limits::{file_of, limits, number, pid};
use crate::support::base::compile;
use crate::support::busybox::{file, installed};
use crate::support::{House, ended, have, one_clear_error, until};

/// A house whose container `web` sleeps, unless it is told to do something else.
fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp"]}))
}

/// Processor time of a process, in seconds.
fn used(pid: i64) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields = stat.rsplit(") ").next().expect("fields").split(' ');
    let fields: Vec<i64> = fields.filter_map(|field| field.parse().ok()).collect();
    (fields[10] + fields[11]) as f64 / 100.0
}

/// Bytes of files that a container's group holds in memory.
fn cached(house: &House) -> u64 {
    let stat = file_of(pid(house, "web"), "memory", "memory.stat", "memory.stat").expect("memory.stat");
    let line = stat.lines().find_map(|line| line.strip_prefix("cache ").or(line.strip_prefix("file ")));
    number(line.map(str::to_owned))
}

#[test]
fn memory_that_can_be_spared_is_given_back_on_demand() {
    let Some(house) = house() else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    std::fs::create_dir(house.path("data")).expect("mkdir");
    let bind = format!("{}:/srv", house.path("data").display());
    house.ok_elsewhere(["run", "-d", "--name", "web", "-v", &bind, "web"]);
    let write = "dd if=/dev/zero of=/srv/data bs=1M count=40 conv=fsync 2>&1";
    house.ok_elsewhere(["exec", "web", "/bin/sh", "-c", write]);
    let before = cached(&house);
    assert!(before > 32 << 20, "{before}");
    let some = house.command_elsewhere(["update", "--reclaim", "8m", "web"]).output().expect("tsubo");
    if some.status.success() {
        let after = cached(&house);
        assert!(after < before && after > 16 << 20, "{before} {after}");
    } else {
        one_clear_error(&String::from_utf8_lossy(&some.stderr), &["version 1", "all"]);
    }
    let told = house.ok_elsewhere(["update", "--reclaim", "all", "web"]);
    assert!(told.starts_with("web: ") && told.contains("given back"), "{told}");
    let after = cached(&house);
    assert!(after < 8 << 20, "{told} {after}");
    // Nobody was ended for it, and what it wrote is there.
    house.ok_elsewhere(["exec", "web", "/bin/sh", "-c", "test $(stat -c %s /srv/data) = 41943040"]);
    house.ok_elsewhere(["kill", "web"]);
    house.ok_elsewhere(["wait", "web"]);
    let complaint = house.fails_elsewhere(125, ["update", "--reclaim", "all", "web"]);
    assert!(complaint.contains("does not run"), "{complaint}");
}

#[test]
fn time_is_shared_by_weight_where_all_want_it() {
    let Some(house) = house() else { return };
    if !limits(&house, "cpu", "cpu.shares", "cpu.weight") {
        return;
    }
    for (name, weight) in [("light", "100"), ("heavy", "300")] {
        let run = ["run", "-d", "--name", name, "--cpuset-cpus", "0", "--cpu-weight", weight, "web"];
        let spin = ["/bin/sh", "-c", "while :; do :; done"];
        let output = house.command_elsewhere(run.into_iter().chain(spin)).output().expect("tsubo");
        if !output.status.success() {
            one_clear_error(&String::from_utf8_lossy(&output.stderr), &["cpuset"]);
            println!("SKIPPED: no control group of cpuset can be had here");
            return;
        }
    }
    let both = || ["light", "heavy"].map(|name| used(pid(&house, name)));
    let before = both();
    let since = || [both()[0] - before[0], both()[1] - before[1]];
    crate::support::until_within(60, "both had enough to compare", || since().iter().all(|time| *time > 0.7));
    let [light, heavy] = since();
    assert!((1.8..5.0).contains(&(heavy / light)), "{heavy} to {light}");
}

#[test]
fn weights_of_disks_and_real_time_are_given_or_refused() {
    let Some(house) = house() else { return };
    for (word, controller, one, two, values) in [
        // In the unit of Docker and of version 1 that is 15.
        ("io_weight=50", "blkio", "blkio.bfq.weight", "io.weight", ["50", "15"]),
        ("cpu_realtime=1000", "cpu", "cpu.rt_runtime_us", "cpu.nothing", ["1000"; 2]),
    ] {
        let run = ["run", "-d", "--name", "one", "--limit", word, "web"];
        let output = house.command_elsewhere(run).output().expect("tsubo");
        if output.status.success() {
            let text = file_of(pid(&house, "one"), controller, one, two).expect(word);
            assert!(text.split_whitespace().any(|word| values.contains(&word)), "{word}: {text}");
            println!("{word}: {text}");
        } else {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            one_clear_error(&complaint, &[]);
            println!("SKIPPED: {complaint}");
        }
        house.command_elsewhere(["rm", "-f", "one"]).output().expect("rm");
    }
}

/// Two huge pages of the host that somebody may have; given back at the end where they were made for
/// this, which is done in a guest only.
struct HugePages(Option<String>);

const RESERVED: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

impl HugePages {
    fn two() -> Option<Self> {
        let number = |file: &str| {
            let path = Path::new(RESERVED).with_file_name(file);
            std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
        };
        if number("free_hugepages")? >= 2 {
            return Some(Self(None));
        }
        let guest = std::fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.contains("cgroup_no_v1"));
        let before = std::fs::read_to_string(RESERVED).ok().filter(|_| guest)?;
        std::fs::write(RESERVED, "2").ok()?;
        let made = Self(Some(before));
        (number("free_hugepages")? >= 2).then_some(made)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = std::fs::write(RESERVED, before);
        }
    }
}

const WANTS_HUGE_PAGES: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
int main(int count, char **words) {
    long size = atol(words[1]) * (2 << 20);
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (at == MAP_FAILED) return 3;
    for (long i = 0; i < size; i += 2 << 20) at[i] = 1;
    puts("all");
    return 0;
}
"#;

#[test]
fn who_wants_more_huge_pages_gets_none() {
    if !have(&["busybox", "gcc"]) {
        return;
    }
    let Some(_pages) = HugePages::two() else {
        println!("SKIPPED: this host has no huge pages");
        return;
    };
    let workshop = House::new();
    let wants = std::fs::read(compile(&workshop, "wants", WANTS_HUGE_PAGES, &["-static"])).expect("program");
    let Some(house) = installed(|tar| file(tar, "bin/wants", &wants, 0o755), json!({})) else { return };
    let run = |most, pages| ["run", "--rm", "--limit", most, "web", "/bin/wants", pages];
    assert_eq!(house.ok_elsewhere(run("hugepages.2MB=4M", "2")), "all\n");
    // The kernel's way to say so: a bus error.
    house.fails_elsewhere(135, run("hugepages.2MB=2M", "2"));
}

#[test]
fn what_the_misc_and_rdma_controllers_have_is_limited() {
    let Some(house) = house() else { return };
    let capacity = std::fs::read_to_string("/sys/fs/cgroup/misc.capacity").unwrap_or_default();
    let Some(name) = capacity.split_whitespace().next() else {
        println!("SKIPPED: this host has nothing that the misc controller counts");
        return;
    };
    house.ok_elsewhere(["run", "-d", "--name", "one", "--limit", &format!("misc.{name}=1"), "web"]);
    let text = file_of(pid(&house, "one"), "misc", "misc.max", "misc.max").expect("misc.max");
    assert!(text.contains(&format!("{name} 1")), "{text}");
}

#[test]
fn groups_in_groups_hold_what_both_say() {
    let Some(house) = house() else { return };
    if !limits(&house, "pids", "pids.max", "pids.max") {
        return;
    }
    house.ok_elsewhere(["group", "set", "outer", "--pids-limit", "20", "--memory", "64m", "--cpus", "1.5"]);
    house.ok_elsewhere(["group", "set", "outer/inner", "--pids-limit", "8"]);
    for beyond in [["--pids-limit", "30"], ["--memory", "65m"], ["--cpus", "1.6"], ["--memory-swap", "100m"]]
    {
        let set = ["group", "set", "outer/inner"].into_iter().chain(beyond);
        let said = if beyond[0] == "--memory-swap" { &["--memory", "64m"][..] } else { &[] };
        let complaint = house.fails_elsewhere(125, set.chain(said.iter().copied()));
        assert!(complaint.contains("outer"), "{complaint}");
    }
    let bomb = "i=0; while [ $i -lt 40 ]; do /bin/sleep 3 & i=$((i+1)); echo $i; done";
    let run = |group: &'static str| ["run", "--rm", "--group", group, "web", "/bin/sh", "-c", bomb];
    for (group, most) in [("outer", 20), ("outer/inner", 8)] {
        let output = house.command_elsewhere(run(group)).output().expect("tsubo");
        let count = String::from_utf8_lossy(&output.stdout).lines().count();
        assert!(!output.status.success() && count < most, "{group}: {count}");
    }
    let complaint = house.fails_elsewhere(125, ["group", "set", "outer", "--limit", "logs=1m"]);
    assert!(complaint.contains("logs"), "{complaint}");
}

#[test]
fn a_group_with_limited_memory_has_no_swap_unless_it_is_given_some() {
    let Some(house) = house() else { return };
    let swap = |name: &str| {
        let (one, two) = ("../memory.memsw.limit_in_bytes", "../memory.swap.max");
        file_of(pid(&house, name), "memory", one, two).map(|text| text.trim().to_owned())
    };
    house.ok_elsewhere(["group", "set", "tenant", "--memory", "64m"]);
    house.ok_elsewhere(["run", "-d", "--name", "one", "--group", "tenant", "web"]);
    let Some(none) = swap("one") else {
        println!("SKIPPED: no control group holds swap here");
        return;
    };
    // Alone on version 2, with the memory on version 1.
    assert!(none == "0" || none == (64 << 20).to_string(), "{none}");
    house.ok_elsewhere(["group", "set", "tenant", "--limit", "swap=16m"]);
    let some = swap("one").expect("swap");
    assert!(some == (16 << 20).to_string() || some == (80 << 20).to_string(), "{some}");
    house.ok_elsewhere(["group", "set", "tenant", "--memory", "96m"]);
    let some = swap("one").expect("swap");
    assert!(some == (16 << 20).to_string() || some == (112 << 20).to_string(), "{some}");
    house.ok_elsewhere(["rm", "-f", "one"]);
    // What cannot be held is left out where best is enough; the rest is held.
    let set =
        ["group", "set", "best", "--memory", "64m", "--limit", "memory_high=48m", "--limit", "tcp_memory=4m"];
    house.fails_elsewhere(125, set);
    house.ok_elsewhere(set.into_iter().chain(["--best-effort"]));
    house.ok_elsewhere(["run", "-d", "--name", "two", "--group", "best", "web"]);
    let (one, two) = ("../memory.limit_in_bytes", "../memory.max");
    assert_eq!(number(file_of(pid(&house, "two"), "memory", one, two)), 64 << 20);
}

/// A group of our own in each hierarchy of version 1, whose containers are in none of the host's.
struct Apart(Vec<PathBuf>);

impl Apart {
    fn new() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (mut groups, number) = (Self(Vec::new()), NEXT.fetch_add(1, Ordering::Relaxed));
        for line in own.lines() {
            let fields: Vec<&str> = line.splitn(3, ':').collect();
            let hierarchy = Path::new("/sys/fs/cgroup").join(fields[1]);
            if fields[1].is_empty() || fields[1].contains('=') || !hierarchy.is_dir() {
                continue;
            }
            let name = format!("tsubo-test-{}-{number}", std::process::id());
            let group = hierarchy.join(fields[2].trim_start_matches('/')).join(name);
            std::fs::create_dir(&group).ok()?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = group.parent().and_then(|above| std::fs::read(above.join(file)).ok());
                above.map(|content| std::fs::write(group.join(file), content));
            }
            groups.0.push(group);
        }
        (!groups.0.is_empty()).then_some(groups)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for group in &self.0 {
            let gone = || {
                let _ = std::fs::remove_dir(group.join("tsubo"));
                std::fs::remove_dir(group).is_ok()
            };
            let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while !gone() && std::time::Instant::now() < end {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}

/// The host is made small for it: the kernel says that there are 200 processes at most.
#[test]
fn all_containers_together_leave_something_to_the_host() {
    if !have(&["busybox", "unshare"]) {
        return;
    }
    let Some(apart) = Apart::new() else {
        println!("SKIPPED: no control groups of version 1 to stand apart in");
        return;
    };
    let Some(house) = house() else { return };
    let fork = "i=0; while [ $i -lt 90 ]; do /bin/sleep 100 & i=$((i+1)); echo $i; done; echo all; sleep 100";
    let script = format!(
        r#"
set -e
for group in {groups}; do echo $$ > $group/cgroup.procs; done
echo 200 > small
mount --bind small /proc/sys/kernel/pid_max
t() {{ timeout 50 "$TSUBO" --root "$ROOT" "$@"; }}
t run -d --name one --pids-limit 100 web /bin/sh -c '{fork}' > /dev/null
until t logs one | grep -q all; do sleep 0.1; done
t run --name two --overcommit --pids-limit 100 web /bin/sh -c '{fork}' > two 2>&1 || true
wc -l < two
t rm -f one two > /dev/null
"#,
        groups = apart.0.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(" "),
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script]).current_dir(house.dir());
    unshare.env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).env("ROOT", house.elsewhere());
    unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = ended(unshare.spawn().expect("unshare"), "the script");
    assert!(output.status.success(), "{output:?}");
    let bound = apart.0.iter().find_map(|group| std::fs::read_to_string(group.join("tsubo/pids.max")).ok());
    if let Some(bound) = bound {
        // Three quarters.
        assert_eq!(bound.trim(), "150");
    }
    let got: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a count");
    assert!(got < 60, "{got} beside 91 others");
    until("nothing is left", || {
        apart.0.iter().all(|group| {
            std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
        })
    });
}

#[test]
fn info_says_of_each_word_what_a_start_says() {
    let Some(house) = house() else { return };
    let info = house.json_elsewhere(["info", "--format", "json"]);
    let words = info["limits"]["words"].as_array().expect("words");
    assert!(words.len() > 15, "{info:#}");
    for (word, setting) in [
        ("memory", "memory=64M"),
        ("memory_high", "memory_high=64M"),
        ("tcp_memory", "tcp_memory=64M"),
        ("cpu_realtime", "cpu_realtime=1000"),
        ("pids", "pids=20"),
        ("io_weight", "io_weight=50"),
    ] {
        let told = words.iter().find(|one| one["word"] == word).unwrap_or_else(|| panic!("{word}: {info:#}"));
        let run = ["run", "--rm", "--limit", setting, "web", "/bin/true"];
        let output = house.command_elsewhere(run).output().expect("tsubo");
        assert_eq!(told["enforced"], output.status.success(), "{told} {output:?}");
        assert_eq!(told["reason"].is_null(), output.status.success(), "{told}");
    }
    for which in ["one", "all"] {
        assert!(info["limits"][which]["pids"].as_u64() > Some(0), "{info:#}");
    }
    let text = house.ok_elsewhere(["info"]);
    assert!(text.contains("all together") && text.contains("lxcfs"), "{text}");
}

/// Where the groups above have a budget for it, which nobody here gives them.
#[test]
fn real_time_is_bounded_where_the_host_has_some_to_give() {
    let Some(apart) = Apart::new() else {
        println!("SKIPPED: no control groups of version 1 to stand apart in");
        return;
    };
    let Some(house) = house() else { return };
    let group = apart.0.iter().find(|group| group.join("cpu.rt_runtime_us").exists());
    let budget = |directory: &Path| std::fs::write(directory.join("cpu.rt_runtime_us"), "20000");
    let Some(group) = group.filter(|group| budget(group).is_ok()) else {
        println!("SKIPPED: this kernel gives no group real time");
        return;
    };
    std::fs::create_dir(group.join("tsubo")).expect("mkdir");
    budget(&group.join("tsubo")).expect("a budget");
    let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_tsubo"), "--root"]).arg(house.elsewhere());
    command.args(["run", "-d", "--name", "one", "--limit", "cpu_realtime=10000"]);
    command.args(["--isolation", "scheduler=fifo:1", "web", "/bin/sh", "-c", "while :; do :; done"]);
    crate::support::succeed(command);
    let pid = pid(&house, "one");
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    // SCHED_FIFO (proc(5)).
    assert_eq!(stat().rsplit(") ").next().and_then(|rest| rest.split(' ').nth(38)), Some("1"));
    let begun = std::time::Instant::now();
    until("it has used some", || used(pid) > 0.01);
    std::thread::sleep(std::time::Duration::from_secs(2));
    // It never stops wanting, and gets one hundredth.
    let share = used(pid) / begun.elapsed().as_secs_f64();
    assert!(share < 0.1, "{share}");
    house.ok_elsewhere(["rm", "-f", "one"]);
}
