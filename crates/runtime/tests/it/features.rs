//! Kernel parameters, devices, labels, and how the process is scheduled: each on, and left out.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use spec::ErrorKind;
use spec::container::{
    Capabilities, DEFAULT_CAPABILITIES, Device, DeviceKind, IoClass, IoPriority, Labels, Namespace, Place,
    Scheduler, SchedulerPolicy, capability,
};

use crate::harness::{Box, path, shell};
use crate::namespaces::with_users;

fn with_sysctl(script: &str, name: &str, value: &str) -> Box {
    let mut made = shell(script);
    made.spec.cgroup = true;
    made.spec.namespaces.insert(Namespace::Net, Place::Own);
    made.spec.sysctls.insert(name.into(), value.into());
    made
}

#[test]
fn parameters_of_its_namespaces_are_set_and_the_hosts_stay() {
    for (name, value) in [
        ("net.ipv4.ip_unprivileged_port_start", "80"),
        ("net.core.somaxconn", "123"),
        ("net.ipv4.ping_group_range", "0\t5"),
        ("kernel.shm_rmid_forced", "1"),
        ("kernel.msgmax", "4096"),
        ("fs.mqueue.msg_max", "7"),
    ] {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&file).expect(&file);
        let made = with_sysctl(&format!("cat {file}"), name, &value.replace('\t', " "));
        spec::container::check(&made.spec).expect(name);
        assert_eq!(made.said(), value, "{name}");
        let mut made = with_users(made);
        if name.starts_with("net.core.")
            && made.start().is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            println!("SKIPPED: this kernel shows no net.core in networks that belong to a user namespace");
            continue;
        }
        assert_eq!(made.said(), value, "{name} for a root that is nobody outside");
        made.spec.init = true;
        assert_eq!(made.said(), value, "{name} behind an init");
        assert_eq!(fs::read_to_string(&file).expect(&file), before, "{name} of the host");
        let mut without = with_sysctl(&format!("cat {file}"), name, value);
        without.spec.sysctls.clear();
        assert_ne!(without.said(), value, "{name} when it is left out");
    }
}

#[test]
fn parameters_of_a_user_namespace() {
    let made = with_users(with_sysctl(
        "cat /proc/sys/user/max_inotify_instances",
        "user.max_inotify_instances",
        "77",
    ));
    spec::container::check(&made.spec).expect("allowed");
    let before = fs::read_to_string("/proc/sys/user/max_inotify_instances").expect("file");
    assert_eq!(made.said(), "77");
    assert_eq!(fs::read_to_string("/proc/sys/user/max_inotify_instances").expect("file"), before);
}

/// 2025-52881: what lies at the container's /proc is never written to.
#[test]
fn lesson_cve_2025_52881_parameters_do_not_go_through_the_containers_proc() {
    let fake = tempfile::tempdir().expect("dir");
    fs::create_dir_all(fake.path().join("sys/net/core")).expect("dirs");
    fs::create_dir_all(fake.path().join("self")).expect("dirs");
    let trap = [fake.path().join("sys/net/core/somaxconn"), fake.path().join("self/oom_score_adj")];
    trap.iter().for_each(|file| fs::write(file, "untouched").expect("file"));
    let mut made = with_sysctl("cat /proc/sys/net/core/somaxconn", "net.core.somaxconn", "123");
    made.spec.process.oom_score_adj = Some(500);
    made.spec.mounts.retain(|mount| mount.at != path("/proc"));
    made.spec.masked.clear();
    made.spec.read_only.clear();
    let made = made.bind("/proc", fake.path(), false);
    assert_eq!(made.said(), "untouched");
    trap.iter().for_each(|file| assert_eq!(fs::read_to_string(file).expect("file"), "untouched"));
}

#[test]
fn parameters_that_are_not_there_or_take_no_such_value() {
    for (name, value, hint) in
        [("net.core.no_such_thing", "1", "no parameter"), ("net.core.somaxconn", "abc", "no such value")]
    {
        let error = with_sysctl("true", name, value).fails();
        assert!(error.hints().iter().any(|words| words.contains(hint)), "{error:?}");
    }
    for (name, value) in [
        ("kernel.core_pattern", "|/bin/sh"),
        ("net..core", "1"),
        ("net.core/../../kernel.core_pattern", "x"),
        ("net.core.somaxconn", "1\n2"),
    ] {
        assert!(spec::container::check(&with_sysctl("true", name, value).spec).is_err(), "{name}");
    }
    let mut host = with_sysctl("true", "net.core.somaxconn", "123");
    host.spec.namespaces.remove(&Namespace::Net);
    assert!(spec::container::check(&host.spec).is_err(), "the host's own network");
}

/// Fields of /proc/self/stat, numbered as in proc(5).
fn stat(said: &str, field: usize) -> &str {
    said.split(' ').nth(field - 1).expect("field")
}

#[test]
fn scores_priorities_and_policies() {
    let script = "cat /proc/self/oom_score_adj; /bin/busybox ionice; uname -m; exec cat /proc/self/stat";
    let mut made = shell(script);
    std::os::unix::fs::symlink("busybox", made.tree().join("bin/uname")).expect("link");
    let plain = made.said();
    made.spec.process.oom_score_adj = Some(321);
    made.spec.process.nice = Some(7);
    made.spec.process.scheduler = Some(Scheduler { policy: SchedulerPolicy::Batch, ..Scheduler::default() });
    made.spec.process.io_priority = Some(IoPriority { class: IoClass::BestEffort, level: 6 });
    made.spec.process.personality = Some(8);
    for (init, users) in [(false, false), (true, false), (true, true)] {
        made.spec.init = init;
        if users {
            made = with_users(made);
        }
        let said = made.said();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..3], ["321", "best-effort: prio 6", "i686"], "{said}");
        assert_eq!((stat(lines[3], 19), stat(lines[3], 41)), ("7", "3"), "nice, policy: {said}");
    }
    let lines: Vec<_> = plain.lines().collect();
    let ours = fs::read_to_string("/proc/self/oom_score_adj").expect("score");
    assert_eq!((lines[0], lines[2]), (ours.trim(), "x86_64"), "{plain}");
    assert_eq!((stat(lines[3], 19), stat(lines[3], 41)), ("0", "0"), "{plain}");
}

#[test]
fn real_time_works_or_is_refused_with_the_way_out() {
    let mut made = shell("exec cat /proc/self/stat");
    made.spec.process.scheduler =
        Some(Scheduler { policy: SchedulerPolicy::Fifo, priority: 10, ..Scheduler::default() });
    match made.start() {
        Ok((mut child, output)) => {
            let said = std::io::read_to_string(output).expect("output");
            assert_eq!((child.wait().expect("wait"), stat(&said, 40), stat(&said, 41)), (0, "10", "1"));
        }
        Err(error) => {
            assert!(error.hints().iter().any(|hint| hint.contains("CAP_SYS_NICE")), "{error:?}");
        }
    }
}

#[test]
fn a_score_that_takes_more_privilege_than_we_have() {
    if rustix::thread::capabilities(None)
        .expect("capabilities")
        .permitted
        .contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
    {
        println!("SKIPPED: CAP_SYS_RESOURCE is here");
        return;
    }
    let mut made = shell("true");
    made.spec.process.oom_score_adj = Some(-1000);
    let error = made.fails();
    assert!(error.hints().iter().any(|hint| hint.contains("CAP_SYS_RESOURCE")), "{error:?}");
}

/// A character device that is not among the usual ones.
fn device(at: &str, read_only: bool) -> Device {
    let status = fs::metadata("/dev/zero").expect("/dev/zero");
    assert!(status.file_type().is_char_device());
    let kind = DeviceKind {
        block: false,
        major: rustix::fs::major(status.rdev()),
        minor: rustix::fs::minor(status.rdev()),
    };
    Device { source: "/dev/zero".into(), at: path(at), read_only, kind }
}

#[test]
fn a_device_of_the_host_is_shown_where_it_is_asked_for() {
    let script = "stat -c '%F %t:%T' /dev/log/kernel; head -c 5 /dev/log/kernel | wc -c; dd if=/dev/null of=/dev/log/kernel 2>/dev/null && echo writable; ls /dev/log";
    let mut made = shell(script);
    assert!(made.run().output.contains("No such file"), "left out");
    made.spec.devices = vec![device("/dev/log/kernel", false)];
    assert_eq!(made.said(), "character special file 1:5\n5\nwritable\nkernel");
    let mut made = with_users(made);
    assert_eq!(made.said(), "character special file 1:5\n5\nwritable\nkernel");
    made.spec.process.argv[2] = "stat -c %u:%g:%a /dev/log/kernel".into();
    assert_eq!(made.said(), "0:0:666", "it belongs to the container's root");
    assert!(!fs::exists("/dev/log/kernel").expect("look"));
}

#[test]
fn a_read_only_device_cannot_be_written() {
    let mut made = shell(
        "stat -c %F /dev/kernel; head -c 5 /dev/kernel | wc -c; \
         echo x > /dev/kernel || echo unwritable; chmod 666 /dev/kernel 2>/dev/null || echo unchanged",
    );
    made.spec.devices = vec![device("/dev/kernel", true)];
    let error = made.fails();
    assert!(error.kind() == ErrorKind::User && error.chain().contains("DAC_OVERRIDE"), "{error:?}");
    made.spec.process.capabilities = Capabilities::of(capability("CHOWN").expect("known"));
    let said = made.run().output;
    assert!(said.starts_with("character special file\n5\n"), "{said}");
    assert!(said.contains("unwritable") && said.contains("unchanged"), "{said}");
    made.spec.process.capabilities = Capabilities::of(DEFAULT_CAPABILITIES);
    assert_eq!(with_users(made).run().output, said, "a root of its own users cannot overrule the host's");
}

#[test]
fn a_device_that_is_another_by_now_or_has_no_place_is_refused() {
    let mut other = device("/dev/kernel", false);
    other.kind.minor += 1;
    let mut block = device("/dev/kernel", false);
    block.kind.block = true;
    let mut gone = device("/dev/kernel", false);
    gone.source = "/dev/no-such-device".into();
    let cases = [
        (other, "not that device"),
        (block, "not that device"),
        (gone, "does not exist"),
        (device("/srv/kernel", false), "/dev"),
        (device("/dev", false), "/dev"),
        (device("/dev/fd/kernel", false), ""),
    ];
    for (device, hint) in cases {
        let mut made = shell("true").scratch();
        made.spec.devices = vec![device];
        let error = made.fails();
        assert!(hint.is_empty() || error.hints().iter().any(|words| words.contains(hint)), "{error:?}");
    }
    let mut without = shell("true").scratch();
    without.spec.mounts.retain(|mount| mount.at != path("/dev"));
    without.spec.devices = vec![device("/dev/kernel", false)];
    assert_eq!(without.fails().kind(), ErrorKind::User);
}

#[test]
fn a_label_of_a_module_that_is_not_there_is_refused_with_the_reason() {
    for (labels, module) in [
        (Labels { apparmor: Some("unconfined".into()), selinux: None }, "AppArmor"),
        (Labels { apparmor: None, selinux: Some("system_u:system_r:container_t:s0".into()) }, "SELinux"),
    ] {
        if active(module) {
            println!("SKIPPED: {module} is active on this host");
            continue;
        }
        let mut made = shell("true");
        made.spec.process.labels = labels;
        let error = made.fails();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.chain().contains(module) && !error.hints().is_empty(), "{error:?}");
    }
}

fn active(module: &str) -> bool {
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    list.split(',').any(|one| one.trim() == module.to_lowercase())
}

#[test]
fn an_apparmor_profile_is_taken_or_the_start_fails() {
    if !active("AppArmor") {
        println!("SKIPPED: AppArmor is not active on this host");
        return;
    }
    for users in [false, true] {
        let mut made = shell("cat /proc/self/attr/current");
        if users {
            made = with_users(made);
        }
        made.spec.process.labels.apparmor = Some("unconfined".into());
        assert_eq!(made.said(), "unconfined");
        made.spec.process.labels.apparmor = Some("no-such-profile".into());
        let error = made.fails();
        assert!(error.hints().iter().any(|hint| hint.contains("no-such-profile")), "{error:?}");
    }
}

/// A profile in the kernel; gone at the end.
struct Profile(tempfile::TempDir);

impl Profile {
    const NAME: &str = "tsubo-test";
    const RULES: &str = "profile tsubo-test flags=(attach_disconnected,mediate_deleted) {\n\
                         file,\n capability,\n signal,\n deny /etc/secret rw,\n}\n";

    /// None where the tool that compiles it is missing, which is said.
    fn load() -> Option<Self> {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("profile"), Self::RULES).expect("profile");
        let profile = Self(dir);
        match profile.parser("-r") {
            Some(true) => Some(profile),
            Some(false) => panic!("the profile was not loaded"),
            None => {
                println!("SKIPPED: there is no apparmor_parser to load a profile with");
                None
            }
        }
    }

    fn parser(&self, what: &str) -> Option<bool> {
        let mut parser = std::process::Command::new("apparmor_parser");
        let status = parser.args(["-K", "-q", what]).arg(self.0.path().join("profile")).status();
        status.ok().map(|status| status.success())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("-R");
    }
}

#[test]
fn an_apparmor_profile_confines() {
    if !active("AppArmor") {
        println!("SKIPPED: AppArmor is not active on this host");
        return;
    }
    let Some(_profile) = Profile::load() else { return };
    let script = "cat /proc/self/attr/current; cat /etc/open; cat /etc/secret 2>/dev/null || echo denied";
    for (users, init) in [(false, false), (true, false), (false, true)] {
        let mut made = shell(script);
        if users {
            made = with_users(made);
        }
        made.spec.init = init;
        for file in ["open", "secret"] {
            fs::write(made.tree().join("etc").join(file), "read\n").expect(file);
        }
        assert!(made.said().ends_with("read\nread"), "without a profile");
        made.spec.process.labels.apparmor = Some(Profile::NAME.into());
        assert_eq!(made.said(), "tsubo-test (enforce)\nread\ndenied");
    }
}
