//! Podman, with groups made by `cgroupfs`.

use std::path::Path;

use crate::house::House;
use crate::image;
use crate::like_docker::{self as like, Engine};

const PROGRAM: &str = "/usr/bin/podman";

fn podman() -> Option<Engine> {
    let house = House::for_programs(&[PROGRAM, "/usr/bin/conmon"])?;
    let at = |name: &str| house.at(name);
    let runtime = env!("CARGO_BIN_EXE_tsubo-oci");
    let (root, runroot, tmpdir, networks) = (at("store"), at("runroot"), at("tmp"), at("networks"));
    let words = [
        PROGRAM,
        "--root",
        &root,
        "--runroot",
        &runroot,
        "--tmpdir",
        &tmpdir,
        "--network-config-dir",
        &networks,
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
        "--runtime",
        runtime,
    ];
    let parent = format!("--cgroup-parent=/{}", house.name);
    // Without CAP_SYS_RESOURCE limits cannot be raised, which podman would.
    let run = ["--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", &parent];
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let (words, run) = (own(&words), own(&run));
    let engine = Engine { house, words, run, podman: true };
    image::tar(Path::new(&engine.house.at("image")), Path::new(&engine.house.at("image.tar")));
    engine.call(&["import", "-q", &engine.house.at("image.tar"), "box"]).well();
    Some(engine)
}

/// Each is another test, as each takes seconds.
macro_rules! with_podman {
    ($($test:ident => $what:path;)*) => {$(
        #[test]
        fn $test() {
            if let Some(engine) = podman() {
                $what(&engine);
            }
        }
    )*};
}

with_podman! {
    podman_runs => like::runs;
    podman_executes => like::executes;
    podman_limits => like::limits;
    podman_ends_and_restarts => like::ends_and_restarts;
    podman_has_files => like::files;
    podman_confines => like::confines;
    podman_has_stacks => like::stack;
    podman_asks_how_it_is => health;
    podman_pods => pod;
    podman_maps_users => users;
}

fn health(podman: &Engine) {
    // Podman leaves the clock to systemd.
    let test = ["--health-cmd", "test -e /tmp/well", "--health-retries", "1", "--health-interval", "disable"];
    podman.start("sick", &test, "sleep 100");
    podman.call(&["healthcheck", "run", "sick"]).ended(1);
    podman.call(&["exec", "sick", "touch", "/tmp/well"]).well();
    podman.call(&["healthcheck", "run", "sick"]).well();
    podman.inspect("sick", ".State.Health.Status", "healthy");
}

fn pod(podman: &Engine) {
    let left = podman.house.left();
    let parent = format!("--cgroup-parent=/{}", podman.house.name);
    let infra = ["--infra-image=box", "--infra-command=/bin/sleep 1000", "--network=none", &parent];
    let create = [&["pod", "create", "--name", "two"][..], &infra].concat();
    podman.call(&create).well();
    let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
    let run = |rest: &[&str]| podman.call(&[&["run", "--pod", "two"], &limits[..], rest].concat());
    run(&["-d", "--name", "back", "box", "sh", "-c", like::SERVICE]).well();
    run(&["--rm", "--name", "front", "box", "sh", "-c", like::CLIENT]).says("hello");
    podman.call(&["pod", "pause", "two"]).well();
    podman.inspect("back", ".State.Status", "paused");
    podman.call(&["pod", "unpause", "two"]).well();
    podman.call(&["pod", "stop", "-t", "0", "two"]).well();
    podman.call(&["pod", "start", "two"]).well();
    run(&["--rm", "--name", "front", "box", "sh", "-c", like::CLIENT]).says("hello");
    podman.call(&["pod", "rm", "-f", "-t", "0", "two"]).well();
    podman.nothing_left(&left);
}

fn users(podman: &Engine) {
    let map = "cat /proc/self/uid_map; touch /data/x; stat -c %u /data/x";
    let said = podman.run(&["--rm", "--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"], map).well();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "1000", "0"]);
}
