//! Bundles of the OCI, started as they are.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};
use spec::ErrorKind;
use spec::container::{Namespace, Place};
use spec::oci::{Facts, read};
use tsubo_runtime::{Options, Target, Waiting};

use crate::harness::{Box, container, pipe, stdio};

/// Nobody's on any host; other tests take other places.
const BASE: u32 = 0x7fdd_0000;

const ALL: [&str; 41] = spec::container::CAPABILITY_NAMES;

/// What `runc spec` writes, without a terminal and with a control group namespace.
fn config(script: &str) -> Value {
    let mut config = spec::oci::example(None);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    config["process"]["env"] = json!(["PATH=/bin"]);
    config
}

/// With users of its own and every capability over what they own.
fn with_users(script: &str) -> Value {
    let mut config = config(script);
    let map = json!([{ "containerID": 0, "hostID": BASE, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
    everything(&mut config);
    config
}

fn everything(config: &mut Value) {
    let all: Vec<_> = ALL.iter().map(|name| format!("CAP_{name}")).collect();
    config["process"]["capabilities"] = json!({ "bounding": all, "permitted": all, "effective": all });
}

/// It is itself from its first instruction on, where a shell would still have to become it.
fn asleep(base: fn(&str) -> Value) -> Value {
    let mut config = base("");
    config["process"]["args"] = json!(["/bin/sleep", "100"]);
    config
}

fn mount(config: &mut Value, destination: &str, kind: &str, source: &Path, options: &[&str]) {
    let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
    config["mounts"].as_array_mut().expect("list").push(mount);
}

fn without_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != kind);
}

/// A bundle over the tree of the harness.
fn bundle(mut config: Value) -> Box {
    let mut made = container(&["unused"]);
    config["root"]["path"] = json!(made.tree());
    let facts = Facts {
        id: made.spec.id,
        name: made.spec.name.clone(),
        resctrl: false,
        selinux: false,
        is_ours: &|_, _| false,
    };
    let read = read(config.to_string().as_bytes(), Path::new("/"), &facts);
    made.spec = read.unwrap_or_else(|error| panic!("{error:?}")).spec;
    made
}

fn said(config: Value) -> String {
    bundle(config).said()
}

#[test]
fn the_standard_bundle() {
    let said = said(config(
        "hostname; id -u; touch /x 2>&1; cat /proc/kcore | wc -c; ls /dev | sort | xargs; readlink /dev/ptmx; \
         stat -c '%n %t:%T %a' /dev/null /dev/tty; grep -E 'Cap(Eff|Bnd|Inh|Amb)' /proc/self/status; \
         echo 1 2>&1 > /proc/sys/kernel/hostname; ls /sys/fs/cgroup | head -n 1; cat /proc/mounts",
    ));
    for wanted in [
        "tsubo\n0\n",
        "touch: /x: Read-only file system",
        "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
        "pts/ptmx\n/dev/null 1:3 666\n/dev/tty 5:0 666",
        "CapInh:\t0000000000000000",
        "CapEff:\t0000000020000420",
        "CapAmb:\t0000000000000000",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755",
        "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
        "proc /proc proc rw,relatime",
    ] {
        assert!(said.contains(wanted) || wanted.starts_with("console"), "{wanted}\n{said}");
    }
    assert!(said.contains("fd full mqueue null ptmx pts random shm"), "{said}");
}

#[test]
fn the_host_sees_nothing_of_it() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().count();
    let before = mounts();
    for config in [config("true"), with_users("true")] {
        let made = bundle(config);
        let listed = |tree: &Path| fs::read_dir(tree).expect("tree").count();
        let files = listed(made.tree());
        made.said();
        assert_eq!(listed(made.tree()), files, "no mount point had to be made");
        assert_eq!(
            fs::read_dir(made.tree().join("dev")).expect("dev").count(),
            0,
            "devices are not in the tree"
        );
    }
    assert_eq!(mounts(), before);
}

#[test]
fn its_terminal_is_its_console() {
    for mut config in [
        config("tty; stat -c %t:%T /dev/console /dev/pts/0; : > /dev/console"),
        with_users("tty; stat -c %t:%T /dev/console /dev/pts/0; : > /dev/console"),
    ] {
        config["process"]["terminal"] = json!(true);
        let made = bundle(config);
        let mut child = made.gated(pipe().1).expect("start");
        let mut terminal = File::from(child.terminal().expect("a terminal"));
        child.release().expect("exec");
        let (mut said, mut buffer) = (Vec::new(), [0; 256]);
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            said.extend(&buffer[..length]);
        }
        assert_eq!(child.wait().expect("end"), 0, "{}", String::from_utf8_lossy(&said));
        assert_eq!(String::from_utf8_lossy(&said), "/dev/pts/0\r\n88:0\r\n88:0\r\n");
    }
}

#[test]
fn its_users_own_its_namespaces() {
    let made = bundle(with_users(
        "set -e; id -u; cat /proc/self/uid_map | xargs; mount -t tmpfs none /srv; touch /srv/x; hostname mine; hostname; \
         mount -t proc none /tmp; ls -d /tmp/1; echo 99 > /tmp/sys/net/ipv4/ip_default_ttl; \
         cat /tmp/sys/net/ipv4/ip_default_ttl; stat -c %u:%t:%T /dev/null; echo x > /dev/null; \
         stat -c %u /dev /dev/shm /dev/pts/ptmx /dev/mqueue | xargs; cat /proc/1/comm; ls /sys/class/net",
    ));
    let said = made.said();
    let expected = format!("0\n0 {BASE} 65536\nmine\n/tmp/1\n99\n65534:1:3\n0 0 0 0\nsh\nlo");
    assert_eq!(said, expected);
}

#[test]
fn its_root_is_nobody_outside_and_cannot_reach_out() {
    let made = bundle(with_users(
        "mount -o remount,rw / 2>&1; touch /x 2>&1; echo 1 2>&1 > /proc/sys/vm/swappiness; mknod /tmp/sda b 8 0 2>&1; exec sleep 100",
    ));
    let (mut child, _output) = made.start().expect("start");
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("status");
    assert!(status.contains(&format!("Uid:\t{BASE}\t{BASE}\t{BASE}\t{BASE}\n")), "{status}");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("parent");
    assert_eq!(parent, std::process::id().to_string(), "it is our own child");
    child.signal(9).expect("kill");
    assert_eq!(child.wait().expect("end"), 137);
}

#[test]
fn users_that_exist_are_joined_by_their_file() {
    let outer = bundle(asleep(with_users));
    let (first, _output) = outer.start().expect("start");
    let link = |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", first.pid())).expect("namespace");
    let mut second =
        with_users("readlink /proc/self/ns/user; mount -t tmpfs none /srv && echo mounted; id -u");
    let namespaces = second["linux"]["namespaces"].as_array_mut().expect("list");
    namespaces.last_mut().expect("user")["path"] = json!(format!("/proc/{}/ns/user", first.pid()));
    assert_eq!(said(second.clone()), format!("{}\nmounted\n0", link("user").display()));
    // And of a pod: its process ids, network and messages too.
    let namespaces = second["linux"]["namespaces"].as_array_mut().expect("list");
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let one = namespaces.iter_mut().find(|one| one["type"] == kind).expect(kind);
        one["path"] = json!(format!("/proc/{}/ns/{file}", first.pid()));
    }
    second["hostname"] = json!("");
    second["process"]["args"][2] =
        json!("readlink /proc/self/ns/pid; readlink /proc/self/ns/net; cat /proc/1/comm; ls /sys/class/net");
    let expected = format!("{}\n{}\nsleep\nlo", link("pid").display(), link("net").display());
    assert_eq!(said(second), expected);
}

#[test]
fn what_it_may_not_mount_of_the_hosts_is_shown_instead() {
    let mut config = with_users(
        "ls -d /sys/class/net/lo /proc/self /dev/mqueue; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; \
         grep -c . /proc/mounts > /dev/null; touch /sys/kernel/x 2>&1",
    );
    for kind in ["network", "ipc", "pid"] {
        without_namespace(&mut config, kind);
    }
    let ended = bundle(config).run();
    let host = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).expect("namespace");
    let expected = format!(
        "/dev/mqueue\n/proc/self\n/sys/class/net/lo\n{}\n{}",
        host("net").display(),
        host("ipc").display()
    );
    assert!(ended.output.starts_with(&expected), "{}", ended.output);
    assert!(ended.output.contains("Read-only") || ended.output.contains("denied"), "{}", ended.output);
}

#[test]
fn binds_of_every_kind() {
    let outside = tempfile::tempdir().expect("dir");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::write(outside.path().join("file"), "text").expect("file");
    for base in [config, with_users] {
        let mut config = base(
            "cat /srv/file; touch /srv/x 2>&1; cat /etc/one; grep -E ' (/srv|/etc/one|/var|/run) ' /proc/mounts | cut -d ' ' -f 2,4",
        );
        fs::write(outside.path().join("one"), "one").expect("file");
        mount(&mut config, "/srv", "bind", outside.path(), &["rbind", "rro", "nosuid", "noatime"]);
        mount(
            &mut config,
            "/var",
            "none",
            outside.path(),
            &["bind", "nodev", "noexec", "nosymfollow", "unbindable"],
        );
        mount(&mut config, "/run", "bind", outside.path(), &["strictatime", "rprivate"]);
        mount(&mut config, "/run", "", outside.path(), &["remount", "ro", "nosuid"]);
        let made = bundle(config);
        fs::write(made.tree().join("etc/one"), "").expect("mount point");
        // The harness's tree was read before; a file is bound over a file.
        let mut made = made;
        let source = outside.path().join("one");
        let bind = made.spec.mounts[7].clone();
        let at = "/etc/one".parse().expect("path");
        let mut one = spec::container::Mount { at, ..bind };
        if let spec::container::MountKind::Exact(exact) = &mut one.what {
            exact.source = spec::container::Source::Bind { path: source, recursive: false };
        }
        made.spec.mounts.push(one);
        let said = made.run().output;
        assert!(said.starts_with("text") && said.contains("Read-only file system"), "{said}");
        for wanted in
            ["/srv ro,nosuid,noatime", "/var rw,nodev,noexec,relatime,nosymfollow", "/run ro,nosuid"]
        {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(said.contains("\n/etc/one ro"), "{said}");
    }
}

#[test]
fn a_bind_with_mapped_owners() {
    let outside = tempfile::tempdir().expect("dir");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::write(outside.path().join("file"), "").expect("file");
    chown(outside.path().join("file"), Some(5), Some(6)).expect("owner");
    let script = "stat -c %u:%g /srv/file; touch /srv/new; stat -c %u /srv/new";
    // By the container's own users: as they are on the host.
    let mut own = with_users(script);
    mount(&mut own, "/srv", "bind", outside.path(), &["rbind", "idmap"]);
    assert_eq!(said(own), "5:6\n0");
    assert_eq!(fs::metadata(outside.path().join("new")).expect("made").uid(), 0);
    fs::remove_file(outside.path().join("new")).expect("clean");
    // By a mapping of its own, without users.
    let mut other = config(script);
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
    mount(&mut other, "/srv", "bind", outside.path(), &["bind"]);
    let bind = other["mounts"].as_array_mut().expect("list").last_mut().expect("bind");
    bind["uidMappings"] = map.clone();
    bind["gidMappings"] = map;
    let said = bundle(other).run().output;
    assert!(said.starts_with("1005:1006\n") && said.contains("too large"), "nobody here is 0 there: {said}");
}

#[test]
fn file_systems_with_options_and_a_tmpfs_with_what_was_there() {
    for base in [config, with_users] {
        let mut config = base(
            "cat /srv/old; touch /srv/new && stat -c %a /srv; grep -E ' (/srv|/tmp) ' /proc/mounts | cut -d ' ' -f 3,4",
        );
        mount(&mut config, "/srv", "tmpfs", Path::new("tmpfs"), &["size=1m", "tmpcopyup", "noexec"]);
        mount(&mut config, "/tmp", "tmpfs", Path::new("tmpfs"), &["size=2m", "mode=700", "ro"]);
        let made = bundle(config);
        fs::write(made.tree().join("srv/old"), "kept").expect("file");
        chown(made.tree().join("srv"), made.spec.users.as_ref().map(|_| BASE), None).expect("owner");
        let said = made.said();
        assert!(said.starts_with("kept755\ntmpfs rw,noexec,relatime,size=1024k"), "{said}");
        assert!(said.contains("tmpfs ro,relatime,size=2048k,mode=700"), "{said}");
    }
    let mut unknown = config("true");
    mount(&mut unknown, "/srv", "dreamfs", Path::new("x"), &[]);
    assert!(bundle(unknown).fails().chain().contains("a dreamfs at /srv"));
    let mut option = config("true");
    mount(&mut option, "/srv", "tmpfs", Path::new("x"), &["dream=1"]);
    assert!(bundle(option).fails().chain().contains("/srv"));
}

#[test]
fn devices_that_are_made_anywhere() {
    let mut config = config("stat -c '%n %F %t:%T %a %u:%g' /tmp/disk /tmp/pipe /dev/null /tmp/deep/zero");
    config["root"]["readonly"] = json!(false);
    config["linux"]["devices"] = json!([
        { "path": "/tmp/disk", "type": "b", "major": 7, "minor": 200, "fileMode": 384, "uid": 5, "gid": 6 },
        { "path": "/tmp/pipe", "type": "p", "fileMode": 420 },
        { "path": "/tmp/deep/zero", "type": "c", "major": 1, "minor": 5 },
    ]);
    let made = bundle(config.clone());
    assert_eq!(
        made.said(),
        "/tmp/disk block special file 7:c8 600 5:6\n/tmp/pipe fifo 0:0 644 0:0\n\
         /dev/null character special file 1:3 666 0:0\n/tmp/deep/zero character special file 1:5 666 0:0"
    );
    assert!(fs::metadata(made.tree().join("tmp/disk")).expect("node").file_type().is_block_device());
    made.said();
    // What is there already is the same, or an error.
    fs::remove_file(made.tree().join("tmp/pipe")).expect("pipe");
    fs::write(made.tree().join("tmp/pipe"), "").expect("file");
    let error = made.fails();
    assert!(error.chain().contains("/tmp/pipe"), "{error:?}");
}

#[test]
fn attack_6_and_16_a_console_or_pts_that_is_a_link() {
    for (link, target) in [("dev", "/etc"), ("proc", "/etc"), ("sys", "/etc")] {
        let made = bundle(config("true"));
        fs::remove_dir(made.tree().join(link)).expect("directory");
        symlink(target, made.tree().join(link)).expect("link");
        made.fails();
        assert_eq!(fs::read_dir(made.tree().join("etc")).expect("etc").count(), 0, "nothing is made there");
    }
    let mut terminal = config("true");
    terminal["process"]["terminal"] = json!(true);
    terminal["mounts"]
        .as_array_mut()
        .expect("list")
        .retain(|mount| !mount["destination"].as_str().is_some_and(|at| at.starts_with("/dev")));
    terminal["root"]["readonly"] = json!(false);
    let made = bundle(terminal);
    let outside = tempfile::tempdir().expect("dir");
    symlink(outside.path().join("host"), made.tree().join("dev/console")).expect("link");
    let _ = made.start();
    assert_eq!(
        fs::read_dir(outside.path()).expect("dir").count(),
        0,
        "2026-41579: the host is not written to"
    );
}

#[test]
fn attack_3_a_root_that_is_a_link() {
    let mut made = bundle(config("true"));
    let place = tempfile::tempdir().expect("dir");
    symlink(made.tree(), place.path().join("rootfs")).expect("link");
    made.spec.root = spec::container::Root::Bundle { path: place.path().join("rootfs"), read_only: true };
    made.fails();
}

#[test]
fn a_root_that_its_users_cannot_reach() {
    let place = tempfile::tempdir().expect("dir");
    let mut made = bundle(with_users("mount -t tmpfs none /srv && pwd"));
    let inner = place.path().join("secret");
    fs::create_dir(&inner).expect("dir");
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).expect("mode");
    let rootfs = inner.join("rootfs");
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(made.tree())
            .arg(&rootfs)
            .status()
            .expect("cp")
            .success()
    );
    made.spec.root = spec::container::Root::Bundle { path: rootfs, read_only: true };
    assert_eq!(made.said(), "/");
}

#[test]
fn clocks_are_its_own_with_and_without_users() {
    for base in [config, with_users] {
        let mut config = base("cut -d . -f 1 /proc/uptime");
        config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000, "nanosecs": 5 } });
        let uptime: u64 = said(config).parse().expect("seconds");
        assert!(uptime >= 1_000_000_000, "{uptime}");
    }
}

#[test]
fn parameters_names_masks_and_the_umask() {
    for base in [config, with_users] {
        let mut config = base(
            "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax /proc/sys/kernel/domainname; touch /dev/shm/x; stat -c %a /dev/shm/x; \
             ls /sys/firmware | wc -l; grep -c ' /proc/sys ' /proc/mounts; cat /proc/self/oom_score_adj",
        );
        config["linux"]["sysctl"] = json!({ "net/ipv4/ip_default_ttl": "77", "kernel.msgmax": "4096" });
        config["domainname"] = json!("example");
        config["process"]["user"]["umask"] = json!(0o27);
        config["process"]["oomScoreAdj"] = json!(500);
        assert_eq!(said(config), "77\n4096\nexample\n640\n0\n1\n500");
    }
}

#[test]
fn the_caller_acts_while_the_root_is_still_the_hosts() {
    for base in [config, with_users] {
        let mut config = base("cat /srv/made; echo; hostname");
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
        let made = bundle(config);
        let plan = spec::plan::plan(&made.spec);
        let (read, write) = pipe();
        let (mut seen, tree) = (0, made.tree().to_owned());
        let mut act = |pid: i32| {
            seen = pid;
            // Its mounts are there, at the path of the root, in its own mount namespace.
            let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts");
            assert!(table.contains(&format!(" {}/proc ", tree.display())), "{table}");
            fs::write(tree.join("srv/made"), "by a hook").expect("file");
            Ok(())
        };
        let options = Options { waiting: Some(Waiting(&mut act)), ..Options::new(stdio(write)) };
        let mut child = tsubo_runtime::spawn(&plan, options).expect("spawn");
        child.release().expect("exec");
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).expect("output");
        assert_eq!(child.wait().expect("end"), 0);
        assert_eq!(said, "by a hook\ntsubo\n");
        assert_eq!(seen, child.pid());
        let mut refuse = |_| Err(spec::Error::failed("a hook failed"));
        let options = Options { waiting: Some(Waiting(&mut refuse)), ..Options::new(stdio(pipe().1)) };
        let error = tsubo_runtime::spawn(&plan, options).expect_err("the hook failed");
        assert_eq!(error.kind(), ErrorKind::Failed);
    }
}

#[test]
fn a_listener_comes_from_the_filter_of_the_bundle() {
    for base in [config, with_users] {
        let mut config = base("mkdir /dev/shm/x; mkdir /dev/shm/y; ls /dev/shm");
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
        let (read, write) = pipe();
        let made = bundle(config);
        let mut child = made.gated(write).expect("gate");
        let listener = sys::notify::Listener::new(child.listener().expect("a listener"));
        child.release().expect("exec");
        for _ in 0..2 {
            let call = listener.receive().expect("a call").expect("one");
            listener.proceed(call.id).expect("answer");
        }
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).expect("output");
        assert_eq!((said.as_str(), child.wait().expect("end")), ("x\ny\n", 0));
    }
}

#[test]
fn another_process_joins_users_that_own_everything() {
    let made = bundle(asleep(with_users));
    let (child, _output) = made.start().expect("start");
    let document = json!({
        "args": ["/bin/sh", "-c", "id -u; mount -t tmpfs none /srv && hostname there && hostname; cat /proc/1/comm; pwd"],
        "cwd": "/tmp", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
        "execCPUAffinity": { "initial": "0", "final": "0" },
    });
    let joining = spec::oci::process(document.to_string().as_bytes(), &made.spec.process).expect("process");
    let plan = spec::plan::join(&made.spec, &joining.process, &spec::plan::joinable(&made.spec));
    let (read, write) = pipe();
    let target = Target { pidfd: child.pidfd(), devpts: None };
    let mut second = tsubo_runtime::join(&plan, Options::new(stdio(write)), target).expect("join");
    second.release().expect("exec");
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).expect("output");
    assert_eq!(second.wait().expect("end"), 0, "{said}");
    assert_eq!(said, "0\nthere\nsleep\n/tmp\n");
}

#[test]
fn a_failure_in_the_second_process_is_told_and_leaves_nothing() {
    let mut late = with_users("true");
    late["process"]["args"] = json!(["/nothing/here"]);
    assert_eq!(bundle(late).fails().kind(), ErrorKind::CommandNotFound);
    let mut directory = with_users("true");
    directory["process"]["cwd"] = json!("/not/there");
    assert!(bundle(directory).fails().chain().contains("working directory"));
    let mut source = with_users("true");
    mount(&mut source, "/srv", "bind", Path::new("/nothing/there"), &["bind"]);
    assert!(bundle(source).fails().chain().contains("/nothing/there"));
    let mut point = with_users("true");
    mount(&mut point, "/new/place", "tmpfs", Path::new("x"), &[]);
    let error = bundle(point).fails();
    assert!(
        error.chain().contains("making the mount point"),
        "the tree belongs to the host's root: {error:?}"
    );
}

#[test]
fn attack_7_a_working_directory_that_is_a_descriptor() {
    for base in [config, with_users] {
        for cwd in ["/proc/self/fd/3", "/proc/1/root", "/proc/self/cwd"] {
            let mut config = base("pwd");
            config["process"]["cwd"] = json!(cwd);
            bundle(config).fails();
        }
    }
}

#[test]
fn no_descriptor_is_left_in_either_order() {
    for base in [config, with_users] {
        // The last is that of ls itself.
        assert_eq!(said(base("ls /proc/self/fd | xargs")), "0 1 2 3");
    }
}

#[test]
fn only_its_own_groups_are_shown_without_a_namespace_for_them() {
    let group = Path::new("/sys/fs/cgroup/pids").join(format!("tsubo-bundle-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        println!("SKIPPED: no version 1 control group can be made here");
        return;
    }
    struct Gone(std::path::PathBuf);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }
    let gone = Gone(group);
    for base in [config, with_users] {
        let mut config =
            base("ls /sys/fs/cgroup; wc -l < /sys/fs/cgroup/pids/tasks; mkdir /sys/fs/cgroup/pids/x 2>&1");
        without_namespace(&mut config, "cgroup");
        let made = bundle(config);
        let tasks = File::options().write(true).open(gone.0.join("tasks")).expect("tasks");
        let (read, write) = pipe();
        let options = Options { cgroup_tasks: vec![tasks.into()], ..Options::new(stdio(write)) };
        let mut child = tsubo_runtime::spawn(&spec::plan::plan(&made.spec), options).expect("spawn");
        child.release().expect("exec");
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).expect("output");
        child.wait().expect("end");
        // The shell and what counts; of a pipe nobody knows which end comes first.
        assert!(said.starts_with("pids\n2\n") && said.contains("Read-only"), "{said}");
    }
    // Without a group there is nothing to show, and never that of the host.
    let mut config = config("true");
    without_namespace(&mut config, "cgroup");
    assert!(bundle(config).fails().chain().contains("control groups"));
}

#[test]
fn without_a_mount_namespace_it_is_a_chroot() {
    let mut config = config("ls / | xargs; readlink /proc/self/ns/mnt; touch /x 2>&1");
    without_namespace(&mut config, "mount");
    config["mounts"] = json!([]);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    let ended = bundle(config).run();
    assert!(
        ended.output.starts_with("bin dev etc") && ended.output.contains("Read-only"),
        "{}",
        ended.output
    );
}

#[test]
fn a_mount_namespace_that_exists_is_the_root() {
    let outer = bundle(asleep(config));
    let (first, _output) = outer.start().expect("start");
    let mut second = config("hostname; cat /proc/1/comm; ls -d /bin/busybox");
    let namespaces = second["linux"]["namespaces"].as_array_mut().expect("list");
    for one in namespaces.iter_mut() {
        let file = match one["type"].as_str().expect("type") {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        one["path"] = json!(format!("/proc/{}/ns/{file}", first.pid()));
    }
    second["mounts"] = json!([]);
    second["linux"]["maskedPaths"] = json!([]);
    second["linux"]["readonlyPaths"] = json!([]);
    second["hostname"] = json!("");
    assert_eq!(said(second), "tsubo\nsleep\n/bin/busybox");
}

#[test]
fn it_dies_with_its_parent_in_the_second_process_too() {
    let made = bundle(asleep(with_users));
    let plan = spec::plan::plan(&made.spec);
    let starter = std::thread::spawn(move || {
        let options = Options { die_with_parent: true, ..Options::new(stdio(pipe().1)) };
        let mut child = tsubo_runtime::spawn(&plan, options).expect("spawn");
        child.release().expect("exec");
        child
    });
    let mut child = starter.join().expect("thread");
    assert_eq!(child.wait().expect("end"), 137);
}

#[test]
fn schedulers_and_memory() {
    let mut scheduled =
        config("grep -c . /proc/self/status > /dev/null; cat /proc/self/sched | grep -E '^policy' | xargs");
    scheduled["process"]["scheduler"] =
        json!({ "policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    let (mut child, _output) = {
        scheduled["process"]["args"] = json!(["/bin/sleep", "100"]);
        bundle(scheduled).start().expect("start")
    };
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).expect("stat");
    let fields: Vec<_> = stat.rsplit_once(") ").expect("stat").1.split(' ').collect();
    // Fields 19 and 41 of proc_pid_stat(5); the first two are gone.
    assert_eq!((fields[16], fields[38]), ("3", "3"), "{stat}");
    child.signal(9).expect("kill");
    child.wait().expect("end");

    let mut bound = config("grep -m 1 -o bind /proc/self/numa_maps");
    bound["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
    match bundle(bound).start() {
        Err(error) if error.chain().contains("os error 38") => {
            println!("SKIPPED: this kernel has no memory policies")
        }
        Err(error) => panic!("{error:?}"),
        Ok((mut child, _)) => drop(child.wait()),
    }
}

#[test]
fn attack_18_mounts_of_the_host_appear_only_where_that_is_asked_for() {
    let shared = fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains("shared:");
    if !shared {
        println!("SKIPPED: no mount of this host is shared");
    }
    let mut config = config(
        "grep -E ' / / ' /proc/self/mountinfo | cut -d ' ' -f 5,7; grep -c shared: /proc/self/mountinfo",
    );
    config["linux"]["rootfsPropagation"] = json!("rshared");
    let said = said(config);
    assert!(!said.ends_with("\n0"), "mounts belong to peer groups of their own: {said}");
}

#[test]
fn the_namespaces_of_a_bundle_are_made_as_listed() {
    let made = bundle(asleep(with_users));
    assert_eq!(made.spec.namespaces.get(&Namespace::User), Some(&Place::Own));
    let (child, _output) = made.start().expect("start");
    for file in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] {
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{file}")).expect(file);
        assert_ne!(link("self"), link(&child.pid().to_string()), "{file}");
    }
}

#[test]
fn attack_27_the_callers_keys_are_not_its_own() {
    if !Path::new("/proc/keys").exists() {
        println!("SKIPPED: this kernel shows no keys");
        return;
    }
    for base in [config, with_users] {
        let mut config = base("grep -c ' _ses: empty' /proc/keys");
        config["linux"]["maskedPaths"] = json!([]);
        // Root sees those of other containers that are root's, too, but does not possess them.
        assert_ne!(said(config), "0", "one of its own, and nothing in it");
    }
}

/// As `create` and `start` are two commands.
#[test]
fn it_waits_at_its_latch_without_its_caller() {
    for base in [config, with_users] {
        let place = tempfile::tempdir().expect("dir");
        let latch = place.path().join("latch");
        rustix::fs::mkfifoat(rustix::fs::CWD, &latch, rustix::fs::Mode::from_raw_mode(0o600)).expect("pipe");
        let both = || File::options().read(true).write(true).open(&latch).expect("latch");
        let made = bundle(base("echo opened; ls /proc/self/fd | xargs"));
        let (read, write) = pipe();
        let options = Options { latch: Some(both().into()), ..Options::new(stdio(write)) };
        let child = tsubo_runtime::spawn(&spec::plan::plan(&made.spec), options).expect("gate");
        let pid = child.pid();
        let pidfd = child.leave().expect("pidfd");
        // Its caller is gone for it; it stands there still.
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("it lives");
        assert_ne!(comm, "sh\n");
        std::io::Write::write_all(&mut both(), b"1").expect("open");
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).expect("output");
        assert_eq!(said, "opened\n0 1 2 3\n");
        let ended = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
        let status = rustix::process::waitid(ended, rustix::process::WaitIdOptions::EXITED).expect("wait");
        assert_eq!(status.and_then(|status| status.exit_status()), Some(0));
    }
}

#[test]
fn descriptors_of_the_caller_are_passed_on_where_that_is_asked_for() {
    let outside = tempfile::NamedTempFile::new().expect("file");
    fs::write(outside.path(), "passed on").expect("text");
    let inner = std::env::current_exe().expect("this program");
    let script = "exec 3<\"$1\"; exec \"$2\" --ignored --exact bundles::with_a_descriptor_of_its_caller";
    let output =
        std::process::Command::new("sh").args(["-c", script, "sh"]).arg(outside.path()).arg(inner).output();
    let output = output.expect("a run of this program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by the one above"]
fn with_a_descriptor_of_its_caller() {
    if !sys::process::is_inherited(3) {
        println!("SKIPPED: this is for the test above");
        return;
    }
    for base in [config, with_users] {
        let made = bundle(base("cat <&3; ls /proc/self/fd | xargs"));
        let (read, write) = pipe();
        let options = Options { preserve: 1, ..Options::new(stdio(write)) };
        let mut child = tsubo_runtime::spawn(&spec::plan::plan(&made.spec), options).expect("gate");
        child.release().expect("exec");
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).expect("output");
        assert!(said.ends_with("0 1 2 3 4\n"), "{said}");
        let options = Options { preserve: 90, ..Options::new(stdio(pipe().1)) };
        let error = tsubo_runtime::spawn(&spec::plan::plan(&made.spec), options).expect_err("not open");
        assert!(error.chain().contains("is to be passed on"), "{error:?}");
    }
}

/// As an engine without the host's privileges has it: its root is root in a user namespace only.
#[test]
fn all_of_it_within_another_user_namespace() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let script = "read -r go && exec unshare -m \"$0\" \"$@\"";
    let tests = [
        "the_standard_bundle",
        "its_terminal_is_its_console",
        "its_users_own_its_namespaces",
        "users_that_exist_are_joined_by_their_file",
        "clocks_are_its_own_with_and_without_users",
        "parameters_names_masks_and_the_umask",
        "another_process_joins_users_that_own_everything",
        "bundles_of_an_engine",
    ];
    let mut inner = Command::new("unshare")
        .args(["-U", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--test-threads", "2"])
        .args(tests.map(|name| format!("bundles::{name}")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let own = fs::read_link("/proc/self/ns/user").expect("users");
    let file = |name: &str| format!("/proc/{}/{name}", inner.id());
    while fs::read_link(file("ns/user")).expect("users") == own {
        std::thread::yield_now();
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(file(map), "0 0 4294967295").expect("a map");
    }
    inner.stdin.take().expect("input").write_all(b"go\n").expect("go");
    let output = inner.wait_with_output().expect("end");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(&format!("{} passed", tests.len())), "{said}");
}

#[test]
fn ten_thousand_mounts() {
    let mut config = config("grep -c ' /run/' /proc/mounts");
    mount(&mut config, "/run", "tmpfs", Path::new("tmpfs"), &[]);
    for number in 0..10_000 {
        mount(&mut config, &format!("/run/{number}"), "bind", Path::new("/etc"), &["bind", "ro"]);
    }
    assert_eq!(said(config), "10000");
}

/// What Podman 4.3 hands to a runtime, but for its binds and the program.
#[test]
fn bundles_of_an_engine() {
    for (text, expected) in [
        (include_str!("../../../spec/src/oci/engines/podman.json"), "0\n2\ntmpfs\n/run/x"),
        (include_str!("../../../spec/src/oci/engines/podman_users.json"), "0\n2\ntmpfs\n/run/x"),
        (include_str!("../../../spec/src/oci/engines/podman_privileged.json"), "0\n0\ntmpfs\n/run/x"),
    ] {
        let mut config: Value = serde_json::from_str(text).expect("JSON");
        let list = config["mounts"].as_array_mut().expect("list");
        list.retain(|mount| mount["type"] != "bind");
        list.push(json!({ "destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=755"] }));
        if config["linux"]["devices"].is_array() {
            config["linux"]["devices"] = json!([]);
        }
        let script = "id -u; grep Seccomp: /proc/self/status | cut -f 2; grep ' /dev ' /proc/mounts | cut -d ' ' -f 1; touch /run/x; ls /run/x";
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "cgroup" }));
        let mut made = bundle(config);
        // A hard limit beyond our own takes a privilege that this machine may not have.
        made.spec.process.rlimits.clear();
        made.spec.process.oom_score_adj = None;
        made.spec.process.terminal = false;
        // The tree belongs to the host's root: the container's could not make it.
        fs::create_dir(made.tree().join("var/tmp")).expect("dir");
        assert_eq!(made.said(), expected);
    }
}

/// `cargo test -p tsubo-runtime --test it -- --ignored --nocapture what_a_bundle_costs`
#[test]
#[ignore = "a measurement"]
fn what_a_bundle_costs() {
    for (name, base) in [("host users", config as fn(&str) -> Value), ("own users", with_users)] {
        let mut config = base("");
        config["process"]["args"] = json!(["/bin/true"]);
        let made = bundle(config);
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let start = std::time::Instant::now();
                made.run();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{name}: {:?}", times[times.len() / 2]);
    }
}
