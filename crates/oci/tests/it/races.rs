//! Attacks 13 to 19: somebody changes the image or a shared volume while the container is made.
//! Whatever comes of it - it is refused, or it runs - nothing of the host is made, shown or covered.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::harness::{Ground, rounds};

/// Exchanges two names again and again.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn new(one: &Path, other: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, one, other) = (Arc::clone(&stop), one.to_owned(), other.to_owned());
        let swap = move || renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("an exchange");
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // Twice, so that at the end everything is where it was.
                swap();
                swap();
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// From now on everything is where it was.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("swapper");
        }
    }
}

/// A bundle, and a place on the host that nothing may come of.
struct Race {
    ground: Ground,
    outside: PathBuf,
}

impl Race {
    fn new() -> Self {
        let ground = Ground::new();
        let outside = ground.at("outside");
        fs::create_dir(&outside).expect("dir");
        fs::write(outside.join("kept"), "kept").expect("file");
        Self { ground, outside }
    }

    fn root(&self, path: &str) -> PathBuf {
        self.ground.at("bundle/rootfs").join(path)
    }

    /// Two names to exchange: a directory (or what is there already) and a link to `target`.
    fn pair(&self, at: &str, target: &Path) -> [PathBuf; 2] {
        let (one, other) = (self.root(at), self.root(&format!("{at}.link")));
        if !one.exists() {
            fs::create_dir_all(&one).expect("dir");
        }
        symlink(target, &other).expect("link");
        [one, other]
    }

    /// Makes the container while the names are exchanged, and starts it when they are back in their
    /// places. What it has said is looked at where it was made.
    fn run(&self, config: &Value, [one, other]: &[PathBuf; 2], mut look: impl FnMut(&str)) {
        let ground = &self.ground;
        let id = ground.write(config).id();
        let (mut made, mut refused) = (0, 0);
        let all = rounds(40);
        for _ in 0..all {
            let _ = fs::remove_file(ground.at("out"));
            let swapper = Swapper::new(one, other);
            let created = ground.detached(&["create", &id]);
            swapper.end();
            if created.code == 0 {
                made += 1;
                ground.call(&["start", &id]).well();
                ground.until("its end", || ground.status(&id) == "stopped");
                look(&ground.output());
            } else {
                refused += 1;
                assert!(
                    created.error.starts_with("error: ") && !created.error.contains("panicked"),
                    "{created:?}"
                );
            }
            ground.call(&["delete", "--force", &id]).well();
            self.untouched();
        }
        println!("{made} were made, {refused} refused");
        assert_eq!(made + refused, all);
        ground.clean();
    }

    /// The host's place is as it was, and nothing is mounted there.
    #[track_caller]
    fn untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.outside).expect("dir").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["kept"]);
        assert_eq!(fs::read_to_string(self.outside.join("kept")).expect("file"), "kept");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(self.outside.to_str().expect("text")), "{mounts}");
        fs::write(self.outside.join("kept"), "kept").expect("it can be written to");
    }
}

fn writable(script: &str) -> Value {
    let mut config = Ground::config(script);
    config["root"]["readonly"] = json!(false);
    config
}

fn add(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().expect("list").push(mount);
}

fn tmpfs(at: &str) -> Value {
    json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"] })
}

/// 2021-30465 and 2024-45310: neither is anything mounted outside, nor are places to mount at made there.
#[test]
fn attack_13_mount_destination_swapped_during_setup() {
    let race = Race::new();
    let pair = race.pair("srv/x", &race.outside);
    let mut config = writable("grep -c ' /srv/x' /proc/self/mountinfo");
    let source = race.ground.at("source");
    fs::create_dir(&source).expect("dir");
    add(&mut config, tmpfs("/srv/x/made/deep"));
    add(
        &mut config,
        json!({ "destination": "/srv/x/bound", "type": "bind", "source": source, "options": ["rbind"] }),
    );
    race.run(&config, &pair, |said| {
        // Those that met the link are elsewhere in its own root, never on the host.
        assert!(said.parse::<u32>().is_ok_and(|count| count <= 2), "{said}");
    });
}

/// 2019-19921, 2023-27561, 2023-28642: /proc of the image leads into a volume with files of somebody else.
#[test]
fn attack_14_shared_volume_race_on_masked_paths() {
    let race = Race::new();
    let volume = race.ground.at("volume");
    fs::create_dir(&volume).expect("dir");
    for fake in ["kcore", "timer_list", "keys"] {
        fs::write(volume.join(fake), "fake").expect("file");
    }
    fs::create_dir(race.root("vol")).expect("dir");
    let pair = race.pair("proc", Path::new("/vol"));
    let script =
        "stat -f -c %t /proc; head -c 1 /proc/kcore | wc -c; cat /proc/timer_list /proc/keys | wc -c";
    let mut config = writable(script);
    config["mounts"]
        .as_array_mut()
        .expect("list")
        .insert(0, json!({ "destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"] }));
    // Images of all kinds; in the volume too.
    config["linux"]["maskedPaths"].as_array_mut().expect("list").push(json!("/vol/secret"));
    fs::write(volume.join("secret"), "secret").expect("file");
    race.run(&config, &pair, |said| assert_eq!(said, "9fa0\n0\n0"));
    assert_eq!(fs::read_to_string(volume.join("kcore")).expect("file"), "fake");
    // And a masked path in the volume itself that leads to the host.
    let race = Race::new();
    fs::create_dir(race.root("vol")).expect("dir");
    let volume = race.ground.at("volume");
    fs::create_dir_all(volume.join("place")).expect("dir");
    symlink(&race.outside, volume.join("link")).expect("link");
    let mut config = writable("echo it ran");
    add(
        &mut config,
        json!({ "destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"] }),
    );
    let masked = config["linux"]["maskedPaths"].as_array_mut().expect("list");
    masked.extend([json!("/vol/place"), json!("/vol/place/kept")]);
    race.run(&config, &[volume.join("place"), volume.join("link")], |said| assert_eq!(said, "it ran"));
}

#[test]
fn attack_15_read_only_paths_swapped_during_setup() {
    let race = Race::new();
    let pair = race.pair("srv/x", &race.outside);
    let mut config = writable(
        "echo x 2>/dev/null > /proc/sys/kernel/hostname || echo refused; echo x > /srv/free && cat /srv/free",
    );
    let paths = config["linux"]["readonlyPaths"].as_array_mut().expect("list");
    paths.extend([json!("/srv/x"), json!("/srv/x/kept")]);
    race.run(&config, &pair, |said| assert_eq!(said, "refused\nx"));
    // The directory of /proc itself.
    let race = Race::new();
    fs::create_dir_all(race.root("fake/sys/kernel")).expect("dir");
    let pair = race.pair("proc", Path::new("/fake"));
    let config = writable("echo x 2>/dev/null > /proc/sys/kernel/hostname || echo refused");
    race.run(&config, &pair, |said| assert_eq!(said, "refused"));
}

/// 2025-52565, 2026-41579: /dev/console, /dev/pts and /dev itself of the image lead to the host.
#[test]
fn attack_16_dev_console_and_pts_swapped_during_setup() {
    for (name, target) in [("dev/console", "kept"), ("dev/pts", ""), ("dev", "")] {
        let race = Race::new();
        let target = race.outside.join(target);
        if name == "dev/console" {
            fs::write(race.root(name), "").expect("file");
        }
        let [one, other] = race.pair(name, &target);
        let mut config = writable("echo it ran");
        config["process"]["terminal"] = json!(true);
        if name != "dev" {
            // Made in the image's own directory.
            config["mounts"].as_array_mut().expect("list").retain(|mount| {
                mount["destination"]
                    .as_str()
                    .is_some_and(|at| at == "/dev/pts" && name == "dev/pts" || !at.starts_with("/dev"))
            });
        }
        race.ground.write(&config);
        for _ in 0..rounds(20) {
            let swapper = Swapper::new(&one, &other);
            let said = race.ground.run();
            swapper.end();
            assert!(
                said.code == 0 && said.out.contains("it ran") || said.error.starts_with("error: "),
                "{said:?}"
            );
            race.ground.call(&["delete", "--force", &race.ground.id()]).well();
            race.untouched();
        }
        race.ground.clean();
    }
}

/// A bind whose source is exchanged for a link: what is shown is one or the other, never something
/// that is mounted in the wrong place; the host's mounts stay.
#[test]
fn attack_13_bind_source_swapped_during_setup() {
    let race = Race::new();
    let (source, link) = (race.ground.at("source"), race.ground.at("source.link"));
    fs::create_dir(&source).expect("dir");
    fs::write(source.join("kept"), "mine").expect("file");
    symlink(&race.outside, &link).expect("link");
    let mut config = writable("cat /srv/in/kept; echo x 2>/dev/null > /srv/in/kept || echo refused");
    add(
        &mut config,
        json!({ "destination": "/srv/in", "type": "bind", "source": source, "options": ["rbind", "ro"] }),
    );
    race.run(&config, &[source.clone(), link], |said| {
        assert!(["minerefused", "keptrefused"].contains(&said), "{said}");
    });
}

/// Runs a script in a mount namespace of its own whose mounts are all shared with each other.
fn shared(ground: &Ground, script: &str) -> String {
    let program = ground.command(&[]).get_program().to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "--propagation", "private", "sh", "-ec"]);
    unshare.arg(format!(
        "T=\"$TSUBO --root $STATE\"; mount -t tmpfs own $PLACE; mount --make-rshared /; {script}"
    ));
    fs::create_dir_all(ground.at("place")).expect("dir");
    unshare.env("TSUBO", program).env("STATE", ground.at("state")).env("PLACE", ground.at("place"));
    unshare.env("ID", ground.id()).env("BUNDLE", ground.bundle());
    let output = unshare.current_dir(ground.bundle()).output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Whatever the container's mounts are told to do, its own do not appear on the host.
#[test]
fn attack_18_rshared_propagation_back_to_the_host() {
    let ground = Ground::new();
    for (propagation, bind) in [
        ("", "rbind"),
        ("rshared", "rbind"),
        ("shared", "rbind"),
        ("rshared", "rslave"),
        ("rslave", "rprivate"),
    ] {
        let mut config = writable("mount -t tmpfs inner /srv/in/below && echo mounted; exec sleep 100");
        let all = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] = json!({ "bounding": all, "permitted": all, "effective": all });
        if !propagation.is_empty() {
            config["linux"]["rootfsPropagation"] = json!(propagation);
        }
        let options = if bind == "rbind" { json!(["rbind", "rprivate"]) } else { json!(["rbind", bind]) };
        add(
            &mut config,
            json!({ "destination": "/srv/in", "type": "bind", "source": ground.at("place"), "options": options }),
        );
        ground.write(&config);
        let script = "mkdir $PLACE/below; grep -v own /proc/self/mountinfo | wc -l; $T run -d $ID >$PLACE/out 2>&1 </dev/null
            for i in $(seq 200); do grep -q mounted $PLACE/out && break; sleep 0.01; done; cat $PLACE/out
            grep -v own /proc/self/mountinfo | wc -l; $T delete -f $ID; grep -v own /proc/self/mountinfo | wc -l";
        let said = shared(&ground, script);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{propagation} {bind}: {said}");
        assert!(
            lines[1] == "mounted" && lines[0] == lines[2] && lines[0] == lines[3],
            "{propagation} {bind}: {said}"
        );
        ground.clean();
    }
}

/// What is read-only stays so, below it too, and whoever is not the host's root cannot change that.
#[test]
fn attack_19_read_only_bind_made_writable_and_holes_below_it() {
    let ground = Ground::new();
    let try_all = "for at in /srv/in /srv/in/below; do echo x 2>/dev/null > $at/file && echo hole at $at
        mount -o remount,bind,rw $at 2>/dev/null && echo x 2>/dev/null > $at/file && echo remounted $at
        mount -o remount,rw $at 2>/dev/null && echo x 2>/dev/null > $at/file && echo remounted all $at; done
        umount /srv/in/below 2>/dev/null && echo unmounted; umount -l /srv/in 2>/dev/null && echo gone; echo tried";
    // Who administers a user namespace of his own owns the mounts that were made in it, with every runtime.
    let all = spec::container::CAPABILITY_NAMES.iter().filter(|name| **name != "SYS_ADMIN");
    let all: Vec<_> = all.map(|name| format!("CAP_{name}")).collect();
    let map = json!([{ "containerID": 0, "hostID": 0x7fdc_0000_u32, "size": 65_536 }]);
    for users in [false, true] {
        let mut config = writable(try_all);
        if users {
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map.clone();
            config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
            config["process"]["capabilities"] =
                json!({ "bounding": all, "permitted": all, "effective": all });
        }
        add(
            &mut config,
            json!({ "destination": "/srv/in", "type": "bind", "source": ground.at("place"), "options": ["rbind", "rro"] }),
        );
        ground.write(&config);
        let script = "mkdir $PLACE/below; mount -t tmpfs below $PLACE/below; chmod 777 $PLACE $PLACE/below; $T run $ID </dev/null";
        assert_eq!(shared(&ground, script), "tried\n", "users of its own: {users}");
        ground.clean();
    }
}
