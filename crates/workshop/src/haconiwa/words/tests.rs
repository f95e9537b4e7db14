use super::*;
use crate::haconiwa::record::Record;

fn import(container: &str) -> Imported {
    let json = format!(r#"{{"containers":[{container}]}}"#);
    let record: Record = serde_json::from_str(&json).expect("a record");
    let origin = Origin { name: "web.haco".to_owned(), folder: "/home/me".into() };
    imported(&record, &origin).expect("ours").pop().expect("one")
}

fn definition(container: &str) -> Definition {
    Definition::parse(&import(container).definition, "tsubo.toml").expect("a definition")
}

fn limits(values: &str) -> String {
    let of = definition(&format!(r#"{{"name":"a","cgroup":{{"values":{values}}}}}"#));
    serde_json::to_string(&of.limits).expect("json")
}

fn limits_2(values: &str) -> String {
    let of = definition(&format!(r#"{{"name":"a","cgroup_v2":{{"values":{values}}}}}"#));
    serde_json::to_string(&of.limits).expect("json")
}

fn notes(container: &str) -> String {
    import(container).notes.iter().map(|note| format!("{}\n", note.text)).collect()
}

#[test]
fn files_of_version_1() {
    for (values, ours) in [
        (r#"{"cpu.cfs_quota_us":30000,"cpu.cfs_period_us":100000}"#, r#"{"cpus":"0.3"}"#),
        (r#"{"cpu.cfs_quota_us":30000,"cpu.cfs_period_us":10000}"#, r#"{"cpus":"3","cpu_period":10000}"#),
        (r#"{"cpu.cfs_quota_us":-1}"#, r#"{"cpus":"max"}"#),
        (r#"{"cpu.shares":2048}"#, r#"{"cpu_shares":2048}"#),
        (r#"{"cpu.rt_runtime_us":5000,"cpu.rt_period_us":100000}"#, r#"{"cpu_realtime":50000}"#),
        (r#"{"cpuset.cpus":"0-1","cpuset.mems":0}"#, r#"{"cpuset":"0-1","memory_nodes":"0"}"#),
        (r#"{"memory.limit_in_bytes":268435456}"#, r#"{"memory":"256M"}"#),
        (
            r#"{"memory.limit_in_bytes":"256M","memory.memsw.limit_in_bytes":"300M"}"#,
            r#"{"memory":"256M","swap":"44M"}"#,
        ),
        (r#"{"memory.soft_limit_in_bytes":1048576}"#, r#"{"memory_low":"1M"}"#),
        (r#"{"pids.max":1024}"#, r#"{"pids":"1024"}"#),
        (r#"{"pids.max":"max"}"#, r#"{"pids":"max"}"#),
        (r#"{"blkio.weight":1000}"#, r#"{"io_weight":10000}"#),
        (r#"{"blkio.throttle.read_bps_device":"8:0 1048576"}"#, r#"{"io_read":{"8:0":"1M"}}"#),
        (
            r#"{"blkio.throttle.write_iops_device":"8:0 10\n8:16 20"}"#,
            r#"{"io_writes":{"8:0":"10","8:16":"20"}}"#,
        ),
        (r#"{"hugetlb.2MB.limit_in_bytes":4194304}"#, r#"{"hugepages":{"2MB":"4M"}}"#),
    ] {
        assert_eq!(limits(values), ours, "{values}");
    }
}

#[test]
fn files_of_version_2() {
    for (values, ours) in [
        (r#"{"cpu.max":"50000 100000"}"#, r#"{"cpus":"0.5"}"#),
        (r#"{"cpu.max":"max"}"#, r#"{"cpus":"max"}"#),
        (r#"{"memory.max":"64M","memory.swap.max":0}"#, r#"{"memory":"64M","swap":"0"}"#),
        (
            r#"{"io.max":"8:0 rbps=1048576 wiops=100"}"#,
            r#"{"io_read":{"8:0":"1M"},"io_writes":{"8:0":"100"}}"#,
        ),
        (r#"{"io.weight":"default 50"}"#, r#"{"io_weight":50}"#),
        (r#"{"memory.zswap.max":"0"}"#, r#"{"unified":{"memory.zswap.max":"0"}}"#),
    ] {
        assert_eq!(limits_2(values), ours, "{values}");
    }
}

#[test]
fn what_has_no_word_is_noted() {
    for (container, part) in [
        (r#"{"cgroup":{"values":{"memory.swappiness":10}}}"#, "memory.swappiness"),
        (r#"{"cgroup":{"values":{"pids.max":"<Etcd.get>"}}}"#, "<Etcd.get>"),
        (r#"{"cgroup":{"values":{"cpu.cfs_quota_us":"<x>"}}}"#, "no number"),
        (r#"{"cgroup":{"values":{"memory.memsw.limit_in_bytes":3}}}"#, "memsw"),
        (r#"{"cgroup":{"values":{"memory.limit_in_bytes":4096}}}"#, "too little"),
        (r#"{"wait_interval":100}"#, "wait_interval"),
        (r#"{"nonsense":[1]}"#, "nonsense"),
        (r#"{"checkpoint":{"images_dir":"/x"}}"#, "CRIU"),
        (r#"{"groups":[1]}"#, "config.groups"),
        (r#"{"environ":3}"#, "no hash"),
        (r#"{"name":"a b/c"}"#, "a-b-c"),
        (r#"{"others":[{"word":"frobnicate","value":"3","line":4,"source":null}]}"#, "frobnicate 3"),
        (r#"{"namespace":{"own":{"uts":{"persist_in":"/x"}}}}"#, "persist_in"),
        (r#"{"bootstrap":{"strategy":"git","git_url":"https://x/y"}}"#, "git clone https://x/y"),
        (r#"{"seccomp":{"default":"allow","rules":[["trace","listen",0]]}}"#, "rule.trace listen, 0"),
        (r#"{"hooks":[{"kind":"general","on":"nowhere","line":1,"source":null}]}"#, "nowhere"),
    ] {
        let text = notes(container);
        assert!(text.contains(part), "{container}: {text}");
    }
}

#[test]
fn mounts_are_seen_from_inside() {
    let of = definition(
        r#"{"name":"a","rootfs":{"root":"/srv/a/"},"mounts":[
            {"line":1,"source":"/x","options":{"to":"/srv/a/y","readonly":true}},
            {"line":2,"source":"z","options":{"to":"/srv/a/z"}},
            {"line":3,"source":"tmpfs","options":{"to":"/srv/a/tmp","fs":"tmpfs","options":"size=1m,weird"}},
            {"line":4,"source":"/q","options":{"to":"/srv/ab/c"}},
            {"line":5,"source":"proc","options":{"to":"/srv/a/proc","fs":"proc"}}]}"#,
    );
    let text = serde_json::to_value(&of.isolation.mounts).expect("json");
    let wanted = serde_json::json!([
        { "type": "bind", "source": "/x", "at": "/y", "options": ["ro"] },
        { "type": "bind", "source": "/home/me/z", "at": "/z" },
        { "type": "tmpfs", "at": "/tmp", "options": ["size=1m"] },
    ]);
    assert_eq!((text, of.base.as_str()), (wanted, "/srv/a"));
    let of = definition(
        r#"{"rootfs":{"root":"/srv/a"},"mounts":[{"line":1,"source":"/img","options":{"to":"/srv/a"}}]}"#,
    );
    assert_eq!((of.base.as_str(), of.name.as_str()), ("/img", "web"));
}

#[test]
fn capabilities_begin_where_they_did() {
    let of = |words: &str| {
        let of = definition(&format!(r#"{{"name":"a","capabilities":{words}}}"#));
        serde_json::to_string(&of.isolation.capabilities).expect("json")
    };
    assert_eq!(of(r#"{"base":"usual","add":["cap_kill"],"drop":[]}"#), r#"{"add":["KILL"]}"#);
    assert_eq!(
        of(r#"{"base":"all","add":[],"drop":["cap_sys_time"]}"#),
        r#"{"only":["ALL"],"drop":["SYS_TIME"]}"#
    );
    assert_eq!(of(r#"{"base":"none","add":["cap_chown","cap_x"],"drop":[]}"#), r#"{"only":["CHOWN"]}"#);
}

#[test]
fn hooks_get_their_nearest_moment() {
    let hooks = r#"[
        {"kind":"general","on":"before_fork","line":3,"source":"config.add_general_hook :before_fork do\nend"},
        {"kind":"general","on":"before_fork","line":9,"source":null},
        {"kind":"timer","on":null,"options":{"sec":5},"line":4,"source":null},
        {"kind":"timer","on":null,"options":{"sec":5,"interval_msec":10},"line":5,"source":null},
        {"kind":"signal","on":"USR1","line":6,"source":"]]--[[\r\nx"},
        {"kind":"cgroup","on":"oom","line":7,"source":null},
        {"kind":"readiness","on":null,"options":{"port":80,"timeout":20},"line":8,"source":null},
        {"kind":"signal","on":"KILL","line":6,"source":null}]"#;
    let one = import(&format!(r#"{{"name":"a","hooks":{hooks}}}"#));
    let of = Definition::parse(&one.definition, "tsubo.toml").expect("a definition");
    let when: Vec<&str> = of.hooks.hook.iter().map(|hook| hook.when.as_str()).collect();
    let all = [
        "before start",
        "before start",
        "after 5s",
        "every 100ms",
        "signal USR1",
        "after oom",
        "after ready",
    ];
    assert_eq!(when, all);
    assert_eq!((of.ready.as_deref(), of.ready_timeout), (Some("tcp:80"), Some(20)));
    let script = one.hooks.expect("skeletons");
    assert!(
        script.contains(
            "--   config.add_general_hook :before_fork do\n--   end\nfunction hooks.before_fork(ctx)"
        ),
        "{script}"
    );
    assert!(
        script.contains("function hooks.before_fork_2(ctx)") && script.contains("--   ]]--[[\n"),
        "{script}"
    );
    let noted: String = one.notes.iter().map(|note| note.text.clone() + "\n").collect();
    assert!(noted.contains("a second block") && noted.contains("KILL"), "{noted}");
}

#[test]
fn two_of_one_name_are_refused() {
    let record: Record =
        serde_json::from_str(r#"{"containers":[{"name":"a"},{"name":"a"}]}"#).expect("a record");
    let origin = Origin { name: "web.haco".to_owned(), folder: "/".into() };
    assert!(imported(&record, &origin).expect_err("two").to_string().contains("two containers"));
}

#[test]
fn whatever_a_value_is_it_stays_a_definition() {
    for value in ["null", "true", "-1", "1e300", r#""\u0000\n\u001b""#, "[1]", r#"{"a":1}"#, r#""'''\"\"\"""#]
    {
        let table = format!(
            r#"{{"name":{value},"hostname":{value},"workdir":{value},"environ":{{"A":{value}}},"uid":{value},"gid":{value},
                "rootfs":{{"root":{value}}},"provision":{{"steps":[{{"name":{value},"shell":{value},"body":{value}}}]}},
                "mounts":[{{"line":1,"source":"x","options":{{"to":{value},"fs":{value}}}}}],"init_command":[{value}],
                "cgroup":{{"values":{{"cpu.shares":{value},"memory.limit_in_bytes":{value},"cpu.cfs_quota_us":{value}}}}},
                "resource":{{"limits":[[{value},{value},{value}]]}},"seccomp":{{"default":{value},"rules":[[{value},{value}]]}},
                "network":{{"namespace":{value}}},"bootstrap":{{"strategy":{value}}},
                "hooks":[{{"kind":"signal","on":{value},"line":1,"source":null}}]}}"#
        );
        definition(&table);
    }
}
