//! Users of the container's own: root inside is nobody outside, and owns nothing of the host.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::fs::XattrFlags;
use spec::ErrorKind;
use spec::container::{
    Bind, CAPABILITY_NAMES, Capabilities, IdRange, Mount, MountKind, Namespace, Nodes, Place, Users,
};
use spec::seccomp::Choice;
use tsubo_runtime::{Options, Target};

use crate::harness::{Box, container, mount, path, pipe, shell, stdio};

/// Nobody's on any host; other tests take other places.
const BASE: u32 = 0x7fee_0000;
const ALL: u64 = (1 << CAPABILITY_NAMES.len()) - 1;

/// With 65536 users of its own, and devices that are made.
pub(crate) fn with_users(mut made: Box) -> Box {
    made.spec.users = Some(Users::anywhere().at(BASE));
    made.spec.namespaces.insert(Namespace::User, Place::Own);
    for mount in &mut made.spec.mounts {
        if let MountKind::Dev { nodes, .. } = &mut mount.what {
            *nodes = Nodes::Made;
        }
    }
    made
}

/// And nothing that holds it back but that.
fn unconfined(script: &str) -> Box {
    let mut made = with_users(shell(script));
    made.spec.process.capabilities = Capabilities::of(ALL);
    made.spec.process.seccomp = Choice::None;
    made.spec.process.no_new_privs = false;
    made.spec.masked.clear();
    made.spec.read_only.clear();
    made
}

fn plain_bind(at: &str, source: &std::path::Path, bind: impl FnOnce(&mut Bind)) -> Mount {
    let mut what = Bind::of(source);
    bind(&mut what);
    mount(at, MountKind::Bind(what))
}

fn tmpfs(seeded: bool) -> MountKind {
    MountKind::Tmpfs { bytes: 1 << 20, inodes: 64, seeded, mode: 0o755 }
}

#[test]
fn root_inside_is_nobody_outside() {
    let made = with_users(shell("id -u; id -G; cat /proc/self/uid_map; exec sleep 100"));
    let (mut child, output) = made.start().expect("start");
    let lines = BufReader::new(output).lines().take(3);
    let said = lines.collect::<Result<Vec<_>, _>>().expect("output").join(" ");
    let words: Vec<_> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", &BASE.to_string(), "65536"]);
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("status");
    assert!(status.contains(&format!("Uid:\t{BASE}\t{BASE}\t{BASE}\t{BASE}\n")), "{status}");
    assert!(status.contains(&format!("Gid:\t{BASE}\t{BASE}\t{BASE}\t{BASE}\n")), "{status}");
    assert!(status.contains("Groups:\t \n"), "no group of the host is left: {status}");
    child.signal(9).expect("kill");
    assert_eq!(child.wait().expect("end"), 137);
}

#[test]
fn the_images_files_are_its_own() {
    let made = with_users(shell("stat -c %u:%g /bin/busybox /etc/of33 /etc/beyond; touch /etc/x 2>&1; true"));
    for (name, owner) in [("of33", 33), ("beyond", 70_000)] {
        fs::write(made.tree().join("etc").join(name), "").expect("file");
        chown(made.tree().join("etc").join(name), Some(owner), Some(owner)).expect("owner");
    }
    let said = made.said();
    assert!(said.starts_with("0:0\n33:33\n65534:65534\n") && said.contains("Read-only"), "{said}");
    assert_eq!(fs::metadata(made.tree().join("etc/of33")).expect("file").uid(), 33, "never chowned");
}

#[test]
fn it_owns_no_namespace_of_its_own_but_that_of_its_users() {
    let said = unconfined(
        "mount -t tmpfs x /tmp; mount --bind /etc /tmp; mount -o remount,rw /; hostname other; \
         mknod /dev/sda b 8 0; mknod /dev/own c 1 3; busybox reboot -f; \
         busybox date -s 2001-01-01 >/dev/null; busybox dmesg -c; true",
    )
    .said();
    let refused = said.matches("not permitted").count() + said.matches("denied").count();
    assert_eq!((refused, said.lines().count()), (9, 9), "{said}");
}

#[test]
fn attack_30_nothing_of_the_kernel_can_be_changed() {
    let said = unconfined(
        "for f in kernel/core_pattern kernel/hostname kernel/modprobe vm/drop_caches kernel/msgmax fs/file-max; do \
           echo 1 2>/dev/null > /proc/sys/$f || echo no; done; \
         echo b > /proc/sysrq-trigger || echo no; echo 1 > /proc/self/oom_score_adj && echo own",
    )
    .said();
    assert_eq!(said.lines().filter(|line| *line == "no").count(), 7, "{said}");
    assert!(said.ends_with("own"), "{said}");
}

#[test]
fn devices_work_and_belong_to_root() {
    let said = with_users(shell(
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %u %a' /dev/$d; done; \
         head -c 3 /dev/zero | wc -c; echo x > /dev/null; stat -c %u:%a /dev /dev/shm /dev/pts; \
         touch /dev/shm/x /dev/y; stat -c %g /dev/pts/ptmx; grep -c . /proc/mounts",
    ))
    .said();
    for wanted in ["/dev/null 1:3 0 666", "/dev/tty 5:0 0 666", "\n3\n", "\n0:755\n0:1777\n"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_bind_shows_owners_as_the_containers_or_plain() {
    let outside = tempfile::tempdir().expect("dir");
    fs::write(outside.path().join("old"), "").expect("file");
    let script = "stat -c %u /srv/old; touch /srv/new && chown 33 /srv/new; stat -c %u /srv/new";
    let mapped = with_users(shell(script)).bind("/srv", outside.path(), false);
    assert_eq!(mapped.said(), "0\n33");
    assert_eq!(fs::metadata(outside.path().join("new")).expect("made").uid(), 33, "as itself on the host");

    let mut plain = with_users(shell("stat -c %u /srv/old; touch /srv/other || echo refused"));
    plain.spec.mounts.push(plain_bind("/srv", outside.path(), |bind| bind.idmapped = false));
    let said = plain.said();
    assert!(said.starts_with("65534\n") && said.ends_with("refused"), "{said}");
    chown(outside.path(), Some(BASE), Some(BASE)).expect("owner");
    plain.spec.process.argv[2] = "touch /srv/other".into();
    plain.said();
    assert_eq!(fs::metadata(outside.path().join("other")).expect("made").uid(), BASE);
}

#[test]
fn a_file_system_without_mapping_is_named_with_the_way_out() {
    let source = std::path::Path::new("/sys/kernel");
    let error = with_users(shell("true")).bind("/srv", source, true).fails();
    assert!(error.chain().contains("/sys/kernel"), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("noidmap")), "{error:?}");
    let mut plain = with_users(shell("ls /srv"));
    plain.spec.mounts.push(plain_bind("/srv", source, |bind| bind.idmapped = false));
    plain.said();
}

#[test]
fn a_fresh_tmpfs_belongs_to_root() {
    let said =
        with_users(shell("stat -c %u:%g:%a /srv; touch /srv/x; chown 5:6 /srv/x; stat -c %u:%g /srv/x"))
            .mount("/srv", tmpfs(false))
            .said();
    assert_eq!(said, "0:0:755\n5:6");
}

#[test]
fn a_seeded_tmpfs_has_the_images_owners() {
    let script = "stat -c %u:%g:%a /srv /srv/dir /srv/dir/file /srv/link; \
                  /srv/busybox-capped grep CapEff /proc/self/status";
    let mut made = with_users(shell(script)).mount("/srv", tmpfs(true));
    made.spec.mounts.last_mut().expect("tmpfs").what =
        MountKind::Tmpfs { bytes: 16 << 20, inodes: 64, seeded: true, mode: 0o755 };
    made.spec.process.no_new_privs = false;
    made.spec.process.user.uid = 33;
    for mount in &mut made.spec.mounts {
        mount.flags.no_suid = false;
    }
    let srv = made.tree().join("srv");
    fs::create_dir(srv.join("dir")).expect("dir");
    fs::write(srv.join("dir/file"), "x").expect("file");
    fs::set_permissions(srv.join("dir/file"), fs::Permissions::from_mode(0o640)).expect("mode");
    std::os::unix::fs::symlink("dir", srv.join("link")).expect("link");
    capped(&srv.join("busybox-capped"));
    chown(&srv, Some(33), Some(33)).expect("owner");
    chown(srv.join("dir/file"), Some(33), Some(65_535)).expect("owner");
    std::os::unix::fs::lchown(srv.join("link"), Some(44), Some(44)).expect("owner");
    let said = made.said();
    // A tmpfs is nosuid, so the capability of the file, which came along, means nothing there.
    assert_eq!(said, "33:33:755\n0:0:755\n33:65535:640\n44:44:777\nCapEff:\t0000000000000000");
}

/// A busybox with CAP_CHOWN in the file.
fn capped(at: &std::path::Path) {
    fs::copy("/bin/busybox", at).expect("copy");
    let value = [1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(at, "security.capability", &value, XattrFlags::empty()).expect("capability");
}

#[test]
fn an_owner_without_a_place_is_refused_with_the_path() {
    let mut made = with_users(shell("true"));
    made.spec.process.user.groups = vec![70_000];
    assert!(made.fails().chain().contains("group 70000"), "{:?}", made.fails());
    let made = with_users(shell("true")).mount("/srv", tmpfs(true));
    fs::create_dir(made.tree().join("srv/deep")).expect("dir");
    fs::write(made.tree().join("srv/deep/file"), "").expect("file");
    chown(made.tree().join("srv/deep/file"), Some(70_000), None).expect("owner");
    let error = made.fails();
    assert!(error.chain().contains("deep/file") && error.chain().contains("70000"), "{error:?}");
}

#[test]
fn files_that_give_privilege_do_so_within_the_container_only() {
    for (no_new_privs, caps, uid) in [(false, "0000000000000001", "0"), (true, "0000000000000000", "33")] {
        let mut made = with_users(shell(
            "/bin/busybox-capped grep CapEff /proc/self/status | grep -o '[0-9a-f]*$'; /bin/id-suid -u",
        ));
        made.spec.process.no_new_privs = no_new_privs;
        made.spec.process.user.uid = 33;
        capped(&made.tree().join("bin/busybox-capped"));
        fs::copy("/usr/bin/id", made.tree().join("bin/id-suid")).expect("id");
        fs::set_permissions(made.tree().join("bin/id-suid"), fs::Permissions::from_mode(0o4755))
            .expect("mode");
        for library in ["lib", "lib64"] {
            fs::create_dir(made.tree().join(library)).expect("dir");
            let from = fs::canonicalize(format!("/{library}")).expect("libraries");
            made = made.bind(&format!("/{library}"), &from, true);
        }
        assert_eq!(made.said(), format!("{caps}\n{uid}"));
    }
}

#[test]
fn another_process_joins_its_users() {
    let first = with_users(shell("echo up; exec sleep 100"));
    let (child, mut output) = first.start().expect("start");
    output.read_exact(&mut [0; 3]).expect("up");
    let mut process = first.spec.process.clone();
    process.argv[2] = "id -u; id -G; readlink /proc/self/ns/user; touch /etc/x 2>&1; hostname x 2>&1; \
                       grep CapEff /proc/self/status; until grep -q sleep /proc/1/comm; do :; done; cat /proc/1/comm"
        .into();
    let plan = spec::plan::join(&first.spec, &process, &spec::plan::joinable(&first.spec));
    let (read, write) = pipe();
    let target = Target { pidfd: child.pidfd(), devpts: None };
    let options = Options { die_with_parent: true, ..Options::new(stdio(write)) };
    let mut second = tsubo_runtime::join(&plan, options, target).expect("join");
    let outside = fs::read_link(format!("/proc/{}/ns/user", child.pid())).expect("namespace");
    second.release().expect("exec");
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).expect("output");
    assert_eq!(second.wait().expect("end"), 0, "{said}");
    assert!(said.starts_with(&format!("0\n0\n{}\n", outside.display())), "{said}");
    assert!(said.contains("CapEff:\t00000000a80425fb") && said.ends_with("sleep\n"), "{said}");
}

#[test]
fn its_terminal_belongs_to_its_user() {
    for uid in [0, 33] {
        let mut made = with_users(shell("stat -c %u:%g $(tty); tty; : < /dev/tty; : > /dev/console"));
        made.spec.process.terminal = true;
        made.spec.process.user.uid = uid;
        let mut child = made.gated(pipe().1).expect("start");
        let mut terminal = File::from(child.terminal().expect("a terminal"));
        child.release().expect("exec");
        let mut said = Vec::new();
        let mut buffer = [0; 256];
        // EIO where the last program has closed its side.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            said.extend(&buffer[..length]);
        }
        assert_eq!(child.wait().expect("end"), 0, "{}", String::from_utf8_lossy(&said));
        assert_eq!(String::from_utf8_lossy(&said), format!("{uid}:5\r\n/dev/pts/0\r\n"));
    }
}

#[test]
fn pipes_can_be_opened_anew_by_whoever_it_runs_as() {
    for uid in [0, 33] {
        let mut made = with_users(shell("echo again > /dev/stdout"));
        made.spec.process.user.uid = uid;
        assert_eq!(made.said(), "again");
    }
    let mut without = shell("echo again > /dev/stdout");
    without.spec.process.user.uid = 33;
    assert_eq!(without.said(), "again");
}

#[test]
fn a_scratch_root_over_a_mapped_tree() {
    let made = with_users(shell(
        "stat -c %u / /bin/busybox /etc/of33; echo more >> /etc/of33; stat -c %u:%s /etc/of33; \
         touch /new; chown 12 /new; stat -c %u /new; ln -s a /b; mkdir /etc/dir",
    ))
    .scratch();
    fs::write(made.tree().join("etc/of33"), "x").expect("file");
    chown(made.tree().join("etc/of33"), Some(33), Some(33)).expect("owner");
    assert_eq!(made.said(), "0\n0\n33\n33:6\n12");
    assert_eq!(fs::read_to_string(made.tree().join("etc/of33")).expect("file"), "x", "the tree is untouched");
}

#[test]
fn its_own_network_belongs_to_its_root() {
    let mut made = with_users(shell(
        "ls /sys/class/net; nc -ll -p 80 -e /bin/echo hi & until nc 127.0.0.1 80 </dev/null 2>/dev/null; do sleep 0.05; done; \
         echo 99 > /proc/sys/net/ipv4/ip_default_ttl && cat /proc/sys/net/ipv4/ip_default_ttl",
    ));
    made.spec.namespaces.insert(Namespace::Net, Place::Own);
    made.spec.read_only.clear();
    made.spec.process.capabilities = Capabilities::of(ALL);
    assert_eq!(made.said(), "lo\nhi\n99");
}

#[test]
fn on_the_hosts_network_sysfs_and_message_queues_are_there() {
    let said = with_users(shell("ls -d /sys/class/net /dev/mqueue; readlink /proc/self/ns/net")).said();
    let host = fs::read_link("/proc/self/ns/net").expect("net");
    assert_eq!(said, format!("/dev/mqueue\n/sys/class/net\n{}", host.display()));
}

#[test]
fn several_ranges_and_a_mapping_without_root() {
    let range = |inside, host, count| IdRange { inside, host, count };
    let mut made = with_users(shell("stat -c %u /etc/a /etc/b; id -u; cat /proc/self/uid_map"));
    let ranges = vec![range(0, BASE, 10), range(33, BASE + 5000, 1)];
    made.spec.users = Some(Users { uids: ranges.clone(), gids: ranges, anywhere: false });
    for (name, owner) in [("a", 33), ("b", 34)] {
        fs::write(made.tree().join("etc").join(name), "").expect("file");
        chown(made.tree().join("etc").join(name), Some(owner), Some(owner)).expect("owner");
    }
    made.spec.process.user.uid = 33;
    let said = made.said();
    assert!(said.starts_with("33\n65534\n33\n"), "{said}");

    let mut rootless = with_users(shell("id -u; id -g; grep -E 'CapEff|Groups' /proc/self/status"));
    let ranges = vec![range(1000, BASE + 1000, 1)];
    rootless.spec.users = Some(Users { uids: ranges.clone(), gids: ranges, anywhere: false });
    rootless.spec.process.user = spec::portable::Ids { uid: 1000, gid: 1000, groups: Vec::new() };
    rootless.spec.mounts.retain(|mount| mount.at != path("/dev"));
    for init in [false, true] {
        rootless.spec.init = init;
        let said = rootless.said();
        assert!(said.starts_with("1000\n1000\n") && said.contains("CapEff:\t0000000000000000"), "{said}");
    }
}

#[test]
fn the_init_is_root_inside_and_nobody_outside() {
    let mut made =
        with_users(shell("grep -E '^(Uid|CapEff)' /proc/1/status; echo $$; kill -0 1 && echo reached"));
    made.spec.init = true;
    assert_eq!(made.said(), "Uid:\t0\t0\t0\t0\nCapEff:\t0000000000000020\n2\nreached");
}

#[test]
fn it_dies_with_its_parent_through_every_change_of_user() {
    let mut made = with_users(container(&["sleep", "100"]));
    made.spec.process.user.uid = 33;
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
fn a_start_that_fails_leaves_nothing() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let before = mounts();
    let mut unplaced = with_users(shell("true"));
    unplaced.spec.users = Some(Users::anywhere());
    assert_eq!(unplaced.fails().kind(), ErrorKind::Internal, "a place is chosen above this floor");
    let mut taken = with_users(shell("true"));
    let ranges =
        vec![IdRange { inside: 0, host: BASE, count: 10 }, IdRange { inside: 5, host: BASE + 50, count: 9 }];
    taken.spec.users = Some(Users { uids: ranges.clone(), gids: ranges, anywhere: false });
    assert!(taken.fails().chain().contains("mapping the users"), "{:?}", taken.fails());
    let mut homeless = with_users(shell("true"));
    homeless.spec.process.user.uid = 70_000;
    homeless.fails();
    let mut late = with_users(shell("true"));
    late.spec.process.argv = vec!["/nothing/here".into()];
    assert_eq!(late.fails().kind(), ErrorKind::CommandNotFound);
    assert_eq!(mounts(), before);
    assert!(left_over().is_empty(), "{:?}", left_over());
}

/// Processes that are this program's and call themselves so: helpers that were not reaped.
fn left_over() -> Vec<String> {
    let (pid, name) = (std::process::id().to_string(), fs::read_to_string("/proc/self/comm").expect("comm"));
    let child = |stat: String| {
        let (head, fields) = stat.split_once(") ")?;
        let mut fields = fields.split(' ');
        let zombie = fields.next() == Some("Z") && fields.next() == Some(&pid);
        (zombie && head.ends_with(&format!("({}", name.trim()))).then_some(stat.clone())
    };
    let stats = fs::read_dir("/proc").expect("proc").flatten();
    stats.filter_map(|entry| child(fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

#[test]
fn the_users_of_another_by_their_file() {
    let first = with_users(container(&["sleep", "100"]));
    let (child, _output) = first.start().expect("start");
    let mut second = shell("grep -h ^Uid /proc/1/status /proc/self/status; readlink /proc/self/ns/user");
    let file = format!("/proc/{}/ns/user", child.pid());
    second.spec.namespaces.insert(Namespace::User, Place::Path(file.clone().into()));
    second.spec.init = true;
    let namespace = fs::read_link(file).expect("namespace");
    let root = "Uid:\t0\t0\t0\t0";
    assert_eq!(second.said(), format!("{root}\n{root}\n{}", namespace.display()));
}
