//! What was chosen of the kernel is there, what was left out is not, and what cannot be is refused.

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, until};

fn house(change: Value) -> Option<House> {
    installed(|tar| tar, change)
}

/// Runs a shell command in a fresh container with these flags.
#[track_caller]
fn said(house: &House, flags: &[&str], script: &str) -> String {
    let command = ["web", "/bin/sh", "-c", script];
    let args = ["run", "--rm"].iter().chain(flags).chain(&command);
    house.ok_elsewhere(args).trim().to_owned()
}

#[track_caller]
fn refused(house: &House, flags: &[&str]) -> String {
    let args = ["run", "--rm"].iter().chain(flags).chain(&["web", "/bin/true"]);
    house.fails_elsewhere(125, args)
}

#[test]
fn root_inside_is_nobody_outside_and_writes_as_root_where_it_may() {
    let Some(house) = house(json!({})) else { return };
    std::fs::create_dir(house.path("data")).expect("mkdir");
    let bind = format!("{}:/srv", house.path("data").display());
    house.ok_elsewhere([
        "run",
        "-d",
        "--name",
        "one",
        "-v",
        &bind,
        "web",
        "/bin/sh",
        "-c",
        "id -u > /srv/id; sleep 100",
    ]);
    until("it has written", || std::fs::read(house.path("data/id")).is_ok_and(|id| id == b"0\n"));
    let pid = house.json_elsewhere(["inspect", "one"])["state"]["pid"].as_u64().expect("pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("Uid");
    let host: u32 = uid.split('\t').next().expect("one").parse().expect("number");
    assert!(host >= 0x7000_0000, "on the host it is {host}");
    assert_eq!(std::fs::read_to_string(house.path("data/id")).expect("id"), "0\n");
    let meta = std::fs::metadata(house.path("data/id")).expect("file");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 0, "what root writes on a bind is root's");
    assert_eq!(
        house
            .ok_elsewhere(["exec", "one", "/bin/sh", "-c", "id -u; cat /proc/self/uid_map"])
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()[..2],
        ["0", "0"]
    );
    house.ok_elsewhere(["rm", "-f", "one"]);
}

#[test]
fn presets_are_more_and_less_than_the_default() {
    let Some(house) = house(json!({})) else { return };
    let bare = said(&house, &["--preset", "bare"], "ls /proc | wc -l; echo $$ | wc -c");
    let (mounts, pid) = bare.split_once('\n').expect("two lines");
    assert_eq!(mounts.trim(), "0", "nothing is mounted");
    assert!(pid.trim().parse::<u32>().expect("digits") > 2, "its pid is the host's");
    assert_eq!(said(&house, &["--preset", "host-debug"], "ls /host/proc/1/comm"), "/host/proc/1/comm");
    assert_eq!(said(&house, &["--preset", "system"], "touch /new && echo yes"), "yes");
    std::fs::create_dir_all(house.elsewhere().join("presets")).expect("mkdir");
    let own = "extends = \"default\"\nhostname = \"mine\"\nnice = 7\n";
    std::fs::write(house.elsewhere().join("presets/mine.toml"), own).expect("write");
    assert_eq!(
        said(
            &house,
            &["--preset", "mine"],
            "cat /proc/sys/kernel/hostname; cut -d' ' -f19 /proc/self/stat 2>/dev/null || nice"
        ),
        "mine\n7"
    );
    assert!(refused(&house, &["--preset", "none-such"]).contains("host-debug"), "the presets are listed");
}

#[test]
fn a_plan_has_no_step_for_what_is_left_out() {
    let Some(house) = house(json!({})) else { return };
    let whole = house.ok_elsewhere(["plan", "web"]);
    for step in ["mounting proc", "entering the container's user namespace", "loading the system call filter"]
    {
        assert!(whole.contains(step), "{step}: {whole}");
    }
    let bare = house.ok_elsewhere(["plan", "--preset", "bare", "web"]);
    for step in ["mounting", "namespace", "filter", "masking", "control groups"] {
        assert!(!bare.contains(step), "{step}: {bare}");
    }
    let json = house.json_elsewhere(["plan", "--format", "json", "web"]);
    assert!(json["plan"]["steps"].as_array().expect("steps").len() > 15);
    let explained = house.ok_elsewhere(["run", "--explain", "--cap-drop", "ALL", "web"]);
    assert!(
        explained.contains("user namespace")
            && explained.contains("--userns") | explained.contains("--namespace"),
        "{explained}"
    );
    assert!(
        house.json_elsewhere(["ps", "-a", "--format", "json"]).as_array().expect("rows").is_empty(),
        "nothing was started"
    );
}

#[test]
fn each_word_does_what_it_says() {
    let Some(house) = house(json!({})) else { return };
    let expect = |flags: &[&str], script: &str, wanted: &str| {
        assert_eq!(said(&house, flags, script), wanted, "{flags:?}")
    };
    expect(
        &["--hostname", "h", "--isolation", "domainname=d"],
        "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname",
        "h\nd",
    );
    expect(&["--network", "none"], "ls /sys/class/net", "lo");
    expect(
        &["--tmpfs", "/srv:size=1m"],
        "dd if=/dev/zero of=/srv/x bs=1k count=2000 2>/dev/null || echo full",
        "full",
    );
    expect(&["--mount", "type=tmpfs,target=/srv,ro"], "touch /srv/x 2>/dev/null || echo refused", "refused");
    expect(&["--without", "/sys"], "ls /sys | wc -l", "0");
    expect(&["--ulimit", "nofile=77:99"], "ulimit -n", "77");
    expect(
        &["--cap-drop", "ALL", "--cap-add", "KILL"],
        "grep CapEff /proc/self/status",
        "CapEff:\t0000000000000020",
    );
    expect(&["--isolation", "oom_score_adj=300"], "cat /proc/self/oom_score_adj", "300");
    expect(
        &["--network", "none", "--sysctl", "net.ipv4.ip_default_ttl=33"],
        "cat /proc/sys/net/ipv4/ip_default_ttl",
        "33",
    );
    expect(
        &["--shm-size", "128k"],
        "dd if=/dev/zero of=/dev/shm/x bs=1k count=200 2>/dev/null || echo full",
        "full",
    );
    expect(
        &["--isolation", "landlock.execute=/bin", "--isolation", "landlock.read=/bin,/etc,/dev"],
        "ls / 2>/dev/null || echo refused",
        "refused",
    );
}

#[test]
fn a_filter_of_ones_own_in_dockers_form() {
    let Some(house) = house(json!({})) else { return };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }],
    });
    std::fs::write(house.path("profile.json"), profile.to_string()).expect("write");
    let file = house.path("profile.json").display().to_string();
    assert_eq!(
        said(&house, &["--seccomp", &file, "--tmpfs", "/srv"], "mkdir /srv/x 2>/dev/null || echo refused"),
        "refused"
    );
    assert_eq!(said(&house, &["--seccomp", "none", "--tmpfs", "/srv"], "mkdir /srv/x && echo made"), "made");
    std::fs::write(house.path("profile.json"), "{ \"defaultAction\": \"SCMP_ACT_WHAT\" }").expect("write");
    assert!(refused(&house, &["--seccomp", &file]).contains("SCMP_ACT_WHAT"));
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let Some(house) = house(json!({})) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "web", "/bin/sh", "-c", "sleep 7777"]);
    let flags = ["--pid", "container:one"];
    until("its processes are seen", || said(&house, &flags, "ps").contains("sleep 7777"));
    house.ok_elsewhere(["rm", "-f", "one"]);
    assert!(refused(&house, &flags).contains("one"), "a container that is gone has none");
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let Some(house) = house(json!({})) else { return };
    for (flags, part) in [
        (&["--namespace", "mount=host"][..], "mount namespace"),
        (&["--uts", "host", "--hostname", "x"], "uts"),
        (&["--sysctl", "kernel.core_pattern=|/bin/x"], "host"),
        (&["--sysctl", "net.core.somaxconn=5"], "net namespace"),
        (&["--users", "0:1:0"], "empty"),
        (&["--users", "0:100000:10", "--users", "5:200000:10"], "overlap"),
        (&["--device", "/etc/passwd:/dev/x"], "no device"),
        (&["--cap-add", "NET_BINDSERVICE"], "NET_BIND_SERVICE"),
        (&["--isolation", "hostnam=x"], "hostname"),
        (&["--isolation", "capabilities.ambient=KILL"], "ambient"),
        (&["--isolation", "monotonic_offset=9"], "time"),
        (&["--isolation", "apparmor=mine"], "AppArmor"),
        (&["--seccomp", "observed"], "observed"),
        (&["--isolation", "controllers=none-such"], "none-such"),
    ] {
        let complaint = refused(&house, flags);
        assert!(complaint.contains(part), "{flags:?}: {complaint}");
    }
}

#[test]
fn a_low_port_takes_the_hosts_users_and_it_is_said() {
    let Some(house) = house(json!({ "ports": [{ "protocol": "tcp", "port": 80 }] })) else { return };
    let output = house
        .command_elsewhere(["run", "--rm", "web", "/bin/cat", "/proc/self/uid_map"])
        .output()
        .expect("run");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains("port 80"), "{complaint}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("4294967295"), "the host's users");
    assert!(
        !said(&house, &["--network", "none"], "cat /proc/self/uid_map").contains("4294967295"),
        "own ports, own users"
    );
}

#[test]
fn a_package_takes_nothing_of_the_host_for_itself() {
    let Some(house) = house(json!({ "isolation": { "namespaces": { "pid": "host" } } })) else { return };
    assert!(refused(&house, &[]).contains("--as-packaged"));
    assert_eq!(said(&house, &["--as-packaged"], "[ $$ -ne 1 ] && echo shared"), "shared");
}
