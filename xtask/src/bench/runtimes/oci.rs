//! crun and runc, with OCI bundles around the root.

use std::fs;

use serde_json::{Value, json};

use super::{Ground, Runtime, pure_v1, words};
use crate::shell::Result;

pub(super) fn all(ground: &Ground) -> Result<Vec<Runtime>> {
    bundle(ground, "bundle-true", &["/bin/idle", "true"])?;
    bundle(ground, "bundle-idle", &["/bin/idle"])?;
    let crun = Runtime { wrapper: pure_v1(), ..runtime(ground, "crun") };
    Ok(vec![crun, runtime(ground, "runc")])
}

/// A bundle in a folder of this name.
pub(crate) fn bundle(ground: &Ground, name: &str, args: &[&str]) -> Result {
    let dir = ground.dir.join(name);
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join("config.json"), config(&ground.root.to_string_lossy(), args).to_string())?)
}

fn runtime(ground: &Ground, program: &str) -> Runtime {
    let (state, id) = (ground.at(program), format!("{}-{program}-{{}}", Ground::prefix()));
    let (brief, idle) = (ground.at("bundle-true"), ground.at("bundle-idle"));
    let line = |rest: String| words(&format!("{program} --root {state} {rest}"));
    Runtime {
        name: program.into(),
        run: line(format!("run -b {brief} {id}")),
        detach: Some(line(format!("run -d -b {idle} {id}"))),
        create: Some(line(format!("create -b {idle} {id}"))),
        start: Some(line(format!("start {id}"))),
        remove: Some(line(format!("delete -f {id}"))),
        exec: Some(line(format!("exec {id} /bin/idle say"))),
        ..Runtime::default()
    }
}

/// What `crun spec` writes, less what the minimal floor leaves out: no network namespace, no filter.
pub(super) fn config(root: &str, args: &[&str]) -> Value {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|n| json!({"type": n}));
    let strict = ["nosuid", "noexec", "nodev"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": args, "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": true,
            "user": {"uid": 0, "gid": 0},
        },
        "root": {"path": root, "readonly": true},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &strict),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &strict),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {"namespaces": namespaces},
    })
}
