//! podman with netavark and docker, each on a host of its own with a bridge and its own rules of the firewall.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::world::World;
use crate::bench::oci::engines::{DAEMON, DOCKER};
use crate::bench::runtimes::{Ground, Words, words};
use crate::shell::{self, Result};

/// One engine that works here.
pub(super) struct Engine {
    pub(super) name: &'static str,
    pub(super) world: World,
    /// Runs the static program to its end, with these options.
    run: fn(&World, &Ground, &str) -> Words,
    /// Leaves the service of [`super::service`] running, ports published; its root is the last word.
    serve: fn(&World, &Path) -> Result,
}

type Make = fn(&Ground) -> Result<Engine>;

impl Engine {
    /// Those that work here; of the others it is said.
    pub(super) fn all(ground: &Ground) -> Vec<Self> {
        let makers: [(&str, &[&str], Make); 2] = [
            ("podman", &["/usr/bin/podman", "/usr/bin/conmon", "/usr/lib/podman/netavark"], podman),
            ("docker", &[DAEMON, DOCKER, "/usr/bin/containerd"], docker),
        ];
        let mut all = Vec::new();
        for (name, programs, make) in makers {
            if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
                println!("SKIPPED: {name}: {missing} is not installed");
                continue;
            }
            let tried = make(ground).and_then(|engine| {
                engine.world.house.call(&engine.bridged(ground))?;
                Ok(engine)
            });
            match tried {
                Ok(engine) => all.push(engine),
                Err(error) => println!("SKIPPED: {name} does not work on this host: {error}"),
            }
        }
        all
    }

    /// On its bridge, with a port published.
    pub(super) fn bridged(&self, ground: &Ground) -> Words {
        (self.run)(&self.world, ground, "-p 80")
    }

    /// In an empty network namespace.
    pub(super) fn alone(&self, ground: &Ground) -> Words {
        (self.run)(&self.world, ground, "--network none")
    }

    pub(super) fn serve(&self, root: &Path) -> Result {
        (self.serve)(&self.world, root)
    }
}

/// What engines raise that may not be raised here.
const LIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000";

/// How the ports of the service are published, and where it writes.
const PORTS: &str = "-p 8080:8080 -p 5201:5201 --tmpfs /tmp";

fn podman(ground: &Ground) -> Result<Engine> {
    let world = World::new("p")?;
    if Path::new("/sys/fs/cgroup/unified").exists() {
        // crun refuses it beside controllers of version 1.
        world.house.call(&words("mount -t tmpfs none /sys/fs/cgroup/unified"))?;
    }
    let settings = format!(
        "[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"{}\"\n\
         [engine]\nhelper_binaries_dir = [\"/usr/lib/podman\"]\n",
        world.at("networks")
    );
    fs::write(world.at("containers.conf"), settings)?;
    // It makes directories in the root, so that is another one.
    ground.plant(&ground.dir.join("n/root"))?;
    Ok(Engine {
        name: "podman + netavark",
        world,
        run: |world, ground, options| {
            let root = ground.at("n/root");
            podman_line(
                world,
                &format!("run --rm --read-only {LIMITS} {options} --rootfs {root} /bin/idle true"),
            )
        },
        serve: |world, root| {
            let run = format!("run -d {LIMITS} {PORTS} --read-only --rootfs {} /srv/serve", root.display());
            world.house.call(&podman_line(world, &run))
        },
    })
}

fn podman_line(world: &World, rest: &str) -> Words {
    let (rest, options) = (rest.split_once(' ').unwrap_or((rest, "")), "--log-driver none");
    words(&format!(
        "env CONTAINERS_CONF={} podman --root {} --runroot {} --tmpdir {} --storage-driver vfs --cgroup-manager cgroupfs \
         --events-backend file --runtime crun {} {options} {}",
        world.at("containers.conf"),
        world.at("store"),
        world.at("run"),
        world.at("tmp"),
        rest.0,
        rest.1,
    ))
}

fn docker(ground: &Ground) -> Result<Engine> {
    let world = World::new("d")?;
    // A key that nobody needs; it would be made in /etc.
    let settings = serde_json::json!({ "deprecated-key-path": world.at("key.json") });
    fs::write(world.at("daemon.json"), settings.to_string())?;
    world.house.daemon(&words(&format!(
        "{DAEMON} --config-file {} --exec-opt native.cgroupdriver=cgroupfs --storage-driver overlay2 --cgroup-parent /{} -H {} \
         --data-root {} --exec-root {} --pidfile {} --shutdown-timeout 2",
        world.at("daemon.json"),
        Ground::prefix(),
        socket(&world),
        world.at("data"),
        world.at("exec"),
        world.at("pid"),
    )))?;
    world.house.until_well(&docker_line(&world, "version"))?;
    import(&world, &ground.root, "bench")?;
    Ok(Engine {
        name: "docker",
        world,
        run: |world, _, options| docker_line(world, &format!("run --rm {options} bench /bin/idle true")),
        serve: |world, root| {
            import(world, root, "serve")?;
            world.house.call(&docker_line(world, &format!("run -d {PORTS} serve /srv/serve")))
        },
    })
}

fn import(world: &World, root: &Path, name: &str) -> Result {
    let archive = world.at(&format!("{name}.tar"));
    shell::run(Command::new("tar").arg("-C").arg(root).args(["-cf", &archive, "."]))?;
    world.house.call(&docker_line(world, &format!("import {archive} {name}")))
}

fn docker_line(world: &World, rest: &str) -> Words {
    words(&format!("{DOCKER} -H {} {rest}", socket(world)))
}

fn socket(world: &World) -> String {
    format!("unix://{}", world.at("s"))
}
