//! containerd with runc, driven by `ctr` as engines drive it: what its shim takes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Ground, Runtime, oci, words};
use crate::shell::{self, Result};

pub(super) fn containerd(ground: &Ground) -> Result<Runtime> {
    let (socket, config) = (ground.at("c/s"), ground.at("c/idle.json"));
    let id = format!("{}-ctr-{{}}", Ground::prefix());
    fs::create_dir_all(ground.dir.join("c"))?;
    fs::write(&config, oci::config(&ground.root.to_string_lossy(), &["/bin/idle"]).to_string())?;
    // The first says that the task was killed, as if that were a failure.
    let remove = format!("ctr -a {socket} task rm -f {id}; ctr -a {socket} container rm {id}");
    Ok(Runtime {
        name: "containerd's shim".into(),
        detach: Some(words(&format!("ctr -a {socket} run -d --null-io --config {config} {id}"))),
        remove: Some(vec!["sh".into(), "-c".into(), remove]),
        heavy: true,
        ..Runtime::default()
    })
}

/// The daemon, in directories of its own; it is ended with the ground.
pub(crate) fn serve(ground: &Ground) -> Result {
    let at = |name: &str| ground.at(&format!("c/{name}"));
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [{UNUSED}]\n\
         [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n",
        at("root"),
        at("state"),
        at("s"),
        at("s.ttrpc"),
    );
    fs::write(at("config.toml"), config)?;
    let log = fs::File::create(at("log"))?;
    let daemon = Command::new("containerd")
        .args(["-c", &at("config.toml")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("containerd: {e}"))?;
    ground.services.borrow_mut().push(daemon);
    for _ in 0..100 {
        let asked = Command::new("ctr").args(["-a", &at("s"), "version"]).stderr(Stdio::null()).output();
        if Path::new(&at("s")).exists() && asked.is_ok_and(|done| done.status.success()) {
            return Ok(());
        }
        shell::unless_interrupted()?;
        thread::sleep(Duration::from_millis(100));
    }
    Err("containerd does not answer".into())
}

const UNUSED: &str = "\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.btrfs\", \
    \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.aufs\"";
