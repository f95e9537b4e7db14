//! Hostile bundles: what others learnt the hard way (attacks 1 to 12).

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{STANDARD, facts, read_value, refused, standard, with};
use super::*;

fn refused_bytes(config: &[u8]) -> String {
    match read(config, Path::new("/bundle"), &facts()) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.chain(),
    }
}

#[test]
fn attack_1_a_configuration_of_100_megabytes_or_nested_a_hundred_thousand_times() {
    let mut long = STANDARD.as_bytes().to_vec();
    long.resize(100 << 20, b' ');
    assert!(refused_bytes(&long).contains("bytes"));
    let deep = "[".repeat(100_000);
    assert!(refused_bytes(deep.as_bytes()).contains("recursion limit"));
    let hidden = format!("{{\"annotations\":{}", "{\"a\":".repeat(100_000));
    assert!(refused_bytes(hidden.as_bytes()).contains("recursion limit"));
}

#[test]
fn attack_2_keys_that_are_there_twice() {
    for (twice, place) in [
        (r#"{"ociVersion":"1.0.0","ociVersion":"1.0.1"}"#, "ociVersion"),
        (r#"{"process":{"user":{"uid":1000,"uid":0}}}"#, "process.user.uid"),
        (r#"{"annotations":{"a":"1","a":"2"}}"#, "annotations.a"),
        (r#"{"linux":{"sysctl":{"net.a":"1","net.a":"2"}}}"#, "linux.sysctl.net.a"),
        (r#"{"linux":{"resources":{"unified":{"x":"1","x":"2"}}}}"#, "unified.x"),
        (r#"{"nobody":{"knows":[{"b":1,"b":1}]}}"#, "nobody.knows[0].b"),
        (r#"{"a":1,"\u0061":2}"#, "a is there twice"),
    ] {
        let said = refused_bytes(twice.as_bytes());
        assert!(said.contains(place) && said.contains("twice"), "{said}");
    }
    let many: String = (0..100).fold(String::from("{"), |mut all, number| {
        let _ = write!(all, "\"k{}\":0,", number % 99);
        all
    });
    assert!(refused_bytes(format!("{many}\"z\":0}}").as_bytes()).contains("k0 is there twice"));
}

#[test]
fn attack_2_nul_characters_and_what_is_no_text() {
    for (place, value) in [
        ("/process/args/0", json!("sh\0-c")),
        ("/process/env/0", json!("A=\0")),
        ("/process/cwd", json!("/\0")),
        ("/hostname", json!("a\0b")),
        ("/root/path", json!("rootfs\0/../..")),
        ("/mounts/0/destination", json!("/proc\0x")),
        ("/mounts/0/options", json!(["ro\0"])),
        ("/linux/maskedPaths/0", json!("/proc/\0")),
    ] {
        let said = refused(place, value);
        assert!(said.contains("NUL") && said.contains(&place[1..place.find('/').map_or(2, |_| 4)]), "{said}");
    }
    read_value(&with("/process/args/0", json!("\\u0000"))).expect("a backslash is no NUL");
    for bytes in [
        &b"{\"hostname\":\"\xff\"}"[..],
        b"{\"hostname\":\"\xc0\x80\"}",
        b"\xef\xbb\xbf{}",
        b"",
        b"null",
        b"{} {}",
    ] {
        refused_bytes(bytes);
    }
}

#[test]
fn attack_3_a_root_that_leads_out_of_its_bundle() {
    for path in ["..", "../other", "rootfs/../../..", ""] {
        assert!(refused("/root/path", json!(path)).contains("root.path"), "{path}");
    }
    assert!(refused("/root", Value::Null).contains("root is missing"));
}

#[test]
fn attack_4_mounts_over_the_kernels_own_files() {
    let mount = |destination: &str, kind: &str| json!({ "destination": destination, "type": kind, "source": "/tmp/x", "options": ["nosuid"] });
    for destination in
        ["/proc/self/fd/7", "/proc/self/attr/exec", "/proc/sys/kernel/x", "/proc/../proc/1", "/"]
    {
        for kind in ["bind", "tmpfs"] {
            refused("/mounts/-", mount(destination, kind));
        }
    }
    refused("/mounts/-", mount("/proc", "tmpfs"));
    read_value(&with("/mounts/-", mount("/proc/cpuinfo", "bind"))).expect("as lxcfs does");
}

#[test]
fn attack_7_a_working_directory_elsewhere() {
    for cwd in ["", "srv", "./srv", "../srv"] {
        assert!(refused("/process/cwd", json!(cwd)).contains("process.cwd"), "{cwd}");
    }
    let bundle = read_value(&with("/process/cwd", json!("/../../../etc"))).expect("within the root");
    assert_eq!(bundle.spec.process.cwd.to_string(), "/etc");
}

#[test]
fn attack_8_capabilities_that_contradict_each_other() {
    let set = |name: &str, list: Value| {
        let mut all = json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
        all[name] = list;
        refused("/process/capabilities", all)
    };
    assert!(set("effective", json!(["CAP_SYS_ADMIN"])).contains("CAP_SYS_ADMIN is not in the permitted set"));
    assert!(set("permitted", json!(["CAP_SYS_ADMIN"])).contains("bounding"));
    assert!(set("inheritable", json!(["CAP_SYS_ADMIN"])).contains("bounding"));
}

#[test]
fn attack_9_users_beyond_the_last() {
    for id in [json!(-1), json!(4_294_967_295_u64), json!(4_294_967_296_u64), json!(1.5), json!("0")] {
        refused("/process/user/uid", id.clone());
        refused("/process/user/gid", id.clone());
        refused("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [id] }));
    }
    let bundle = read_value(&with("/process/user/uid", json!(2_147_483_648_u64))).expect("2^31 is a user");
    assert_eq!(bundle.spec.process.user.uid, 2_147_483_648);
}

fn mapped(ranges: &Value) -> Value {
    let mut config = standard();
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
    config["linux"]["uidMappings"] = ranges.clone();
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    config
}

#[test]
fn attack_10_mappings_that_overlap_or_are_too_many() {
    let range =
        |inside: u64, host: u64, size: u64| json!({ "containerID": inside, "hostID": host, "size": size });
    for (ranges, why) in [
        (json!([]), "no users"),
        (json!([range(0, 1000, 0)]), "size is 0"),
        (json!([range(0, 1000, 10), range(5, 2000, 10)]), "overlap: containerID 5"),
        (json!([range(0, 1000, 10), range(10, 1009, 10)]), "overlap: hostID 1009"),
        (json!([range(4_294_967_290, 0, 10)]), "beyond the last id"),
        (json!([range(0, 4_294_967_296, 1)]), "reading config.json"),
        (json!([range(1, 1, 1)]), "no place"),
        ((0..10_000).map(|id| range(id, id, 1)).collect(), "10000 ranges are more than the 340"),
    ] {
        let said = read_value(&mapped(&ranges)).expect_err(why).chain();
        assert!(said.contains(why), "{said}");
    }
    read_value(&mapped(&json!([range(0, 0, 4_294_967_295)]))).expect("all ids there are");
    let said = refused("/linux/uidMappings", json!([range(0, 0, 1)]));
    assert!(said.contains("user namespace"), "{said}");
}

#[test]
fn attack_11_parameters_of_the_whole_host() {
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.modprobe",
        "vm.swappiness",
        "fs.file-max",
        "net",
        "net..core",
        "net.core.",
        ".net.core",
        "net/../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "net/core/somaxconn\n",
        "net.core.some where",
        "",
    ] {
        refused("/linux/sysctl", json!({ name: "1" }));
    }
    for value in ["", "1\n2", "|/bin/sh\u{1b}"] {
        refused("/linux/sysctl", json!({ "net.core.somaxconn": value }));
    }
    refused("/linux/sysctl", json!({ "user.max_user_namespaces": "1" }));
    refused("/linux/sysctl", json!({ "net.core.somaxconn": "1", "net/core/somaxconn": "2" }));
    refused("/linux/sysctl", json!({ "kernel.hostname": "other" }));
}

#[test]
fn attack_12_hooks_that_lead_anywhere() {
    let hook = |hook: Value| refused("/hooks", json!({ "prestart": [hook] }));
    assert!(hook(json!({ "path": "bin/sh" })).contains("hooks.prestart[0].path"));
    assert!(hook(json!({ "path": "" })).contains("hooks.prestart[0].path"));
    for timeout in [0, -1] {
        assert!(hook(json!({ "path": "/bin/sh", "timeout": timeout })).contains("timeout"));
    }
}

#[test]
fn unknown_values_are_refused_with_their_place() {
    for (pointer, value, place) in [
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!("one"), "ociVersion"),
        ("/linux/namespaces/0/type", json!("dream"), "linux.namespaces[0].type"),
        ("/linux/namespaces/0/type", json!("uts"), "twice"),
        ("/linux/namespaces/0/path", json!("relative"), "linux.namespaces[0].path"),
        ("/process/rlimits/0/type", json!("RLIMIT_DREAMS"), "process.rlimits[0]"),
        ("/process/rlimits/-", json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 }), "twice"),
        ("/process/rlimits/0/soft", json!(2000), "above the hard"),
        ("/process/scheduler", json!({ "policy": "SCHED_ISO" }), "process.scheduler.policy"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "flags": ["X"] }), "process.scheduler.flags"),
        ("/process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 100 }), "priority"),
        ("/process/scheduler", json!({ "policy": "SCHED_DEADLINE" }), "runtime"),
        ("/process/ioPriority", json!({ "class": "X", "priority": 0 }), "process.ioPriority.class"),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "priority"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/user/umask", json!(512), "umask"),
        ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ("/linux/personality", json!({ "domain": "LINUX64" }), "linux.personality.domain"),
        ("/linux/personality", json!({ "domain": "LINUX", "flags": ["X"] }), "linux.personality.flags"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_X" }), "linux.memoryPolicy.mode"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND" }), "nodes"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0-99999999" }), "nodes"),
        ("/linux/intelRdt", json!({ "closID": "a" }), "resctrl"),
        ("/linux/mountLabel", json!("a:b:c"), "SELinux"),
        ("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }), "time namespace"),
        ("/linux/timeOffsets", json!({ "realtime": { "secs": 1 } }), "no such clock"),
        ("/linux/netDevices", json!({ "a/b": {} }), "network device"),
        ("/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "q" }]), "linux.devices[0].type"),
        ("/linux/devices", json!([{ "path": "dev/x", "type": "p" }]), "linux.devices[0].path"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "c", "major": -1, "minor": 0 }]), "major"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "c" }]), "missing"),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_DREAM" }), "linux.seccomp.defaultAction"),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "listenerPath"),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 }),
            "no error number",
        ),
        ("/linux/maskedPaths/0", json!("proc/kcore"), "linux.maskedPaths[0]"),
        (
            "/mounts/-",
            json!({ "destination": "/x", "type": "bind", "source": "/y", "options": ["sideways"] }),
            "sideways",
        ),
        ("/mounts/-", json!({ "destination": "/x", "source": "/y" }), "type"),
        ("/mounts/-", json!({ "destination": "/x", "type": "bind" }), "source"),
        ("/process/args", json!([]), "process.args"),
        ("/process/args", json!([""]), "process.args"),
        ("/annotations", json!({ "": "x" }), "annotations"),
        ("/hostname", json!("x".repeat(65)), "hostname"),
        ("/process/consoleSize", json!({ "height": 70_000, "width": 1 }), "consoleSize"),
    ] {
        let said = refused(pointer, value);
        assert!(said.contains(place), "{pointer}: {said}");
    }
}

#[test]
fn unknown_properties_are_no_error_but_told_with_their_place() {
    let mut config = with("/linux/hypothetical", json!({ "a": 1 }));
    config["process"]["user"]["shoe"] = json!(43);
    config["mounts"][0]["x"] = json!([]);
    config["vm"] = json!({ "hypervisor": { "path": "/x" } });
    let notes = read_value(&config).expect("extensible").notes.join("\n");
    for place in ["linux.hypothetical", "process.user.shoe", "mounts.0.x", "vm"] {
        assert!(notes.contains(place), "{place}: {notes}");
    }
}

#[test]
fn ten_thousand_mounts_are_read_at_once() {
    let mount =
        json!({ "destination": "/srv/a/b/c", "type": "bind", "source": "/tmp", "options": ["rbind"] });
    let mut config = standard();
    config["mounts"].as_array_mut().expect("list").extend(std::iter::repeat_n(mount, 10_000));
    let bundle = read_value(&config).expect("many");
    assert_eq!(
        crate::plan::plan(&bundle.spec)
            .steps
            .iter()
            .filter(|step| matches!(step, crate::plan::Step::Mount(_)))
            .count(),
        10_007
    );
}

#[test]
fn paths_of_four_thousand_bytes() {
    let long = format!("/{}", "a".repeat(4095));
    let most = format!("/{}", "a/".repeat(2047));
    for (pointer, value) in [
        ("/process/cwd", json!(long)),
        ("/root/path", json!(long)),
        ("/mounts/0/destination", json!(long)),
        ("/linux/maskedPaths/0", json!(long)),
        ("/linux/readonlyPaths/0", json!(long)),
    ] {
        assert!(refused(pointer, value).contains("4095"), "{pointer}");
    }
    read_value(&with("/process/cwd", json!(most))).expect("as long as the kernel takes");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "(/[a-z.]{0,3}){0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "process",
            "linux",
            "mounts",
            "root",
            "hooks",
            "user",
            "args",
            "cwd",
            "path",
            "type",
            "options",
            "destination",
            "source",
            "namespaces",
            "seccomp",
            "resources",
            "devices",
            "sysctl",
            "uidMappings",
            "containerID",
            "hostID",
            "size",
            "timeOffsets",
            "capabilities",
            "bounding",
            "defaultAction",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ]
}

proptest! {
    #[test]
    fn nothing_that_can_be_written_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, Path::new("/b"), &facts());
    }

    #[test]
    fn no_document_makes_it_panic(value in value()) {
        let _ = read_value(&value);
    }

    #[test]
    fn no_change_of_a_bundle_makes_it_panic(at in 0_usize..400, value in value()) {
        let mut config = standard();
        let mut left = at;
        replace(&mut config, &mut left, &value);
        let _ = read_value(&config).map(|bundle| crate::plan::plan(&bundle.spec));
    }

    #[test]
    fn no_process_makes_it_panic(value in value()) {
        let base = container::Process::new(vec!["x".into()]);
        let _ = process(value.to_string().as_bytes(), &base);
    }
}

/// Puts `new` in the place of the value that is met as number `left`.
fn replace(value: &mut Value, left: &mut usize, new: &Value) {
    if *left == 0 {
        *value = new.clone();
    }
    *left = left.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|inner| replace(inner, left, new)),
        Value::Object(map) => map.values_mut().for_each(|inner| replace(inner, left, new)),
        _ => {}
    }
}
