//! Limits of control groups, each tried by a program that wants more.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, succeed, until};

/// A house whose container `web` sleeps, unless it is told to do something else.
fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]}))
}

/// A file of the control group of process `pid`, by its names on version 1 and 2.
pub fn file_of(pid: i64, controller: &str, one: &str, two: &str) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let own = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers.split(',').any(|name| name == wanted).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let on_one =
        own(controller).map(|path| PathBuf::from("/sys/fs/cgroup").join(controller).join(path).join(one));
    let on_two = own("").map(|path| Path::new("/sys/fs/cgroup").join(path).join(two));
    [on_one, on_two].into_iter().flatten().find_map(|file| std::fs::read_to_string(file).ok())
}

/// Whether containers get this controller here; if not, it is said.
pub fn limits(house: &House, controller: &str, one: &str, two: &str) -> bool {
    house.ok_elsewhere(["run", "-d", "--name", "probe", "web"]);
    let has = file_of(pid(house, "probe"), controller, one, two).is_some();
    house.ok_elsewhere(["rm", "-f", "probe"]);
    if !has {
        println!("SKIPPED: containers get no control group of {controller} here");
    }
    has
}

pub fn pid(house: &House, name: &str) -> i64 {
    house.json_elsewhere(["inspect", name])["state"]["pid"].as_i64().expect("a pid")
}

pub fn number(text: Option<String>) -> u64 {
    text.expect("a file").trim().parse().expect("a number")
}

fn memory_of(house: &House, name: &str) -> u64 {
    number(file_of(pid(house, name), "memory", "memory.limit_in_bytes", "memory.max"))
}

fn tasks_of(house: &House, name: &str) -> u64 {
    number(file_of(pid(house, name), "pids", "pids.max", "pids.max"))
}

#[test]
fn nobody_asks_and_still_no_container_takes_the_last_of_the_host() {
    let Some(house) = house() else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    house.ok_elsewhere(["run", "-d", "--name", "one", "web"]);
    let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total = text.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("total") << 10;
    let most = memory_of(&house, "one");
    assert!(most <= total / 2 + (1 << 20) && most >= total / 2 - (64 << 20), "{most} of {total}");
    let tasks = tasks_of(&house, "one");
    assert!((1..=2048).contains(&tasks), "{tasks}");
    let told = house.ok_elsewhere(["run", "--explain", "web"]);
    assert!(told.contains("memory") && told.contains("computed from this host"), "{told}");
    house.ok_elsewhere(["run", "-d", "--name", "two", "--memory", "max", "--pids-limit", "-1", "web"]);
    let text = file_of(pid(&house, "two"), "pids", "pids.max", "pids.max").expect("pids.max");
    assert_eq!(text.trim(), "max");
    let text = file_of(pid(&house, "two"), "memory", "memory.limit_in_bytes", "memory.max").expect("memory");
    assert!(text.trim() == "max" || number(Some(text.clone())) > 1 << 60, "{text}");
}

#[test]
fn who_wants_more_memory_is_killed_and_that_is_told() {
    let Some(house) = house() else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    let hog = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"];
    let run = |more: &'static [&'static str], name: &'static str| {
        ["run", "--name", name].into_iter().chain(more.iter().copied()).chain(["web"]).chain(hog)
    };
    house.ok_elsewhere(run(&[], "plenty"));
    house.fails_elsewhere(137, run(&["--memory", "32m"], "little"));
    assert_eq!(house.json_elsewhere(["inspect", "little"])["state"]["oom"], true);
}

#[test]
fn who_wants_more_processes_is_refused_them() {
    let Some(house) = house() else { return };
    if !limits(&house, "pids", "pids.max", "pids.max") {
        return;
    }
    let bomb = "i=0; while [ $i -lt 40 ]; do /bin/sleep 3 & i=$((i+1)); done; echo all";
    let run = |more: &'static str| ["run", "--rm", "--pids-limit", more, "web", "/bin/sh", "-c", bomb];
    assert!(house.ok_elsewhere(run("100")).contains("all"));
    let complaint = house.fails_elsewhere(2, run("10"));
    assert!(complaint.contains("can't fork"), "{complaint}");
}

#[test]
fn who_wants_more_time_waits() {
    let Some(house) = house() else { return };
    if !limits(&house, "cpu", "cpu.cfs_quota_us", "cpu.max") {
        return;
    }
    let busy = ["/bin/sh", "-c", "while :; do :; done"];
    let run = ["run", "-d", "--name", "busy", "--cpus", "0.2", "--limit", "cpu_burst=0.1", "web"];
    house.ok_elsewhere(run.into_iter().chain(busy));
    until("it was throttled", || {
        let stat = file_of(pid(&house, "busy"), "cpu", "cpu.stat", "cpu.stat").expect("cpu.stat");
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        count.expect("a count") > 2
    });
    // What it used is what it was allowed to, with some grace for how the kernel hands time out.
    let used = |pid: i64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let fields: Vec<i64> = stat
            .rsplit(") ")
            .next()
            .expect("fields")
            .split(' ')
            .filter_map(|field| field.parse().ok())
            .collect();
        (fields[10] + fields[11]) as f64 / 100.0
    };
    let pid = pid(&house, "busy");
    let (begun, before) = (Instant::now(), used(pid));
    std::thread::sleep(Duration::from_secs(2));
    let share = (used(pid) - before) / begun.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share} of a processor");
    house.ok_elsewhere(["update", "--cpus", "max", "busy"]);
    let quota = file_of(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").expect("a quota");
    assert!(quota.starts_with("-1") || quota.starts_with("max"), "{quota}");
}

#[test]
fn processors_are_chosen() {
    let Some(house) = house() else { return };
    let allowed = ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"];
    let run = ["run", "--rm", "--best-effort", "--cpuset-cpus", "0", "web"];
    let told = house.ok_elsewhere(run.into_iter().chain(allowed));
    let strict = house
        .command_elsewhere(["run", "--rm", "--cpuset-cpus", "0", "web"].into_iter().chain(allowed))
        .output();
    let strict = strict.expect("tsubo");
    if strict.status.success() {
        assert_eq!(told.split_whitespace().last(), Some("0"));
        assert_eq!(String::from_utf8_lossy(&strict.stdout), told);
    } else {
        one_clear_error(&String::from_utf8_lossy(&strict.stderr), &["cpuset"]);
        println!("SKIPPED: no control group of cpuset can be had here");
    }
    let complaint = house.fails_elsewhere(125, ["run", "--rm", "--cpuset-cpus", "0-", "web"]);
    assert!(complaint.contains("cpuset"), "{complaint}");
}

#[test]
fn disks_are_slowed_down() {
    let Some(house) = house() else { return };
    let write = "dd if=/dev/zero of=/srv/data bs=512k count=6 oflag=direct 2>&1; rm /srv/data";
    let data = house.path("data");
    std::fs::create_dir(&data).expect("mkdir");
    std::os::unix::fs::chown(&data, Some(0), Some(0)).expect("chown");
    let bind = format!("{}:/srv", data.display());
    let rate = format!("{}:1m", data.display());
    let run = ["run", "--rm", "-v", &bind, "--device-write-bps", &rate, "web", "/bin/sh", "-c", write];
    let begun = Instant::now();
    let done = house.command_elsewhere(run).output().expect("tsubo");
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        one_clear_error(&complaint, &["disk", "io", "controller"]);
        println!("SKIPPED: {complaint}");
        return;
    }
    let told = String::from_utf8_lossy(&done.stdout);
    if told.contains("Invalid argument") || told.contains("invalid") {
        println!("SKIPPED: no direct writing here: {told}");
        return;
    }
    // 3 MiB at one a second; a slower machine only takes longer.
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}: {told}", begun.elapsed());
    let complaint = house.fails_elsewhere(125, ["run", "--rm", "--device-read-bps", "/proc:1m", "web"]);
    assert!(complaint.contains("no disk"), "{complaint}");
}

#[test]
fn limits_change_while_it_runs_all_or_none_and_stay_for_the_next_start() {
    let Some(house) = house() else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    house.ok_elsewhere(["run", "-d", "--name", "web", "--memory", "64m", "web"]);
    assert_eq!(memory_of(&house, "web"), 64 << 20);
    house.ok_elsewhere(["update", "--memory", "128m", "--pids-limit", "50", "web"]);
    assert_eq!((memory_of(&house, "web"), tasks_of(&house, "web")), (128 << 20, 50));
    // No kernel gives a group processors that the host does not have.
    let refused = ["update", "--memory", "96m", "--cpuset-cpus", "4095", "web"];
    let complaint = house.fails_elsewhere(125, refused);
    assert!(complaint.contains("cpuset"), "{complaint}");
    assert_eq!(memory_of(&house, "web"), 128 << 20);
    house.ok_elsewhere(["restart", "-t", "0", "web"]);
    assert_eq!((memory_of(&house, "web"), tasks_of(&house, "web")), (128 << 20, 50));
    let seen = house.json_elsewhere(["inspect", "web"]);
    assert_eq!(seen["spec"]["resources"]["memory"]["max"], 128 << 20, "{seen}");
    house.fails_elsewhere(125, ["update", "--limit", "group=other", "web"]);
}

#[test]
fn a_keeper_that_starts_it_again_gives_the_limits_of_then() {
    let Some(house) = house() else { return };
    if !limits(&house, "pids", "pids.max", "pids.max") {
        return;
    }
    let run = ["run", "-d", "--name", "web", "--restart", "always", "--pids-limit", "20", "web"];
    house.ok_elsewhere(run);
    house.ok_elsewhere(["update", "--pids-limit", "30", "web"]);
    let first = pid(&house, "web");
    // Not by us: that would be an end that was asked for.
    let mut kill = std::process::Command::new("kill");
    kill.args(["-9", &first.to_string()]);
    succeed(kill);
    until("it runs again", || {
        let state = &house.json_elsewhere(["inspect", "web"])["state"];
        state["pid"].as_i64().is_some_and(|pid| pid != first && pid != 0) && state["restarts"] == 1
    });
    until("its limit", || tasks_of(&house, "web") == 30);
}

#[test]
fn what_this_host_cannot_enforce_is_refused_unless_best_is_enough() {
    let Some(house) = house() else { return };
    // Known to one version each, so one of them is refused everywhere but on a host with both.
    let words = ["memory_high=20M", "tcp_memory=20M", "rdma.nothing0=1:1", "misc.nothing=1"];
    let mut refused = 0;
    for word in words {
        let run = house.command_elsewhere(["run", "--rm", "--limit", word, "web", "/bin/true"]).output();
        let run = run.expect("tsubo");
        if run.status.code() == Some(125) {
            let complaint = String::from_utf8_lossy(&run.stderr);
            one_clear_error(&complaint, &[]);
            // Before anything is made, or by the kernel, which alone knows its devices.
            let known = ["limiting container", "rdma.max", "misc.max"];
            assert!(known.iter().any(|part| complaint.contains(part)), "{complaint}");
            refused += 1;
        }
        house.ok_elsewhere(["run", "--rm", "--best-effort", "--limit", word, "web", "/bin/true"]);
    }
    assert!(refused > 0);
    let refused = ["run", "--rm", "--isolation", "cgroup=false", "--memory", "64m", "web"];
    let complaint = house.fails_elsewhere(125, refused);
    assert!(complaint.contains("memory") && complaint.contains("--best-effort"), "{complaint}");
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), Value::Array(Vec::new()));
}

#[test]
fn a_package_brings_limits_but_takes_nothing_from_others() {
    let limited =
        |limits: Value| installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "limits": limits}));
    let Some(house) = limited(json!({"memory": "48M", "pids": 30})) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "--pids-limit", "40", "web"]);
    if file_of(pid(&house, "web"), "memory", "memory.limit_in_bytes", "memory.max").is_some() {
        assert_eq!((memory_of(&house, "web"), tasks_of(&house, "web")), (48 << 20, 40));
    } else {
        println!("SKIPPED: no control group of memory here");
    }
    for greedy in [json!({"cpu_weight": 10_000}), json!({"memory": "max"}), json!({"group": "tenant"})] {
        let Some(house) = limited(greedy.clone()) else { return };
        let complaint = house.fails_elsewhere(125, ["run", "--rm", "web", "/bin/true"]);
        assert!(complaint.contains("--as-packaged"), "{greedy}: {complaint}");
    }
}

#[test]
fn containers_of_a_group_share_its_limits() {
    let Some(house) = house() else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    let complaint = house.fails_elsewhere(125, ["run", "-d", "--group", "tenant", "web"]);
    assert!(complaint.contains("tsubo group set tenant"), "{complaint}");
    house.ok_elsewhere(["group", "set", "tenant", "--memory", "64m", "--pids-limit", "12"]);
    house.fails_elsewhere(125, ["group", "set", "other/inner", "--memory", "64m"]);
    house.fails_elsewhere(125, ["group", "set", "tenant", "--cpuset-cpus", "0"]);
    house.ok_elsewhere(["group", "set", "tenant/inner", "--cpu-weight", "20"]);
    let hog = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    house.fails_elsewhere(137, ["run", "--rm", "--group", "tenant", "web"].into_iter().chain(hog));
    house.fails_elsewhere(137, ["run", "--rm", "--group", "tenant/inner", "web"].into_iter().chain(hog));
    // Neither has more than its own share of the limit, together they have more.
    let some = "i=0; while [ $i -lt 7 ]; do /bin/sleep 1000 & i=$((i+1)); done; echo up; sleep 1000";
    let run =
        |name: &'static str| ["run", "-d", "--name", name, "--group", "tenant", "web", "/bin/sh", "-c", some];
    house.ok_elsewhere(run("one"));
    until("it is up", || house.ok_elsewhere(["logs", "one"]).contains("up"));
    house.ok_elsewhere(run("two"));
    // busybox says that it cannot fork, and ends.
    assert_eq!(house.ok_elsewhere(["wait", "two"]), "2\n");
    let listed = house.json_elsewhere(["group", "ls", "--format", "json"]);
    assert_eq!((&listed[0]["name"], &listed[0]["limits"]["memory"]), (&json!("tenant"), &json!("64M")));
    assert!(listed[0]["containers"].as_array().is_some_and(|list| !list.is_empty()), "{listed}");
    // Changed for those that run.
    house.ok_elsewhere(["group", "set", "tenant", "--memory", "256m"]);
    let hog = ["exec", "one"].into_iter().chain(hog);
    house.ok_elsewhere(["update", "--memory", "max", "one"]);
    house.ok_elsewhere(hog);
    house.fails_elsewhere(125, ["group", "rm", "tenant"]);
    house.fails_elsewhere(125, ["group", "rm", "tenant/inner", "nothing"]);
    house.ok_elsewhere(["rm", "-f", "one"]);
    house.command_elsewhere(["rm", "-f", "two"]).output().expect("tsubo");
    house.ok_elsewhere(["group", "rm", "tenant"]);
    assert_eq!(house.json_elsewhere(["group", "ls", "--format", "json"]), Value::Array(Vec::new()));
}

#[test]
fn who_executes_in_it_counts_too() {
    let Some(house) = house() else { return };
    if !limits(&house, "pids", "pids.max", "pids.max") {
        return;
    }
    house.ok_elsewhere(["run", "-d", "--name", "web", "--pids-limit", "4", "web"]);
    let exec =
        |_| house.command_elsewhere(["exec", "-d", "web", "/bin/sleep", "1000"]).output().expect("tsubo");
    let refused = (0..8).map(exec).filter(|output| !output.status.success()).inspect(|output| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        one_clear_error(&complaint, &["as many processes as it may have", "--pids-limit"]);
    });
    assert!(refused.count() >= 4);
    let tasks = number(file_of(pid(&house, "web"), "pids", "pids.current", "pids.current"));
    assert!(tasks <= 4, "{tasks}");
}

#[test]
fn words_without_a_backend_are_refused_not_ignored() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "runs", "web"]);
    house.ok_elsewhere(["create", "--name", "made", "web"]);
    house.fails_elsewhere(125, ["update", "--limit", "misc.nothing=1", "--limit", "logs=1m", "runs"]);
    for name in ["runs", "made"] {
        house.fails_elsewhere(125, ["update", "--limit", "disk=0", name]);
        house.fails_elsewhere(125, ["update", "--memory", "4k", name]);
    }
}

#[test]
fn what_the_tests_used_leads_to_limits_that_a_flag_overrides() {
    let forecast =
        |memory: &str| json!({"command": ["/bin/sleep", "1000"], "forecast": {"memory": memory, "pids": 70}});
    let Some(house) = installed(|tar| tar, forecast("80M")) else { return };
    if !limits(&house, "memory", "memory.limit_in_bytes", "memory.max") {
        return;
    }
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    assert_eq!((memory_of(&house, "web"), tasks_of(&house, "web")), (80 << 20, 70));
    let told = house.ok_elsewhere(["run", "--explain", "web"]);
    assert!(told.contains("80M at most") && told.contains("its tests used"), "{told}");
    house.ok_elsewhere(["run", "-d", "--name", "more", "--memory", "90m", "web"]);
    assert_eq!((memory_of(&house, "more"), tasks_of(&house, "more")), (90 << 20, 70));
    // Where best is enough, what can be enforced is.
    let run = [
        "run",
        "-d",
        "--name",
        "best",
        "--best-effort",
        "--memory",
        "70m",
        "--limit",
        "misc.nothing=1",
        "web",
    ];
    house.ok_elsewhere(run);
    assert_eq!(memory_of(&house, "best"), 70 << 20);
    // No package can have more by foretelling much.
    let Some(house) = installed(|tar| tar, forecast("900T")) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    assert!(memory_of(&house, "web") < 1 << 46);
}

#[test]
fn groups_in_further_hierarchies_go_with_the_container_and_with_a_start_that_fails() {
    let Some(house) = house() else { return };
    let id = |name: &str| house.json_elsewhere(["inspect", name])["id"].as_str().expect("an id").to_owned();
    let groups = |id: &str| {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        hierarchies
            .map(|one| one.path().join("tsubo").join(id))
            .filter(|path| path.exists())
            .collect::<Vec<_>>()
    };
    let more = ["--best-effort", "--cpuset-cpus", "0", "--limit", "hugepages.2MB=4M"];
    house.ok_elsewhere(["run", "-d", "--name", "web"].into_iter().chain(more).chain(["web"]));
    let web = id("web");
    println!("{:?}", groups(&web));
    house.ok_elsewhere(["rm", "-f", "web"]);
    until("its groups are gone", || groups(&web).is_empty());
    house.ok_elsewhere(["create", "--name", "none"].into_iter().chain(more).chain(["web", "/bin/nothing"]));
    let none = id("none");
    house.fails_elsewhere(127, ["start", "none"]);
    until("nothing is left of the start", || groups(&none).is_empty());
    let refused =
        house.command_elsewhere(["create", "--name", "far", "--cpuset-cpus", "4095", "web"]).output();
    if refused.expect("tsubo").status.success() {
        let far = id("far");
        house.fails_elsewhere(125, ["start", "far"]);
        until("nothing is left of the refused", || groups(&far).is_empty());
    }
}
