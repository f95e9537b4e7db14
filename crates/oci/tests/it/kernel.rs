//! Attacks 29 to 38, and lessons of others about files of the kernel: real programs in containers as
//! engines ask for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Ground, rounds};

const PROBE: &str = include_str!("../../../tsubo/tests/it/programs/probe.c");
const ATTACK: &str = include_str!("../../../runtime/tests/it/attack.c");

/// What engines give by default.
const USUAL: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn with(program: &str, capabilities: &[&str]) -> Value {
    let mut config = Ground::config("");
    config["process"]["args"] = json!([program]);
    config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "permitted": capabilities, "effective": capabilities });
    let scratch =
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] });
    config["mounts"].as_array_mut().expect("list").push(scratch);
    config
}

fn everything() -> Vec<String> {
    spec::container::CAPABILITY_NAMES.iter().map(|name| format!("CAP_{name}")).collect()
}

fn with_users(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 0x7fda_0000_u32, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
}

/// What came of each, by its name; of several of one name one that succeeded counts.
fn results(ground: &Ground, config: &Value) -> BTreeMap<String, i32> {
    let said = ground.write(config).run();
    let mut results = BTreeMap::new();
    for line in said.out.lines() {
        let Some((name, errno)) = line.split_once(' ') else { continue };
        let Ok(errno) = errno.parse() else { continue };
        results
            .entry(name.to_owned())
            .and_modify(|one| *one = if errno == 0 { 0 } else { *one })
            .or_insert(errno);
    }
    assert!(results.len() > 10, "{said:?}");
    results
}

#[track_caller]
fn refused(results: &BTreeMap<String, i32>, names: &[&str]) {
    for name in names {
        let errno = results.get(*name).unwrap_or_else(|| panic!("{name}: {results:?}"));
        assert_ne!(*errno, 0, "{name} succeeded");
    }
}

/// Everything that is the whole host's.
const HOSTS: [&str; 26] = [
    "release_agent",
    "core_pattern",
    "modprobe",
    "sysrq-trigger",
    "sysrq",
    "uevent_helper",
    "uevent",
    "binfmt_misc-mount",
    "binfmt_misc",
    "panic",
    "kcore",
    "kmsg",
    "timer_list",
    "sched_debug",
    "debug-sched",
    "dev-mem",
    "mknod-disk",
    "mknod-sda",
    "mknod-mem",
    "open_by_handle_at",
    "dev-kmsg",
    "syslog",
    "netlink-route",
    "netlink-audit",
    "cgroup-mount",
    "cgroup2-mount",
];

#[test]
fn attacks_29_to_32_and_38_with_what_engines_give() {
    let ground = Ground::new();
    let Some(probe) = ground.program("probe", PROBE) else { return };
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("pattern");
    let found = results(&ground, &with(&probe, &USUAL));
    refused(&found, &HOSTS);
    // Without the right to them no raw sockets either.
    let found = results(&ground, &with(&probe, &["CAP_KILL"]));
    refused(&found, &HOSTS);
    refused(&found, &["af-packet", "raw-socket"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").expect("pattern"), pattern);
    ground.clean();
}

/// 2022-0492: who has every capability in a user namespace of his own has none of the host's.
#[test]
fn attacks_29_to_32_with_every_capability_over_its_own() {
    let ground = Ground::new();
    let Some(probe) = ground.program("probe", PROBE) else { return };
    let all = everything();
    let mut config = with(&probe, &all.iter().map(String::as_str).collect::<Vec<_>>());
    with_users(&mut config);
    let found = results(&ground, &config);
    let hosts: Vec<&str> = HOSTS
        .into_iter()
        // Of its own network, its own groups, and its own formats of programs.
        .filter(|name| !["netlink", "cgroup", "binfmt_misc"].iter().any(|own| name.starts_with(own)))
        .collect();
    refused(&found, &hosts);
    ground.clean();
}

/// The filter that an engine passes stands before its calls in every form.
#[test]
fn attacks_33_to_36_and_38_under_a_filter_of_an_engine() {
    let ground = Ground::new();
    let Some(attack) = ground.program("attack", ATTACK) else { return };
    let mut config = with(&attack, &USUAL);
    let deny = |names: &[&str], args: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": args });
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            deny(&["unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount",
                   "mount_setattr", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl",
                   "add_key", "request_key", "open_by_handle_at"], json!([])),
            deny(&["clone"], json!([{ "index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ" }])),
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            deny(&["socket"], json!([{ "index": 0, "value": 38, "op": "SCMP_CMP_EQ" }])),
            deny(&["socket"], json!([{ "index": 0, "value": 40, "op": "SCMP_CMP_EQ" }])),
        ],
    });
    let said = ground.write(&config).run();
    let found: BTreeMap<&str, &str> = said.out.lines().filter_map(|line| line.split_once(' ')).collect();
    for name in [
        "clone-newuser",
        "clone-newuser-high-bits",
        "clone3-newuser",
        "unshare-newuser",
        "unshare-newns",
        "setns",
        "mount",
        "pivot_root",
        "fsopen",
        "open_tree",
        "move_mount",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "keyctl",
        "add_key",
        "af-alg",
        "af-vsock",
    ] {
        assert!(found.get(name).is_some_and(|errno| *errno != "0"), "{name}: {said:?}");
    }
    // A call of another kind than those that were named ends the process, or is refused.
    for name in ["x32-getpid", "x32-execve", "i386-mount", "i386-unshare", "i386-keyctl", "i386-bpf"] {
        assert_ne!(found.get(name), Some(&"0"), "{name}: {said:?}");
    }
    ground.clean();
}

/// Who asked has died, or the container is gone, when the answer comes: that is an error for who answers,
/// and nobody else is answered.
#[test]
fn attack_37_an_answer_after_the_target_died() {
    let ground = Ground::new();
    let socket = ground.at("listener");
    let mut config = Ground::config("mkdir /tmp/x & sleep 0.05; kill -9 $!; exec sleep 100");
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": socket,
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    });
    ground.write(&config);
    for _ in 0..rounds(3) {
        let listener = UnixListener::bind(&socket).expect("a socket");
        let id = ground.id();
        let started = ground.detached(&["run", "--detach", &id]);
        started.well();
        let (_, fd) = crate::sockets::receive(&listener.accept().expect("a caller").0);
        let answers = sys::notify::Listener::new(fd);
        let asked = answers.receive().expect("a question");
        // The answer to a call whose process has been killed finds nobody.
        if let Some(asked) = asked {
            ground.until("it is dead", || !answers.is_valid(asked.id));
            // Nobody needs it any more, which is no failure.
            answers.proceed(asked.id).expect("nobody is there");
        }
        ground.call(&["delete", "--force", &id]).well();
        fs::remove_file(&socket).expect("socket");
        ground.clean();
    }
}

/// A file that only looks like procfs takes nothing: neither a parameter nor a label (2025-52881, 2019-16884).
#[test]
fn lesson_cve_2025_52881_a_fake_procfs_takes_no_write() {
    let ground = Ground::new();
    // The image has files of these names, as the places of a volume would be; /proc over them is the kernel's.
    for path in ["proc/sys/net/ipv4", "proc/sys/kernel", "proc/self/attr", "fake/sys/net/ipv4"] {
        fs::create_dir_all(ground.at("bundle/rootfs").join(path)).expect("dir");
    }
    let fake = ground.at("bundle/rootfs/proc/sys/net/ipv4/ip_forward");
    fs::write(&fake, "untouched").expect("file");
    let mut config = Ground::config("cat /proc/sys/net/ipv4/ip_forward");
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    assert_eq!(ground.write(&config).run().well(), "1");
    assert_eq!(fs::read_to_string(&fake).expect("file"), "untouched");
    // Something is to be mounted over the kernel's file: refused.
    for destination in ["/proc/sys/net/ipv4", "/proc/self/attr", "/proc/sysrq-trigger", "/proc/sys"] {
        let mut config = config.clone();
        let mount = json!({ "destination": destination, "type": "bind", "source": ground.at("bundle/rootfs/fake"), "options": ["rbind"] });
        config["mounts"].as_array_mut().expect("list").push(mount);
        let said = ground.write(&config).run();
        assert!(said.code != 0, "{destination}: {said:?}");
    }
    ground.clean();
}

/// The image's /proc is a directory of its own, a file, or leads elsewhere.
#[test]
fn lesson_cve_2019_16884_an_image_with_its_own_proc() {
    let ground = Ground::new();
    let proc = ground.at("bundle/rootfs/proc");
    fs::create_dir_all(proc.join("self/attr")).expect("dir");
    fs::write(proc.join("self/attr/exec"), "untouched").expect("file");
    let said = ground.script("stat -f -c %t /proc").run().well();
    assert_eq!(said, "9fa0");
    // A tmpfs in its place, as a volume would be: there is no /proc of the kernel to mask or to write to.
    let mut config = Ground::config("true");
    for mount in config["mounts"].as_array_mut().expect("list") {
        if mount["destination"] == "/proc" {
            *mount = json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs", "options": [] });
        }
    }
    let said = ground.write(&config).run();
    assert!(said.code != 0, "{said:?}");
    fs::remove_dir_all(&proc).expect("dir");
    symlink("/srv", &proc).expect("link");
    assert!(ground.script("true").run().code != 0);
    assert_eq!(fs::read_dir(ground.at("bundle/rootfs/srv")).expect("dir").count(), 0);
}

/// More than fits into one message between parent and child is an error, or works; it is never cut.
#[test]
fn lesson_cve_2021_43784_more_than_64_kib_between_parent_and_child() {
    let ground = Ground::new();
    let mut config = Ground::config("grep -c /srv/ /proc/self/mountinfo");
    config["root"]["readonly"] = json!(false);
    let source = ground.at("source");
    fs::create_dir(&source).expect("dir");
    let long = "x".repeat(200);
    for number in 0..400 {
        let mount = json!({ "destination": format!("/srv/{long}{number}"), "type": "bind", "source": source, "options": ["rbind"] });
        config["mounts"].as_array_mut().expect("list").push(mount);
    }
    assert_eq!(ground.write(&config).run().well(), "400");
    // As many ranges as the kernel takes bytes of, and more.
    let mut config = Ground::config("wc -l < /proc/self/uid_map");
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
    let mut mapped = |count: u32| {
        let range =
            |number: u32| json!({ "containerID": number, "hostID": 0x7fd0_0000 + number * 3, "size": 1 });
        let ranges: Vec<Value> = (0..count).map(range).collect();
        config["linux"]["uidMappings"] = json!(ranges);
        config["linux"]["gidMappings"] = json!(ranges);
        ground.write(&config).run()
    };
    assert_eq!(mapped(200).well(), "200");
    mapped(340).failed("the kernel takes 4095");
    ground.clean();
}

/// Without a namespace for them only its own groups are shown, and those cannot be written to.
#[test]
fn lesson_cve_2023_25809_groups_without_a_namespace_are_read_only() {
    let ground = Ground::new();
    for users in [false, true] {
        let script = "find /sys/fs/cgroup -type d | while read -r d; do mkdir $d/x 2>/dev/null && echo made $d/x; done
            for f in $(find /sys/fs/cgroup -name cgroup.procs -o -name tasks -o -name release_agent); do echo $$ 2>/dev/null > $f && echo wrote $f; done; echo tried";
        let mut config = Ground::config(script);
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "cgroup");
        if users {
            with_users(&mut config);
        }
        // It is there the second time.
        let _ = symlink("busybox", ground.at("bundle/rootfs/bin/find"));
        assert_eq!(ground.write(&config).run().well(), "tried", "users of its own: {users}");
    }
    ground.clean();
}

#[test]
fn lesson_cve_2026_30892_nonsense_for_a_user_is_nobody() {
    let ground = Ground::new();
    let id = ground.script("exec sleep 100").start();
    for user in [
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "root",
        "0x0",
        "1;0",
        "1 0",
        "1:-1",
        "1:x",
        ":",
        "0:0:0",
        "+0",
        "\u{660}",
    ] {
        let said = ground.call(&["exec", "--user", user, &id, "id", "-u"]);
        assert!(said.code != 0 && said.out.is_empty(), "{user:?}: {said:?}");
    }
    assert_eq!(ground.call(&["exec", "--user", "7:8", &id, "id"]).well(), "uid=7 gid=8");
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
}

/// We have no helper that is more than its caller, so none can tell him of files that he may not see.
#[test]
fn lesson_cve_2018_6556_no_program_of_ours_is_set_uid() {
    use std::os::unix::fs::PermissionsExt;
    let program = Path::new(env!("CARGO_BIN_EXE_tsubo-oci"));
    for name in ["tsubo-oci", "tsubo", "tsubo-keeper"] {
        let Ok(about) = fs::metadata(program.with_file_name(name)) else { continue };
        assert_eq!(about.permissions().mode() & 0o6000, 0, "{name}");
        let capabilities = Command::new("getcap").arg(program.with_file_name(name)).output();
        assert!(
            capabilities.is_ok_and(|output| output.stdout.is_empty()) || !Path::new("/sbin/getcap").exists(),
            "{name}"
        );
    }
}
