//! lxc, with a configuration beside the root and no container of record.

use std::fs;

use super::{Ground, Runtime, words};
use crate::shell::Result;

pub(super) fn lxc(ground: &Ground) -> Result<Runtime> {
    let root = ground.dir.join("lxc-root");
    ground.plant(&root)?;
    fs::create_dir_all(ground.dir.join("lxc"))?;
    fs::write(ground.dir.join("lxc.conf"), config(&root.to_string_lossy()))?;
    let (path, config) = (ground.at("lxc"), ground.at("lxc.conf"));
    let line = |program: &str, rest: &str| {
        words(&format!("{program} -P {path} -n {}-lxc-{{}} {rest}", Ground::prefix()))
    };
    Ok(Runtime {
        name: "lxc".into(),
        run: line("lxc-execute", &format!("-f {config} -- /bin/idle true")),
        detach: Some(line("lxc-start", &format!("-f {config}"))),
        remove: Some(line("lxc-stop", "-k")),
        exec: Some(line("lxc-attach", &format!("-f {config} -- /bin/idle say"))),
        ..Runtime::default()
    })
}

/// As near to the others as its own mounts allow: it makes /dev and the terminals itself.
fn config(root: &str) -> String {
    format!(
        "lxc.rootfs.path = dir:{root}\n\
         lxc.uts.name = bench\n\
         lxc.net.0.type = none\n\
         lxc.mount.auto = proc:mixed sys:ro\n\
         lxc.mount.entry = shm dev/shm tmpfs nosuid,nodev,noexec,mode=1777,size=65536k,create=dir 0 0\n\
         lxc.mount.entry = mqueue dev/mqueue mqueue nosuid,nodev,noexec,create=dir 0 0\n\
         lxc.apparmor.profile = unconfined\n\
         lxc.console.path = none\n\
         lxc.tty.max = 0\n\
         lxc.init.cmd = /bin/idle\n"
    )
}
