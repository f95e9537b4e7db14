//! Copying in and out of containers that run, do not run, and do not want it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use lifecycle::copy::{self, Choices, Copied, Spot, Tree};
use lifecycle::{Container, Exec};
use spec::{ErrorKind, Result};

use crate::harness::{World, relay, until};

fn at<'a>(tree: &'a Tree, path: impl AsRef<Path>) -> Spot<'a> {
    Spot { tree, path: path.as_ref().to_owned() }
}

fn put(container: &Container, from: &Path, to: &str) -> Result<Copied> {
    let (host, tree) = (Tree::host()?, container.tree()?);
    copy::copy(&at(&host, from), &at(&tree, to), Choices::default())
}

fn get(container: &Container, from: &str, to: &Path, choices: Choices) -> Result<Copied> {
    let (host, tree) = (Tree::host()?, container.tree()?);
    copy::copy(&at(&tree, from), &at(&host, to), choices)
}

fn sh(container: &Container, script: &str) -> String {
    let argv = ["sh", "-c", script].map(String::from).to_vec();
    relay(container.exec(Exec { argv, ..Exec::default() }).expect("exec")).0
}

/// A directory with a file of somebody's, a link, a second name, and one that is to be executed.
fn sample(world: &World) -> std::path::PathBuf {
    let dir = world.state().with_file_name("sample");
    fs::create_dir_all(dir.join("sub")).expect("dir");
    fs::write(dir.join("a"), "content\n").expect("a");
    std::os::unix::fs::chown(dir.join("a"), Some(1234), Some(4321)).expect("chown");
    fs::hard_link(dir.join("a"), dir.join("sub/b")).expect("b");
    symlink("/etc/passwd", dir.join("link")).expect("link");
    fs::write(dir.join("run"), "#!/bin/sh\necho ran\n").expect("run");
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o4750)).expect("mode");
    fs::set_permissions(dir.join("sub"), fs::Permissions::from_mode(0o700)).expect("mode");
    dir
}

#[test]
fn in_and_out_of_a_running_one_with_owners_modes_and_links() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let dir = sample(&world);
    let copied = put(&container, &dir, "/tmp").expect("in");
    assert_eq!(copied.skipped, 0);
    let seen = sh(&container, "cd /tmp/sample; busybox stat -c '%u:%g %a %h' a sub/b run sub; readlink link");
    assert_eq!(seen, "1234:4321 644 2\n1234:4321 644 2\n0:0 4750 1\n0:0 700 2\n/etc/passwd");
    let out = world.state().with_file_name("out");
    get(&container, "/tmp/sample", &out, Choices::default()).expect("out");
    let meta = |name: &str| fs::symlink_metadata(out.join(name)).expect("it came");
    assert_eq!((meta("a").uid(), meta("a").gid(), meta("a").ino()), (1234, 4321, meta("sub/b").ino()));
    assert_eq!(fs::read_link(out.join("link")).expect("link"), Path::new("/etc/passwd"));
    assert_eq!(meta("run").mode() & 0o7777, 0o750, "no set-id bit leaves a container unasked");
    let again = world.state().with_file_name("again");
    get(&container, "/tmp/sample", &again, Choices { archive: true, follow: false }).expect("out");
    assert_eq!(fs::metadata(again.join("run")).expect("run").mode() & 0o7777, 0o4750);
    // Into what is there, the content only, and over what is there.
    put(&container, &dir.join("."), "/tmp/sample/sub").expect("content");
    assert_eq!(sh(&container, "cat /tmp/sample/sub/a"), "content");
    fs::write(dir.join("a"), "other\n").expect("a");
    put(&container, &dir.join("a"), "/tmp/sample/a").expect("over");
    assert_eq!(sh(&container, "cat /tmp/sample/a"), "other");
}

#[test]
fn as_an_archive_and_back() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    put(&container, &sample(&world), "/tmp").expect("in");
    let tree = container.tree().expect("tree");
    let mut archive = Vec::new();
    copy::pack(&at(&tree, "/tmp/sample"), &mut archive, Choices::default()).expect("pack");
    assert_eq!(sh(&container, "mkdir /tmp/x 2>/dev/null || busybox mkdir /tmp/x"), "");
    copy::unpack(&mut archive.as_slice(), &at(&tree, "/tmp/x")).expect("unpack");
    let seen = sh(&container, "cd /tmp/x/sample; busybox stat -c '%u:%g %a %h' a sub/b sub; readlink link");
    assert_eq!(seen, "1234:4321 644 2\n1234:4321 644 2\n0:0 700 2\n/etc/passwd");
    assert!(copy::unpack(&mut &archive[..700], &at(&tree, "/tmp/x")).is_err(), "cut off");
}

#[test]
fn an_archive_does_not_lead_outside() {
    let world = World::new();
    let container = world.detached("web", "busybox mkdir /tmp/in; busybox ln -s / /tmp/in/up; sleep 1000");
    until("the link", || sh(&container, "test -h /tmp/in/up && echo yes") == "yes");
    let tree = container.tree().expect("tree");
    let unpack = |name: &str| {
        let mut header = tar_header(name, b"x");
        header.extend([0; 1024]);
        copy::unpack(&mut header.as_slice(), &at(&tree, "/tmp/in"))
    };
    assert_eq!(unpack("../../escape").expect_err("outside").kind(), ErrorKind::User);
    // Through a link it comes out at the container's own root, never at the host's.
    unpack("up/tmp/inside").expect("inside");
    assert_eq!(sh(&container, "cat /tmp/inside"), "x");
    assert!(!Path::new("/tmp/inside").exists());
}

/// One file of an archive, as ustar has it.
fn tar_header(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(1024, 0);
    block
}

/// The attack of 2018-15664: a component of the path is a link to the root one moment and a
/// directory the next.
#[test]
fn attack_17_a_container_that_swaps_components_gets_nothing_of_the_host() {
    let world = World::new();
    let secret = world.state().with_file_name("secret");
    fs::write(&secret, "of the host\n").expect("secret");
    let script = "cd /tmp; busybox mkdir -p real; echo inside > real/file; busybox ln -s / link; \
                  while :; do busybox mv -T real x 2>/dev/null; busybox mv -T link real; busybox mv -T real link; busybox mv -T x real; done";
    let container = world.detached("web", script);
    until("the swapping", || sh(&container, "test -h /tmp/link -o -h /tmp/real && echo yes") == "yes");
    let host = world.state().with_file_name("target");
    fs::create_dir_all(&host).expect("dir");
    let inside = format!("/tmp/real{}", secret.display());
    let mine = world.state().with_file_name("mine");
    fs::write(&mine, "placed\n").expect("mine");
    for _ in 0..300 {
        assert!(
            get(&container, &inside, &host.join("got"), Choices::default()).is_err(),
            "there is no such file in it"
        );
        // Both ways it stays in the container: in real, or at its own root, which is read-only.
        let _ = put(&container, &mine, "/tmp/real/placed");
    }
    assert!(!host.join("got").exists() && !Path::new("/placed").exists());
    assert!(!world.tree().join("placed").exists(), "the image is shared and never written");
}

#[test]
fn pipes_and_devices_hold_nothing_up() {
    let world = World::new();
    let container = world.detached("web", "busybox mkfifo /tmp/pipe; busybox mkdir /tmp/d; sleep 1000");
    until("the directory", || sh(&container, "test -d /tmp/d && echo yes") == "yes");
    let out = world.state().with_file_name("out");
    get(&container, "/tmp", &out, Choices::default()).expect("out");
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::symlink_metadata(out.join("pipe")).expect("pipe").file_type().is_fifo());
    let dev = world.state().with_file_name("dev");
    let copied = get(&container, "/dev", &dev, Choices::default()).expect("out");
    assert!(copied.skipped >= 5, "{copied:?}");
    let mine = world.state().with_file_name("mine");
    fs::write(&mine, "placed\n").expect("mine");
    put(&container, &mine, "/tmp/pipe").expect("in its place");
    assert_eq!(sh(&container, "cat /tmp/pipe"), "placed");
}

#[test]
fn what_is_read_only_says_so_and_what_is_writable_is_named() {
    let mut world = World::new();
    world.portable.volumes.insert("/data".parse().expect("path"));
    let container = world.detached("web", "sleep 1000");
    let mine = world.state().with_file_name("mine");
    fs::write(&mine, "mine\n").expect("mine");
    let error = put(&container, &mine, "/srv/x").expect_err("read-only");
    assert!(error.chain().contains("web:/srv") && error.hints()[0].contains("/data"), "{error:?}");
    assert!(error.hints()[0].contains("/tmp"), "{error:?}");
    assert_eq!(put(&container, &mine, "/tmp/none/").expect_err("missing").kind(), ErrorKind::NotFound);
    let out = world.state().with_file_name("out");
    let error = get(&container, "/none", &out, Choices::default()).expect_err("missing");
    assert!(error.kind() == ErrorKind::NotFound && error.chain().contains("web:/none"));
    container.stop(std::time::Duration::ZERO).expect("stop");
    // In threads of their own: each lays the root out in a mount namespace.
    let apart =
        |work: &(dyn Fn() + Sync)| std::thread::scope(|threads| threads.spawn(work).join().expect("done"));
    apart(&|| assert_eq!(put(&container, &mine, "/data/x").expect("a volume").entries, 1));
    assert_eq!(fs::read(world.containers.volumes(container.name()).join("data/x")).expect("x"), b"mine\n");
    apart(&|| {
        let error = put(&container, &mine, "/srv/x").expect_err("read-only");
        assert!(error.hints()[0].contains("/data") && !error.hints()[0].contains("/tmp"), "{error:?}");
    });
    apart(&|| {
        assert_eq!(
            get(&container, "/bin/busybox", &out, Choices::default()).expect("of the image").entries,
            1
        )
    });
    assert_eq!(
        fs::metadata(&out).expect("out").len(),
        fs::metadata(world.tree().join("bin/busybox")).expect("b").len()
    );
    apart(&|| {
        assert_eq!(get(&container, "/data/x", &out, Choices::default()).expect("of the volume").entries, 1)
    });
    assert_eq!(fs::read(&out).expect("out"), b"mine\n");
    assert!(
        !world.tree().join("srv/x").exists()
            && fs::read_dir(world.tree().join("data")).expect("data").count() == 0
    );
}
