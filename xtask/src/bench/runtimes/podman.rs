//! podman with crun, in a store of its own.

use super::{Ground, Runtime, Words, pure_v1, words};
use crate::shell::Result;

/// It makes directories in the root, so that is another one.
pub(super) fn podman(ground: &Ground) -> Result<Runtime> {
    // Short paths: podman refuses a long one.
    ground.plant(&ground.dir.join("p/root"))?;
    let name = format!("{}-podman-{{}}", Ground::prefix());
    let run = |options: &str, args: &str| {
        let limits = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000";
        let root = ground.at("p/root");
        line(
            ground,
            &format!(
                "run {options} --name {name} --network host --log-driver none --read-only {limits} --rootfs {root} {args}"
            ),
        )
    };
    Ok(Runtime {
        name: "podman with crun".into(),
        wrapper: pure_v1(),
        run: run("--rm", "/bin/idle true"),
        detach: Some(run("-d", "/bin/idle")),
        echo: Some(run("-d -i", "/bin/idle echo")),
        remove: Some(line(ground, &format!("rm -f -t 0 {name}"))),
        exec: Some(line(ground, &format!("exec {name} /bin/idle say"))),
        attach: Some(line(ground, &format!("attach --sig-proxy=false {name}"))),
        heavy: true,
        ..Runtime::default()
    })
}

/// A command line of it, with a store of its own.
pub(crate) fn line(ground: &Ground, rest: &str) -> Words {
    let at = |name: &str| ground.at(&format!("p/{name}"));
    words(&format!(
        "podman --root {} --runroot {} --tmpdir {} --storage-driver vfs --cgroup-manager cgroupfs --runtime crun {rest}",
        at("store"),
        at("run"),
        at("tmp"),
    ))
}
