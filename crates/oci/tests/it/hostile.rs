//! Lessons of others: images and callers that mean ill, and a death at the wrong moment.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::harness::Ground;

/// 2019-5736: the program is executed through /proc/self/exe and then written to.
#[test]
fn attack_20_the_runtime_cannot_be_overwritten_from_inside() {
    let ground = Ground::new();
    // A copy: should it be overwritten, it is not the one that all tests use.
    let program = ground.at("tsubo-oci");
    fs::copy(env!("CARGO_BIN_EXE_tsubo-oci"), &program).expect("a copy");
    let before = fs::read(&program).expect("program");
    let script = "#!/proc/self/exe\n";
    fs::write(ground.at("bundle/rootfs/bin/evil"), script).expect("script");
    fs::set_permissions(ground.at("bundle/rootfs/bin/evil"), fs::Permissions::from_mode(0o755))
        .expect("mode");
    let mut config = Ground::config(
        "cat /proc/1/comm; for p in 1 $$; do for i in $(seq 200); do echo x 2>/dev/null > /proc/$p/exe && echo WROTE; done; done; sleep 5",
    );
    let all = json!(["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    config["process"]["capabilities"] = json!({ "bounding": all, "permitted": all, "effective": all });
    ground.write(&config);
    let call = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("--root").arg(ground.at("state")).args(words).current_dir(ground.bundle());
        command.stdin(std::process::Stdio::null());
        command
    };
    let id = ground.id();
    let out = fs::File::create(ground.at("out")).expect("file");
    let mut run = call(&["run", &id]).stdout(out).spawn().expect("run");
    ground.until("it runs", || !ground.output().is_empty());
    for _ in 0..20 {
        call(&["exec", &id, "/bin/evil"]).output().expect("exec");
        call(&["exec", &id, "/proc/self/exe", "--version"]).output().expect("exec");
    }
    run.wait().expect("the end");
    assert!(!ground.output().contains("WROTE"), "{}", ground.output());
    assert!(fs::read(&program).expect("program") == before, "it was overwritten");
    ground.clean();
}

/// 2024-21626: a working directory that is a descriptor of the host's.
#[test]
fn attack_7_no_working_directory_outside() {
    let ground = Ground::new();
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8/../..", "/proc/1/root/.."] {
        let mut config = Ground::config("pwd; ls; ls -d bundle state ../bundle 2>/dev/null");
        config["process"]["cwd"] = json!(cwd);
        let said = ground.write(&config).run();
        assert!(said.code != 0 || !said.out.contains("bundle"), "{cwd}: {said:?}");
    }
    symlink("/proc/self/fd/7", ground.at("bundle/rootfs/link")).expect("link");
    let mut config = Ground::config("ls");
    config["process"]["cwd"] = json!("/link");
    let said = ground.write(&config).run();
    assert!(said.code != 0, "{said:?}");
    ground.clean();
}

/// 2021-30465, 2019-19921, 2025-31133 and their like: places that are symlinks.
#[test]
fn attack_5_proc_sys_and_dev_as_symlinks() {
    let ground = Ground::new();
    let outside = ground.at("outside");
    fs::create_dir(&outside).expect("dir");
    for place in ["proc", "sys", "dev"] {
        let path = ground.at("bundle/rootfs").join(place);
        fs::remove_dir(&path).expect("dir");
        symlink(&outside, &path).expect("link");
        let said = ground.script("true").run();
        assert!(said.code != 0, "{place}: {said:?}");
        assert_eq!(fs::read_dir(&outside).expect("dir").count(), 0, "{place}");
        fs::remove_file(&path).expect("link");
        fs::create_dir(&path).expect("dir");
    }
    ground.clean();
}

/// 2022-29162 and its like.
#[test]
fn attack_8_no_inheritable_capabilities_unless_they_are_asked_for() {
    let ground = Ground::new();
    let id = ground.script("grep CapInh /proc/self/status; exec sleep 100").start();
    ground.until("its word", || !ground.output().is_empty());
    assert_eq!(ground.output(), "CapInh:\t0000000000000000");
    let said = ground.call(&["exec", "--cap", "CAP_SYS_CHROOT", &id, "grep", "CapInh", "/proc/self/status"]);
    assert_eq!(said.well(), "CapInh:\t0000000000000000");
    ground.call(&["delete", "-f", &id]).well();
}

#[test]
fn attack_2_bundles_that_are_none() {
    let ground = Ground::new();
    let path = ground.at("bundle/config.json");
    ground.run().failed("config.json");
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"ociVersion\":\"2.0.0\"}",
        "\0",
        "{\"ociVersion\":\"1.0.0\",\"ociVersion\":\"1.0.0\"}",
    ] {
        fs::write(&path, text).expect("file");
        assert_eq!(ground.run().code, 1, "{text:?}");
    }
    fs::remove_file(&path).expect("file");
    // Nobody writes there: it must not be waited for.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).expect("pipe");
    ground.run().failed("no file of at most");
    ground.clean();
}

/// What a bundle says wrongly is refused before anything is made, in words that name the place.
#[test]
fn attacks_1_and_3_and_4_and_7_to_12_hostile_bundles_are_refused_and_leave_nothing() {
    let ground = Ground::new();
    let mount =
        |at: &str| json!({ "destination": at, "type": "bind", "source": "/tmp", "options": ["rbind"] });
    let range =
        |inside: u64, host: u64, size: u64| json!({ "containerID": inside, "hostID": host, "size": size });
    let mut wrong = vec![
        ("/root/path", json!("../../..")),
        ("/root/path", json!("")),
        ("/process/cwd", json!("srv")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!(4_294_967_295_u64)),
        ("/process/user/gid", json!(4_294_967_296_u64)),
        ("/process/capabilities/effective", json!(["CAP_SYS_ADMIN"])),
        ("/process/capabilities/inheritable", json!(["CAP_SYS_ADMIN"])),
        ("/process/args", json!([])),
        ("/process/env", json!(["A=\0"])),
        ("/linux/uidMappings", json!([range(0, 1000, 10), range(5, 2000, 10)])),
        ("/linux/uidMappings", (0..10_000).map(|id| range(id, id, 1)).collect()),
        ("/linux/namespaces/0/type", json!("dream")),
        ("/linux/cgroupsPath", json!("/../../escape")),
        ("/linux/maskedPaths", json!([format!("/{}", "x".repeat(4096))])),
        ("/hooks", json!({ "prestart": [{ "path": "bin/sh" }] })),
        ("/hooks", json!({ "prestart": [{ "path": "/bin/sh", "timeout": -1 }] })),
    ];
    for (name, value) in [
        ("kernel.core_pattern", "|/bin/sh"),
        ("net/../kernel/core_pattern", "x"),
        ("net.core.somaxconn", "1\n2"),
        ("kernel.shmmax", "1+kernel.core_pattern=|/tmp/evil"),
    ] {
        wrong.push(("/linux/sysctl", json!({ name: value })));
    }
    for place in ["/proc/self/fd/7", "/proc/sys/kernel", "/proc/../proc/1", "/", "/sys/../proc/sysrq-trigger"]
    {
        wrong.push(("/mounts", json!([mount("/proc"), mount(place)])));
    }
    for (pointer, value) in wrong {
        let mut config = Ground::config("true");
        match config.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
                config.pointer_mut(parent).expect(parent)[name] = value.clone();
            }
        }
        for verb in ["create", "run"] {
            let said = ground.write(&config).call(&[verb, &ground.id()]);
            assert!(said.code == 1 && said.error.starts_with("error: "), "{pointer} {value}: {said:?}");
            ground.clean();
        }
    }
    let mut long = Ground::config("true").to_string();
    long.push_str(&" ".repeat(100 << 20));
    for text in [long, format!("{{\"annotations\":{}", "{\"a\":".repeat(100_000))] {
        fs::write(ground.at("bundle/config.json"), text).expect("file");
        assert_eq!(ground.run().code, 1);
    }
    // A mount through a link of the image, also one that leads nowhere, is made inside.
    let outside = ground.at("outside");
    fs::create_dir(&outside).expect("dir");
    for target in [outside.clone(), outside.join("missing"), "../../../../../tmp".into()] {
        let link = ground.at("bundle/rootfs/srv/link");
        symlink(&target, &link).expect("link");
        let mut config = Ground::config("true");
        config["root"]["readonly"] = json!(false);
        let place =
            json!({ "destination": "/srv/link/in", "type": "tmpfs", "source": "tmpfs", "options": [] });
        config["mounts"].as_array_mut().expect("list").push(place);
        ground.write(&config).run();
        assert_eq!(fs::read_dir(&outside).expect("dir").count(), 0, "{}", target.display());
        fs::remove_file(link).expect("link");
    }
    ground.clean();
}

/// 2025-31133, 2025-52565: what hides files is the kernel's null, whatever the image calls so.
#[test]
fn attack_6_a_null_and_a_terminal_multiplexer_of_the_image() {
    let ground = Ground::new();
    let root = ground.at("bundle/rootfs");
    let outside = ground.at("outside");
    fs::write(&outside, "kept").expect("file");
    for (name, is_link) in [("dev/null", false), ("dev/null", true), ("dev/ptmx", true)] {
        let place = root.join(name);
        if is_link {
            symlink(&outside, &place).expect("link");
        } else {
            fs::write(&place, "fake").expect("file");
        }
        // With a /dev of its own over the image's, and in the image's.
        for keeps in [true, false] {
            let mut config = Ground::config("wc -c < /proc/timer_list; stat -c %t:%T /dev/null");
            config["root"]["readonly"] = json!(false);
            if !keeps {
                let in_dev = |mount: &serde_json::Value| {
                    mount["destination"].as_str().is_some_and(|at| at.starts_with("/dev"))
                };
                config["mounts"].as_array_mut().expect("list").retain(|mount| !in_dev(mount));
            }
            let said = ground.write(&config).run();
            assert!(said.code != 0 || said.out == "0\n1:3", "{name}, its own /dev: {keeps}: {said:?}");
            assert_eq!(fs::read_to_string(&outside).expect("file"), "kept");
        }
        let _ = fs::remove_file(place);
    }
    ground.clean();
}
