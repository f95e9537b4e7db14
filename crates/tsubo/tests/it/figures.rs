//! Figures of containers, compared with what they did.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, Running, one_clear_error, until};

/// A house with a shell, whose /tmp is fresh at each start.
fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp"]}))
}

fn start(house: &House, name: &str, script: &str) {
    house.ok_elsewhere(["run", "-d", "--name", name, "web", "/bin/sh", "-c", script]);
}

fn stats(house: &House) -> Value {
    house.json_elsewhere(["stats", "--no-stream", "--interval", "200ms", "--all", "--format", "json"])
}

/// The figures of one.
fn of(house: &House, name: &str) -> Value {
    let all = stats(house);
    let mut found =
        all["containers"].as_array().expect("containers").iter().filter(|one| one["name"] == name);
    found.next().unwrap_or_else(|| panic!("{name} in {all:#}")).clone()
}

/// Waits until the figures of one are as they should be, and returns them.
#[track_caller]
fn figures(house: &House, name: &str, what: &str, are: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let now = of(house, name);
        if are(&now) {
            return now;
        }
        assert!(Instant::now() < end, "waited in vain: {what}: {now:#}");
    }
}

/// What the host has counted for all processes of a container, in nanoseconds.
fn counted(house: &House, name: &str) -> u64 {
    let rows = house.json_elsewhere(["top", name, "--format", "json"]);
    rows.as_array().expect("rows").iter().map(|row| row["cpu_ms"].as_u64().expect("time") * 1_000_000).sum()
}

/// The directory of a container's memory group; None where this host gives it none.
fn memory_group(house: &House, name: &str) -> Option<PathBuf> {
    let pid = house.json_elsewhere(["inspect", name])["state"]["pid"].as_i64().expect("pid");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let line =
        |key: &str| groups.lines().find_map(|line| line.split_once(key).map(|(_, path)| path.to_owned()));
    let one = line(":memory:").map(|path| PathBuf::from(format!("/sys/fs/cgroup/memory{path}")));
    let two = || line("0::").map(|path| PathBuf::from(format!("/sys/fs/cgroup{path}")));
    let found = one.or_else(two).filter(|dir| dir.join("memory.stat").exists());
    if found.is_none() {
        eprintln!("SKIPPED: this container has no group of the memory controller");
    }
    found
}

#[test]
fn a_busy_loop_is_as_busy_as_the_host_says() {
    let Some(house) = house() else { return };
    start(&house, "busy", "while :; do :; done");
    start(&house, "idle", "exec sleep 1000");
    let before = counted(&house, "busy");
    let busy = figures(&house, "busy", "it runs", |one| one["cpu"]["percent"].as_f64() > Some(1.0));
    let after = counted(&house, "busy");
    let usage = busy["cpu"]["usage_ns"].as_u64().expect("usage");
    // Ticks are of 10 ms, and its start, before it was its own, is in the group too.
    assert!(usage + 20_000_000 >= before && usage <= after + 100_000_000, "{before} {usage} {after}");
    assert_eq!(busy["tasks"], json!({"runnable": 1, "blocked": 0}), "{busy:#}");
    let host = &busy["cpu"]["percent_of_host"];
    assert!(host.as_f64() > Some(0.0) && host.as_f64() <= busy["cpu"]["percent"].as_f64(), "{busy:#}");
    let idle = of(&house, "idle");
    assert!(idle["cpu"]["percent"].as_f64() < Some(1.0), "{idle:#}");
    assert_eq!(idle["tasks"], json!({"runnable": 0, "blocked": 0}), "{idle:#}");
    assert_eq!(idle["cpu"]["limit_processors"], Value::Null);
}

#[test]
fn a_stream_tells_rates_and_loads_that_fit_its_counts() {
    let Some(house) = house() else { return };
    start(&house, "busy", "while :; do :; done");
    let mut command = house.command_elsewhere(["stats", "--format", "json", "--interval", "300ms", "busy"]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn().expect("spawn"));
    let lines = BufReader::new(child.0.stdout.take().expect("output")).lines();
    let rows: Vec<Value> =
        lines.take(4).map(|line| serde_json::from_str(&line.expect("line")).expect("JSON")).collect();
    for pair in rows.windows(2) {
        let usage = |row: &Value| row["containers"][0]["cpu"]["usage_ns"].as_f64().expect("usage");
        let seconds = pair[1]["interval_seconds"].as_f64().expect("interval");
        let expected = (usage(&pair[1]) - usage(&pair[0])) / 1e7 / seconds;
        let told = pair[1]["containers"][0]["cpu"]["percent"].as_f64().expect("percent");
        // The interval is that of the whole look, in which each container has its own moment.
        assert!((told - expected).abs() < 5.0 + expected * 0.2, "{told} {expected}");
    }
    let load = rows[3]["containers"][0]["load"].as_array().expect("load");
    assert!(load.iter().all(|load| load.as_f64() > Some(0.0) && load.as_f64() < Some(1.1)), "{load:?}");
    drop(child);
}

#[test]
fn memory_is_told_by_kind() {
    let Some(house) = house() else { return };
    start(
        &house,
        "hog",
        "hog=$(yes | head -c 30000000); head -c 5000000 /dev/zero > /tmp/file; while :; do sleep 1000; done",
    );
    if memory_group(&house, "hog").is_none() {
        return;
    }
    let hog = figures(&house, "hog", "it has its memory", |one| {
        one["memory"]["cache_bytes"].as_u64() >= Some(5_000_000)
            && one["memory"]["anonymous_bytes"].as_u64() >= Some(30_000_000)
    });
    let memory = |key: &str| hog["memory"][key].as_u64().unwrap_or_else(|| panic!("{key} in {hog:#}"));
    assert!(memory("usage_bytes") >= memory("working_set_bytes"), "{hog:#}");
    assert!(memory("working_set_bytes") >= 30_000_000, "{hog:#}");
    assert!(memory("usage_bytes") < 200_000_000, "{hog:#}");
    assert!(hog["memory"]["percent_of_host"].as_f64() > Some(0.0), "{hog:#}");
    assert_eq!(memory("oom_kills"), 0);
    let processes = house.json_elsewhere(["top", "hog", "--format", "json"]);
    assert_eq!(
        hog["pids"]["current"].as_u64(),
        processes.as_array().map(|rows| rows.len() as u64),
        "{hog:#}"
    );
}

#[test]
fn whoever_is_killed_for_lack_of_memory_is_counted() {
    let Some(house) = house() else { return };
    start(&house, "small", "exec sleep 1000");
    let Some(group) = memory_group(&house, "small") else { return };
    let limit = 32 << 20;
    let file = ["memory.max", "memory.limit_in_bytes"].map(|file| group.join(file));
    fs::write(file.iter().find(|file| file.exists()).expect("a limit"), limit.to_string()).expect("a limit");
    // Of two programs one is killed, whichever; what the shell makes of that does not matter.
    let mut hog =
        house.command_elsewhere(["exec", "small", "/bin/sh", "-c", "hog=$(yes | head -c 90000000)"]);
    hog.output().expect("exec");
    let small =
        figures(&house, "small", "the kill is counted", |one| one["memory"]["oom_kills"].as_u64() >= Some(1));
    assert_eq!(small["memory"]["limit_bytes"], limit);
    assert!(small["memory"]["percent_of_limit"].as_f64() <= Some(100.0), "{small:#}");
}

#[test]
fn what_is_written_to_a_disk_and_into_memory_is_told() {
    let Some(house) = house() else { return };
    fs::create_dir(house.path("data")).expect("data");
    let volume = format!("{}:/srv", house.path("data").display());
    let script = "dd if=/dev/zero of=/srv/file bs=1M count=16 conv=fsync; head -c 3000000 /dev/zero > /tmp/file; exec sleep 1000 < /tmp/file";
    house.ok_elsewhere(["run", "-d", "--name", "w", "-v", &volume, "web", "/bin/sh", "-c", script]);
    let at_tmp = |one: &Value| {
        let all = one["file_systems"].as_array().expect("file systems").iter();
        all.filter(|fs| fs["at"] == "/tmp").map(|fs| fs["used_bytes"].as_u64().expect("used")).next()
    };
    let w = figures(&house, "w", "it has written", |one| at_tmp(one) >= Some(3_000_000));
    let all = w["file_systems"].as_array().expect("file systems");
    assert!(all.iter().all(|fs| fs["at"] != "/srv"), "the host's disk is not its own: {w:#}");
    assert!(w["open_files"].as_u64() >= Some(3), "{w:#}");
    match w["io"]["written_bytes"].as_u64() {
        // Parts may have been written by the kernel's own threads, in the name of nobody.
        Some(written) => assert!(written >= 4 << 20, "{w:#}"),
        None => eprintln!("SKIPPED: this host does not count transfers of this group"),
    }
    assert_eq!(w["network"], Value::Null, "it has the host's");
}

#[test]
fn the_table_shows_the_host_and_who_was_asked_for() {
    let Some(house) = house() else { return };
    start(&house, "b", "exec sleep 1000");
    start(&house, "a", "while :; do :; done");
    house.ok_elsewhere(["create", "--name", "c", "web"]);
    let names = |args: &[&str]| -> Vec<String> {
        let once = ["stats", "--no-stream", "--interval", "300ms"];
        let text = house.ok_elsewhere(once.iter().chain(args));
        text.lines().skip(1).filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    assert_eq!(names(&[]), ["(host)", "a", "b"]);
    assert_eq!(names(&["--sort", "name", "--all"]), ["(host)", "a", "b", "c"]);
    assert_eq!(names(&["b"]), ["(host)", "b"]);
    one_clear_error(&house.fails_elsewhere(125, ["stats", "--no-stream", "nobody"]), &["nobody"]);
    one_clear_error(&house.fails_elsewhere(125, ["stats", "--interval", "1ms"]), &["interval"]);
    let all = stats(&house);
    assert!(all["host"]["memory"]["total_bytes"].as_u64() > Some(0), "{all:#}");
    assert!(all["host"]["disk"]["used_bytes"].as_u64() > Some(0), "{all:#}");
    assert!(all["host"]["processors"].as_u64() > Some(0) && all["host"]["cpu_percent"].is_f64(), "{all:#}");
    let created = all["containers"].as_array().expect("containers").iter().find(|one| one["name"] == "c");
    assert_eq!(created.expect("c")["cpu"]["usage_ns"], Value::Null, "{all:#}");
}

#[test]
fn a_stream_follows_who_comes_and_goes_and_ends_with_its_reader() {
    let Some(house) = house() else { return };
    let mut command = house.command_elsewhere(["stats", "--format", "json", "--interval", "100ms"]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn().expect("spawn"));
    let mut lines = BufReader::new(child.0.stdout.take().expect("output")).lines();
    let mut seen = |expected: &[&str]| {
        let row: Value = serde_json::from_str(&lines.next().expect("more").expect("line")).expect("JSON");
        row["containers"]
            .as_array()
            .expect("containers")
            .iter()
            .map(|one| one["name"].clone())
            .eq(expected.iter().copied())
    };
    until("nobody is there", || seen(&[]));
    start(&house, "a", "exec sleep 1000");
    until("one is there", || seen(&["a"]));
    house.ok_elsewhere(["rename", "a", "b"]);
    until("it has another name", || seen(&["b"]));
    house.ok_elsewhere(["rm", "-f", "b"]);
    until("it is gone", || seen(&[]));
    drop(lines);
    until("it has ended", || child.0.try_wait().expect("wait").is_some_and(|status| status.success()));
}
