//! Engines with this runtime and with runc, in turns.

pub(in crate::bench) mod house;

use std::fs;
use std::path::Path;
use std::process::Command;

use house::House;

use crate::bench::runtimes::{Ground, Words, containerd, words};
use crate::bench::samples::Samples;
use crate::bench::timer::{Timer, Until};
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

const ROUNDS: u32 = 20;

/// Debian's; what else is called docker may be another client.
pub(in crate::bench) const DOCKER: &str = "/usr/bin/docker";
pub(in crate::bench) const DAEMON: &str = "/usr/sbin/dockerd";

/// The same command with either runtime.
struct Engine {
    name: &'static str,
    wrapper: Words,
    ours: Words,
    runc: Words,
    _house: Option<House>,
}

pub(super) fn measure(ask: &Ask, ground: &Ground, ours: &str) -> Result<Vec<Vec<String>>> {
    let mut rows = vec![row(["engine", "with tsubo-oci", "fastest", "with runc", "fastest", "to runc"])];
    type Make = fn(&Ground, &str) -> Result<Engine>;
    let engines: [(&str, &[&str], Make); 3] = [
        ("docker run", &[DAEMON, DOCKER, "/usr/bin/containerd"], docker),
        ("podman run", &["/usr/bin/podman", "/usr/bin/conmon"], podman),
        ("ctr run", &["/usr/bin/containerd", "/usr/bin/ctr"], ctr),
    ];
    for (name, programs, make) in engines {
        if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
            println!("SKIPPED: {name}: {missing} is not installed");
            continue;
        }
        match make(ground, ours).and_then(|engine| turns(&engine, ask.rounds(ROUNDS))) {
            Ok(cells) => rows.push(cells),
            Err(error) => println!("SKIPPED: {name} does not work on this host: {error}"),
        }
    }
    Ok(rows)
}

fn turns(engine: &Engine, rounds: u32) -> Result<Vec<String>> {
    let timer = |line: &Words| Timer::start(&engine.wrapper, &[line], Until::Success);
    let (mut ours, mut runc) = (timer(&engine.ours)?, timer(&engine.runc)?);
    let mut samples = [Samples::default(), Samples::default()];
    for round in 0..=rounds {
        for (timer, samples) in [&mut ours, &mut runc].into_iter().zip(&mut samples) {
            shell::unless_interrupted()?;
            let times = timer.laps(round, 1, 0)?.concat();
            samples.extend(times.into_iter().filter(|_| round > 0));
        }
    }
    let [ours, runc] = samples;
    let times = [ours.median(), ours.quantile(0.0), runc.median(), runc.quantile(0.0)];
    let mut cells = vec![engine.name.to_owned()];
    cells.extend(times.iter().map(|time| format!("{time:.1}")));
    cells.push(format!("{:.2}", ours.median() / runc.median()));
    Ok(cells)
}

fn docker(ground: &Ground, ours: &str) -> Result<Engine> {
    let house = House::new(&ground.dir.join("d"))?;
    let at = |name: &str| ground.at(&format!("d/{name}"));
    let archive = at("root.tar");
    shell::run(Command::new("tar").arg("-C").arg(&ground.root).args(["-cf", &archive, "."]))?;
    // A key that nobody needs; it would be made in /etc.
    let settings = serde_json::json!({ "deprecated-key-path": at("key.json") });
    fs::write(at("daemon.json"), settings.to_string())?;
    let socket = format!("unix://{}", at("s"));
    house.daemon(&words(&format!(
        "{DAEMON} --config-file {} --exec-opt native.cgroupdriver=cgroupfs --storage-driver overlay2 --add-runtime \
         tsubo={ours} --iptables=false --ip6tables=false --ip-forward=false --bridge=none --cgroup-parent /{} -H {socket} \
         --data-root {} --exec-root {} --pidfile {} --shutdown-timeout 2",
        at("daemon.json"),
        Ground::prefix(),
        at("data"),
        at("exec"),
        at("pid"),
    )))?;
    let docker = |rest: &str| words(&format!("{DOCKER} -H {socket} {rest}"));
    house.until_well(&docker("version"))?;
    house.call(&docker(&format!("import {archive} bench")))?;
    let run =
        |runtime: &str| docker(&format!("run --rm --network none --runtime {runtime} bench /bin/idle true"));
    let (ours, runc) = (run("tsubo"), run("runc"));
    Ok(Engine { name: "docker run", wrapper: house.wrapper(), ours, runc, _house: Some(house) })
}

fn podman(ground: &Ground, ours: &str) -> Result<Engine> {
    // It makes directories in the root, so that is another one.
    ground.plant(&ground.dir.join("q/root"))?;
    let at = |name: &str| ground.at(&format!("q/{name}"));
    let run = |runtime: &str| {
        words(&format!(
            "podman --root {} --runroot {} --tmpdir {} --storage-driver vfs --cgroup-manager cgroupfs --events-backend file \
             --runtime {runtime} run --rm --network none --log-driver none --read-only --ulimit nofile=1024:1024 --ulimit \
             nproc=1000:1000 --rootfs {} /bin/idle true",
            at("store"),
            at("run"),
            at("tmp"),
            at("root"),
        ))
    };
    let (ours, runc) = (run(ours), run("/usr/sbin/runc"));
    Ok(Engine { name: "podman run", wrapper: Vec::new(), ours, runc, _house: None })
}

fn ctr(ground: &Ground, ours: &str) -> Result<Engine> {
    fs::create_dir_all(ground.dir.join("c"))?;
    containerd::serve(ground)?;
    let (socket, root) = (ground.at("c/s"), ground.root.to_string_lossy());
    let run = |runtime: &str, name: &str| {
        let id = format!("{}-{name}-{{}}", Ground::prefix());
        words(&format!(
            "ctr -a {socket} run --rm --runc-binary {runtime} --rootfs {root} {id} /bin/idle true"
        ))
    };
    let (ours, runc) = (run(ours, "ours"), run("/usr/sbin/runc", "runc"));
    Ok(Engine { name: "ctr run", wrapper: Vec::new(), ours, runc, _house: None })
}
