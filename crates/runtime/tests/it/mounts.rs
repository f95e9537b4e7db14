//! Each kind of root and mount, and mount points that try to lead elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use spec::container::{Bind, MountKind, Nodes, Propagation, Root};

use crate::harness::{Box, container, path, shell};

fn tmpfs(seeded: bool) -> MountKind {
    MountKind::Tmpfs { bytes: 32 << 20, inodes: 8192, seeded, mode: 0o700 }
}

#[test]
fn the_tree_is_read_only_and_without_devices() {
    let made = shell("touch /x 2>/dev/null && echo wrote; grep ' / ' /proc/mounts | head -1");
    let said = made.said();
    assert!(said.contains("ro,") && said.contains("nodev"), "{said}");
    assert!(!said.contains("wrote") && !made.tree().join("x").exists());
}

#[test]
fn a_scratch_root_takes_writes_that_nobody_else_sees() {
    let made = shell("echo new > /etc/new && cat /etc/new && ln -s /a /b && stat -c %a / /tmp").scratch();
    fs::set_permissions(made.tree().join("tmp"), fs::Permissions::from_mode(0o1777)).expect("mode");
    assert_eq!(made.said(), "new\n755\n1777");
    assert!(!made.tree().join("etc/new").exists());
    let full =
        shell("dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -o 'No space left on device'").scratch();
    assert_eq!(full.said(), "No space left on device");
}

#[test]
fn a_mounted_root_is_taken_as_it_is() {
    let mut made = shell("echo written > /srv/file");
    made.spec.root = Root::Mounted { path: made.tree().to_owned() };
    made.said();
    assert_eq!(fs::read_to_string(made.tree().join("srv/file")).expect("file"), "written\n");
}

#[test]
fn nothing_of_the_host_is_left_to_reach() {
    let said = shell("cat /proc/mounts; ls /").said();
    assert!(!said.contains("/dev/vda") || said.matches("/dev/vda").count() <= 1, "{said}");
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    shell("true").run();
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").expect("mounts"));
}

#[test]
fn the_kernels_file_systems_are_its_own() {
    let said = shell(
        "ls -d /proc/[0-9]* | wc -l; touch /sys/x 2>/dev/null; touch /proc/sys/kernel/x 2>/dev/null; \
                      echo x > /proc/sys/kernel/domainname; echo $?",
    )
    .said();
    assert!(said.ends_with("\n1") || said.contains("Read-only"), "{said}");
    let groups = shell("ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x; true").said();
    assert!(groups.contains("Read-only file system"), "{groups}");
}

#[test]
fn devices_work_and_no_others() {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T' /dev/$d; done; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null; readlink /dev/fd; readlink /dev/ptmx; \
                  ls -d /dev/shm /dev/mqueue /dev/pts/ptmx; mknod /dev/shm/sda b 8 0; head -c 1 /dev/shm/sda";
    let ended = shell(script).run();
    for wanted in [
        "/dev/null character special file 1:3",
        "/dev/tty character special file 5:0",
        "pts/ptmx",
        "/proc/self/fd",
    ] {
        assert!(ended.output.contains(wanted), "{wanted}: {}", ended.output);
    }
    assert_ne!(ended.code, 0, "a device node of one's own must not open: {}", ended.output);
}

#[test]
fn shared_memory_is_a_mount_of_its_own_with_the_size_that_was_asked_for() {
    let mut made = shell(
        "stat -c '%a %u' /dev/shm; grep ' /dev/shm ' /proc/mounts; dd if=/dev/zero of=/dev/shm/x bs=1k count=1024; \
         dd if=/dev/zero of=/dev/shm/y bs=1k count=200 2>&1 | grep -o 'No space left on device'",
    );
    made.spec.mounts.retain(|mount| mount.at.to_string() != "/dev");
    let made = made.mount("/dev", MountKind::Dev { shm: 1 << 20, nodes: Nodes::Bound });
    let said = made.said();
    let options =
        |line: &str| ["tmpfs", "nosuid", "nodev", "noexec", "rw"].iter().all(|word| line.contains(word));
    assert!(said.starts_with("1777 0\n") && said.ends_with("No space left on device"), "{said}");
    assert!(said.lines().nth(1).is_some_and(options), "{said}");
}

#[test]
fn masks_take_no_file_system_of_their_own_where_there_is_dev() {
    let script = "ls -A /proc/acpi /srv/secret; touch /srv/secret/x 2>/dev/null && echo wrote; \
                  ls -A /dev/pts; sed -n 's/.* \\(0:[0-9]*\\) .*/\\1/p' /proc/self/mountinfo | sort -u | wc -l";
    let said = |masked: &[&str]| {
        let mut made = shell(script);
        fs::create_dir(made.tree().join("srv/secret")).expect("dir");
        fs::write(made.tree().join("srv/secret/file"), "x").expect("file");
        made.spec.masked = masked.iter().map(|at| path(at)).collect();
        made.said()
    };
    let (masked, without) = (said(&["/proc/acpi", "/srv/secret"]), said(&[]));
    assert!(without.contains("file"), "{without}");
    assert!(!masked.contains("file") && !masked.contains("wrote") && masked.contains("ptmx"), "{masked}");
    let count = |said: &str| said.lines().last().map(str::to_owned);
    assert_eq!(count(&masked), count(&without));
}

#[test]
fn a_plain_tmpfs() {
    let made = shell("stat -c %a /srv; touch /srv/x && ls /srv").mount("/srv", tmpfs(false));
    assert_eq!(made.said(), "700\nx");
}

#[test]
fn a_seeded_tmpfs_looks_like_the_image() {
    let made = shell(
        "stat -c '%a %u:%g' /srv /srv/deep/file; readlink /srv/link; cat /srv/deep/file; echo changed > /srv/deep/file; \
         ls /srv/many | wc -l; test -p /srv/fifo && echo fifo",
    )
    .mount("/srv", tmpfs(true));
    let srv = made.tree().join("srv");
    fs::create_dir(srv.join("deep")).expect("dir");
    fs::write(srv.join("deep/file"), "content\n").expect("file");
    fs::set_permissions(srv.join("deep/file"), fs::Permissions::from_mode(0o640)).expect("mode");
    std::os::unix::fs::chown(srv.join("deep/file"), Some(33), Some(44)).expect("owner");
    fs::set_permissions(&srv, fs::Permissions::from_mode(0o1777)).expect("mode");
    symlink("/etc/nowhere", srv.join("link")).expect("link");
    rustix::fs::mknodat(rustix::fs::CWD, srv.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("fifo");
    fs::create_dir(srv.join("many")).expect("dir");
    for number in 0..3000 {
        fs::write(srv.join("many").join(number.to_string()), "x").expect("file");
    }
    assert_eq!(made.said(), "1777 0:0\n640 33:44\n/etc/nowhere\ncontent\n3000\nfifo");
    assert_eq!(fs::read_to_string(srv.join("deep/file")).expect("file"), "content\n");
}

#[test]
fn a_seed_that_does_not_fit_is_an_error() {
    let made =
        shell("true").mount("/srv", MountKind::Tmpfs { bytes: 4096, inodes: 64, seeded: true, mode: 0o755 });
    fs::write(made.tree().join("srv/big"), vec![1; 1 << 20]).expect("file");
    assert!(made.fails().chain().contains("/srv"), "{:?}", made.fails());
}

#[test]
fn bound_directories_and_files() {
    let outside = tempfile::tempdir().expect("dir");
    fs::write(outside.path().join("file"), "from outside\n").expect("file");
    let made = shell("cat /srv/file /run/new/one; echo more >> /srv/file; echo x >> /run/new/one || echo refused; touch /srv/made")
        .scratch()
        .bind("/srv", outside.path(), false)
        .bind("/run/new/one", &outside.path().join("file"), true);
    let said = made.said();
    assert!(said.starts_with("from outside\nfrom outside") && said.ends_with("refused"), "{said}");
    assert!(outside.path().join("made").exists());
    assert!(!made.tree().join("run/new").exists(), "the mount point was made in the layer");
}

#[test]
fn attack_19_read_only_binds_have_no_writable_holes() {
    let outside = tempfile::tempdir().expect("dir");
    let made = shell("touch /srv/x 2>/dev/null || touch /srv/hole/x 2>/dev/null || echo none").bind(
        "/srv",
        outside.path(),
        true,
    );
    fs::create_dir(outside.path().join("hole")).expect("dir");
    assert_eq!(made.said(), "none");
}

#[test]
fn a_missing_mount_point_in_a_read_only_root_is_an_error() {
    let error = shell("true").mount("/none/here", tmpfs(false)).fails();
    assert!(error.chain().contains("/none/here"), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("read-only")), "{error:?}");
}

#[test]
fn attack_4_mount_points_that_are_symlinks_stay_inside() {
    let outside = tempfile::tempdir().expect("dir");
    for target in [outside.path().to_owned(), "../../../../../../../../tmp".into()] {
        let made = shell("touch /link/x; ls /link /tmp").scratch().mount("/link", tmpfs(false));
        symlink(&target, made.tree().join("link")).expect("link");
        let _ = made.start().map(|(mut child, _)| child.wait());
        assert_eq!(fs::read_dir(outside.path()).expect("dir").count(), 0);
    }
    let dangling = shell("true").scratch().mount("/etc/link/x", tmpfs(false));
    symlink(outside.path().join("none"), dangling.tree().join("etc/link")).expect("link");
    dangling.fails();
    let magic = shell("true").mount("/etc/fd", tmpfs(false));
    symlink("/proc/self/fd/3", magic.tree().join("etc/fd")).expect("link");
    magic.fails();
    assert_eq!(fs::read_dir(outside.path()).expect("dir").count(), 0);
}

#[test]
fn attack_5_an_image_whose_proc_sys_or_dev_is_a_symlink_is_refused() {
    let outside = tempfile::tempdir().expect("dir");
    for name in ["proc", "sys", "dev"] {
        let made = shell("true");
        fs::remove_dir(made.tree().join(name)).expect("dir");
        symlink(outside.path(), made.tree().join(name)).expect("link");
        let error = made.fails();
        assert!(error.chain().contains("symbolic links"), "{error:?}");
    }
    assert_eq!(fs::read_dir(outside.path()).expect("dir").count(), 0);
}

#[test]
fn attack_31_masked_paths_show_nothing() {
    let mut made = shell(
        "ls -A /srv | wc -l; cat /etc/secret | wc -c; stat -c %t:%T /etc/secret; touch /srv/x || echo ro",
    );
    fs::write(made.tree().join("srv/file"), "x").expect("file");
    fs::write(made.tree().join("etc/secret"), "x").expect("file");
    made.spec.masked.extend([
        path("/srv"),
        path("/etc/secret"),
        path("/etc/none/at/all"),
        path("/etc/secret/below"),
    ]);
    let said = made.said();
    assert!(said.starts_with("0\n0\n1:3") && said.ends_with("ro"), "{said}");
}

#[test]
fn lesson_cve_2019_16884_nothing_is_masked_in_a_proc_or_sys_that_is_not_the_kernels() {
    for at in ["/proc", "/sys"] {
        let mut made = shell("true");
        made.spec.masked.push(path("/sys/firmware"));
        made.spec.mounts.retain(|mount| mount.at != path(at) && mount.at != path("/sys/fs/cgroup"));
        let error = made.fails();
        assert!(error.chain().contains("the kernel's own"), "{at}: {error:?}");
    }
}

#[test]
fn attack_4_nothing_is_mounted_over_the_kernels_files_by_any_way() {
    for target in ["/proc", "/proc/sys", "/sys/kernel"] {
        let made = shell("true").mount("/etc/link", tmpfs(true));
        symlink(target, made.tree().join("etc/link")).expect("link");
        let error = made.fails();
        assert!(error.chain().contains("the kernel's own"), "{target}: {error:?}");
    }
    shell("true").mount("/proc", tmpfs(false)).fails();
    shell("true").mount("/proc/acpi", tmpfs(false)).fails();
}

#[test]
fn read_only_paths_in_a_writable_root() {
    let mut made = shell("touch /srv/x 2>/dev/null || echo ro; touch /etc/x && echo rw").scratch();
    made.spec.read_only.push(path("/srv"));
    assert_eq!(made.said(), "ro\nrw");
}

#[test]
fn attack_7_the_working_directory_lies_inside() {
    let mut made = shell("pwd");
    made.spec.process.cwd = path("/srv");
    assert_eq!(made.said(), "/srv");
    for (link, target) in [("fd", "/proc/self/fd/3"), ("up", "/nowhere")] {
        let mut made = shell("pwd");
        symlink(target, made.tree().join("etc").join(link)).expect("link");
        made.spec.process.cwd = path(&format!("/etc/{link}"));
        made.fails();
    }
    let mut up = shell("pwd");
    symlink("../../../../../../srv", up.tree().join("etc/up")).expect("link");
    up.spec.process.cwd = path("/etc/up");
    assert_eq!(up.said(), "/srv");
}

#[test]
fn the_trees_own_attributes_are_untouched() {
    let made = container(&["true"]).scratch();
    let before = fs::metadata(made.tree()).expect("root");
    made.said();
    let after = fs::metadata(made.tree()).expect("root");
    assert_eq!((before.mtime_nsec(), before.mode()), (after.mtime_nsec(), after.mode()));
}

/// Its own mounts, a shared one at `at` among them, and everything gone with the thread.
fn with_shared_mount(at: &std::path::Path, run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::private_mounts::enter().expect("mounts of its own");
            let tmpfs =
                |at| rustix::mount::mount(c"x", at, c"tmpfs", rustix::mount::MountFlags::empty(), None);
            tmpfs(at).expect("tmpfs");
            rustix::mount::mount_change(at, rustix::mount::MountPropagationFlags::SHARED).expect("shared");
            run();
        });
        thread.join().expect("no panic");
    });
}

fn propagating(made: Box, source: &std::path::Path, propagation: Propagation) -> Box {
    let mut bind = Bind::of(source);
    bind.propagation = propagation;
    made.mount("/srv", MountKind::Bind(bind))
}

#[test]
fn later_mounts_of_the_host_are_seen_where_that_was_asked_for() {
    let outside = tempfile::tempdir().expect("dir");
    let script =
        "echo up; while ! test -e /etc/go; do sleep 0.02; done; test -e /srv/inner/late && echo seen; true";
    for (propagation, seen) in
        [(Propagation::Private, ""), (Propagation::Slave, "seen\n"), (Propagation::Shared, "seen\n")]
    {
        with_shared_mount(outside.path(), || {
            let inner = outside.path().join("inner");
            fs::create_dir(&inner).expect("dir");
            let made = propagating(shell(script), outside.path(), propagation);
            let (mut child, mut output) = made.start().expect("start");
            std::io::Read::read_exact(&mut output, &mut [0; 3]).expect("up");
            let none = rustix::mount::MountFlags::empty();
            rustix::mount::mount(c"x", &inner, c"tmpfs", none, None).expect("a later mount");
            fs::write(inner.join("late"), "").expect("file");
            fs::write(made.tree().join("etc/go"), "").expect("go");
            let mut said = String::new();
            std::io::Read::read_to_string(&mut output, &mut said).expect("output");
            assert_eq!(said, seen, "{propagation:?}");
            child.wait().expect("end");
        });
    }
}

#[test]
fn propagation_from_a_mount_that_is_not_shared_is_refused() {
    let outside = tempfile::tempdir().expect("dir");
    with_shared_mount(outside.path(), || {
        let change = rustix::mount::MountPropagationFlags::PRIVATE;
        rustix::mount::mount_change(outside.path(), change).expect("private again");
        let error = propagating(shell("true"), outside.path(), Propagation::Slave).fails();
        assert!(error.chain().contains("shared mount") && !error.hints().is_empty(), "{error:?}");
    });
}

#[test]
fn a_bind_without_what_is_mounted_below_it() {
    let outside = tempfile::tempdir().expect("dir");
    with_shared_mount(outside.path(), || {
        let inner = outside.path().join("inner");
        fs::create_dir(&inner).expect("dir");
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount(c"x", &inner, c"tmpfs", none, None).expect("a mount below");
        fs::write(inner.join("file"), "").expect("file");
        for (recursive, listed) in [(true, "file"), (false, "")] {
            let mut bind = Bind::of(outside.path());
            bind.recursive = recursive;
            assert_eq!(shell("ls /srv/inner").mount("/srv", MountKind::Bind(bind)).said(), listed);
        }
    });
}
