//! How `criu` is called. A stand-in does what criu would: the real one wants a kernel that it knows,
//! as the guest's is (see `guest.rs`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Ground, Said};

/// Tells its words and descriptors; `dump` ends the process as criu does, `restore` makes another.
const STAND_IN: &str = r#"#!/bin/busybox sh
[ "$1" = --version ] && { echo Version: 3.17.1; exit; }
verb=$1
echo "$@" >>GROUND/calls
busybox ls -l /proc/$$/fd >GROUND/fds
while [ $# -gt 0 ]; do
    case $1 in
        --tree) tree=$2 ;;
        --pidfile) pidfile=$2 ;;
        --root) root=$2 ;;
        --work-dir) work=$2 ;;
        --log-file) log=$2 ;;
        --leave-running | --track-mem) stays=1 ;;
    esac
    shift
done
[ -e GROUND/fails ] && { busybox cat GROUND/fails >"$work/$log"; exit 1; }
if [ "$verb" = restore ]; then
    busybox grep -q " $root " /proc/self/mountinfo || exit 1
    busybox sleep 100 </dev/null >/dev/null 2>&1 &
    echo $! >"$pidfile"
elif [ -z "$stays" ]; then
    kill -9 "$tree"
fi
"#;

struct Stand {
    ground: Ground,
}

impl Stand {
    fn new() -> Self {
        let ground = Ground::new();
        let programs = ground.at("programs");
        fs::create_dir(&programs).expect("dir");
        let script = STAND_IN.replace("GROUND", ground.at("").to_str().expect("text"));
        fs::write(programs.join("criu"), script).expect("script");
        fs::set_permissions(programs.join("criu"), fs::Permissions::from_mode(0o755)).expect("mode");
        std::os::unix::fs::symlink("/bin/busybox", programs.join("busybox")).expect("busybox");
        Self { ground }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.ground.command(words);
        command.env("PATH", self.ground.at("programs"));
        command
    }

    fn call(&self, words: &[&str]) -> Said {
        self.command(words).output().expect("tsubo-oci").into()
    }

    /// What it was called with last.
    #[track_caller]
    fn called(&self, wanted: &[&str]) {
        let calls = fs::read_to_string(self.ground.at("calls")).expect("calls");
        let last = calls.lines().last().expect("a call");
        for words in wanted {
            assert!(format!("{last} ").contains(&format!("{words} ")), "{words}: {last}");
        }
    }
}

#[test]
fn a_container_is_written_as_engines_ask_for_it_and_goes_on() {
    let stand = Stand::new();
    let ground = &stand.ground;
    let volume = ground.at("volume");
    fs::create_dir(&volume).expect("dir");
    let mut config = Ground::config("exec sleep 100");
    let bind = json!({ "destination": "/srv", "type": "bind", "source": volume, "options": ["bind"] });
    config["mounts"].as_array_mut().expect("mounts").push(bind);
    let id = ground.write(&config).start();
    let images = ground.at("images");
    let images = images.to_str().expect("text");
    let work = ground.at("work");
    let work = work.to_str().expect("text");
    // As containerd does, and Podman.
    let engines = ["--image-path", images, "--work-path", work];
    let options =
        ["--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks", "--empty-ns", "network"];
    let pid = ground.pid(&id).to_string();
    stand.call(&[&["checkpoint"], &engines[..], &["--pre-dump", &id]].concat()).well();
    stand.called(&["pre-dump", "--track-mem", &format!("--tree {pid}")]);
    stand
        .call(
            &[
                &["checkpoint"],
                &engines[..],
                &options,
                &["--parent-path", "../before", "--leave-running", &id],
            ]
            .concat(),
        )
        .well();
    let (images_dir, work_dir) = (format!("--images-dir {images}"), format!("--work-dir {work}"));
    let own = "--external mnt[/srv]:/srv";
    let root = format!("--root {}", ground.at("bundle/rootfs").display());
    let common = [
        "--log-file dump.log",
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--empty-ns net",
        "--manage-cgroups=soft",
        "--prev-images-dir ../before",
        "--external mnt[/proc/keys]:/dev/null",
        "--leave-running",
    ];
    stand.called(&[&[&*images_dir, &work_dir, own, &root][..], &common].concat());
    assert_eq!(ground.status(&id), "running");
    let names: Vec<String> =
        serde_json::from_slice(&fs::read(ground.at("images/descriptors.json")).expect("names"))
            .expect("JSON");
    // Its standard input and files are of outside.
    assert!(names.len() == 3 && names.iter().all(|name| name.starts_with("file[")), "{names:?}");
    stand.called(&[&format!("--external {}", names[0]), &format!("--external {}", names[1])]);
    stand.call(&[&["checkpoint"], &engines[..], &[&id]].concat()).well();
    // It has ended, and nothing is left of it.
    ground.call(&["state", &id]).failed("container does not exist");
    restores(&stand, &id, &engines, &names);
    ground.clean();
}

fn restores(stand: &Stand, id: &str, engines: &[&str], names: &[String]) {
    let ground = &stand.ground;
    let pid_file = ground.at("pid");
    let pid_file = pid_file.to_str().expect("text");
    let rest = ["--detach", "--pid-file", pid_file, "--no-subreaper", "--tcp-established", id];
    let out = fs::File::options().append(true).open(ground.at("out")).expect("a file");
    let words = [&["restore"], engines, &rest].concat();
    let status = stand.command(&words).stdout(out).stderr(Stdio::null()).status().expect("tsubo-oci");
    assert!(status.success());
    let source = format!("--external mnt[/srv]:{}", ground.at("volume").display());
    stand.called(&[
        "restore",
        "--tcp-established",
        "--restore-detached",
        "--restore-sibling",
        &source,
        "--external mnt[/dev/null]:/dev/null",
    ]);
    // Where its output went goes that of who restores it.
    let calls = fs::read_to_string(ground.at("calls")).expect("calls");
    let end = format!("]:{}", names[1]);
    let inherited = calls.lines().last().and_then(|line| line.split(' ').find(|word| word.ends_with(&end)));
    let number =
        inherited.and_then(|word| word.strip_prefix("fd[")?.split(']').next()).expect("a descriptor");
    let open = fs::read_to_string(ground.at("fds")).expect("descriptors");
    assert!(open.contains(&format!(" {number} -> {}", ground.at("out").display())), "{number}: {open}");
    assert_eq!(ground.status(id), "running");
    assert_eq!(fs::read_to_string(pid_file).expect("a number"), ground.pid(id).to_string());
    ground.call(&["delete", "-f", id]).well();
}

#[test]
fn a_failure_of_criu_is_told_and_changes_nothing() {
    let stand = Stand::new();
    let ground = &stand.ground;
    let id = ground.script("exec sleep 100").start();
    let log = "(00.1) noise\n(00.2) Error (criu/mount.c:1): mnt: no root\n(00.3) Error (criu/cr-dump.c:2): Dumping FAILED.\n";
    fs::write(ground.at("fails"), log).expect("a log");
    let said = stand.call(&["checkpoint", "--image-path", "images", &id]);
    for words in ["mnt: no root", "Dumping FAILED", "images/dump.log tells all"] {
        assert!(said.error.contains(words), "{words}: {said:?}");
    }
    assert_ne!(said.code, 0);
    assert_eq!(ground.status(&id), "running");
    let other = format!("{id}-2");
    stand.call(&["restore", "--detach", "--image-path", "images", &other]).failed("Dumping FAILED");
    ground.call(&["state", &other]).failed("container does not exist");
    stand.call(&["checkpoint", "--empty-ns", "mount", &id]).failed("there is network only");
    ground.call(&["delete", "-f", &id]).well();
    ground.clean();
}

#[test]
fn what_criu_cannot_have_is_refused_before_it_is_called() {
    let stand = Stand::new();
    let ground = &stand.ground;
    let mut config = Ground::config("exec sleep 100");
    config.as_object_mut().expect("fields").remove("hostname");
    let other = Command::new("unshare").args(["--uts", "sleep", "100"]).spawn();
    let mut other = other.expect("unshare");
    let space = format!("/proc/{}/ns/uts", other.id());
    let own = fs::read_link("/proc/self/ns/uts").expect("ours");
    ground.until("another namespace", || fs::read_link(&space).is_ok_and(|theirs| theirs != own));
    let spaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    spaces.iter_mut().find(|space| space["type"] == "uts").expect("uts")["path"] = json!(space);
    let id = ground.write(&config).start();
    stand.call(&["checkpoint", &id]).failed("joins the uts namespace of others");
    assert!(!ground.at("calls").exists());
    ground.call(&["delete", "-f", &id]).well();
    other.kill().and_then(|()| other.wait()).expect("the end");
    ground.clean();
}
