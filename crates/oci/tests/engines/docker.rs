//! Docker, with this as its default runtime.

use std::fs;
use std::path::Path;
use std::process::Child;

use crate::house::House;
use crate::image;
use crate::like_docker::{self as like, Engine};

/// Debian's; other programs of that name are other clients.
const PROGRAM: &str = "/usr/bin/docker";

const DAEMON: &str = "/usr/sbin/dockerd";

fn start_daemon(house: &House) -> Child {
    let at = |name: &str| house.at(name);
    // A key that nobody needs; it would be made in /etc.
    let settings = serde_json::json!({ "deprecated-key-path": at("key.json") });
    fs::write(at("daemon.json"), settings.to_string()).expect("a file");
    let runtime = format!("tsubo={}", env!("CARGO_BIN_EXE_tsubo-oci"));
    let (config, socket, parent) =
        (at("daemon.json"), format!("unix://{}", at("sock")), format!("/{}", house.name));
    let (data, exec, pid) = (at("data"), at("exec"), at("pid"));
    house.daemon(&[
        DAEMON,
        "--config-file",
        &config,
        "--exec-opt",
        "native.cgroupdriver=cgroupfs",
        "--storage-driver",
        "overlay2",
        "--add-runtime",
        &runtime,
        "--default-runtime",
        "tsubo",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--bridge=none",
        "--cgroup-parent",
        &parent,
        "-H",
        &socket,
        "--data-root",
        &data,
        "--exec-root",
        &exec,
        "--pidfile",
        &pid,
        "--shutdown-timeout",
        "2",
    ])
}

fn docker() -> Option<(Engine, Child)> {
    let house = House::for_programs(&[DAEMON, PROGRAM, "/usr/bin/containerd"])?;
    image::tar(Path::new(&house.at("image")), Path::new(&house.at("image.tar")));
    let daemon = start_daemon(&house);
    let words = vec![PROGRAM.to_owned(), "-H".to_owned(), format!("unix://{}", house.at("sock"))];
    let engine = Engine { house, words, run: vec!["--network=none".to_owned()], podman: false };
    engine.house.until("dockerd", || engine.call(&["version"]).code == 0);
    engine.call(&["import", &engine.house.at("image.tar"), "box"]).well();
    Some((engine, daemon))
}

/// Each is another test, as each takes seconds.
macro_rules! with_docker {
    ($($test:ident => $what:path;)*) => {$(
        #[test]
        fn $test() {
            if let Some((engine, mut daemon)) = docker() {
                $what(&engine);
                drop(engine);
                let _ = daemon.wait();
            }
        }
    )*};
}

with_docker! {
    docker_runs => like::runs;
    docker_executes => like::executes;
    docker_limits => like::limits;
    docker_ends_and_restarts => like::ends_and_restarts;
    docker_has_files => like::files;
    docker_confines => like::confines;
    docker_has_stacks => like::stack;
    docker_asks_how_it_is => health;
    docker_builds => build;
    docker_has_services_together => together;
}

fn health(docker: &Engine) {
    let test = ["--health-cmd", "test -e /tmp/well", "--health-retries", "1", "--health-interval", "500ms"];
    docker.start("sick", &test, "sleep 100");
    let is =
        |word: &str| docker.call(&["inspect", "--format", "{{.State.Health.Status}}", "sick"]).out == word;
    docker.house.until("illness", || is("unhealthy"));
    docker.call(&["exec", "sick", "touch", "/tmp/well"]).well();
    docker.house.until("health", || is("healthy"));
}

fn build(docker: &Engine) {
    let left = docker.house.left();
    let context = docker.house.at("context");
    fs::create_dir(&context).expect("a directory");
    fs::copy(docker.house.at("image.tar"), format!("{context}/image.tar")).expect("a copy");
    let file = "FROM scratch\nADD image.tar /\nRUN echo built >/etc/built && id -u >>/etc/built\nUSER guest\n\
                RUN id -u >/tmp/user\nCMD cat /etc/built /tmp/user\n";
    fs::write(format!("{context}/Dockerfile"), file).expect("a file");
    docker.call(&["build", "--network=none", "-t", "made", &context]).well();
    docker.call(&["run", "--rm", "--network=none", "made"]).says("built\n0\n1000");
    docker.call(&["build", "--network=none", "-t", "made", &context]).mentions("Using cache");
    docker.nothing_left(&left);
}

fn together(docker: &Engine) {
    let left = docker.house.left();
    docker.start("back", &["--restart=always"], like::SERVICE);
    let run =
        ["run", "--rm", "--network=container:back", "--pid=container:back", "box", "sh", "-c", like::CLIENT];
    docker.call(&run).says("hello");
    let pid = docker.call(&["inspect", "--format", "{{.State.Pid}}", "back"]).well();
    docker.house.call(&["kill", "-9", &pid]).well();
    let state = ["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "back"];
    docker.house.until("the restart", || docker.call(&state).out == "1 running");
    docker.call(&run).says("hello");
    docker.remove(&["back"]);
    docker.nothing_left(&left);
}
