//! Packages of one static program, forged rather than observed: made in a moment.

use serde_json::{Value, json};

use super::forge::{Forge, Tar};
use super::{House, have};

const APPLETS: [&str; 26] = [
    "cat", "dd", "echo", "false", "grep", "head", "id", "kill", "ls", "mkdir", "nc", "printenv", "ps", "pwd",
    "readlink", "rm", "seq", "sh", "sleep", "stat", "touch", "tr", "true", "wc", "xargs", "yes",
];

/// The layer of a root with one static program, which is a shell and more.
pub fn busybox(more: impl FnOnce(Tar) -> Tar) -> Vec<u8> {
    let program =
        std::fs::read("/usr/bin/busybox").or_else(|_| std::fs::read("/bin/busybox")).expect("busybox");
    let tar = file(Tar::default().dir("bin/"), "bin/busybox", &program, 0o755);
    let tar = APPLETS.iter().fold(tar, |tar, name| tar.symlink(&format!("bin/{name}"), "busybox"));
    more(tar).end()
}

/// Adds a file with its mode.
pub fn file(tar: Tar, name: &str, content: &[u8], mode: u32) -> Tar {
    let change = |header: &mut ::tar::Header| {
        header.set_mode(mode);
        header.set_size(content.len() as u64);
    };
    let mut tar = tar.file(name, b"").header(change);
    tar.0.extend(content);
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    tar
}

/// The directories that the runtime mounts over, and some to work in.
pub fn places(tar: Tar) -> Tar {
    ["proc/", "sys/", "dev/", "etc/", "tmp/", "srv/"].iter().fold(tar, |tar, name| tar.dir(name))
}

/// The package `web` of such a root, whose command says that it ran; its spec is changed by `change`.
pub fn speaks(layer: &[u8], change: Value) -> Vec<u8> {
    let mut forge = Forge::package(layer);
    let text = forge.labels["io.tsuboniwa.spec"].as_str().expect("a spec").to_owned();
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    spec["command"] = json!(["/bin/sh", "-c", "echo it ran"]);
    spec["env"] = json!({"PATH": "/bin"});
    for (key, value) in change.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    forge.labels["io.tsuboniwa.spec"] = json!(spec.to_string());
    forge.bytes()
}

/// A house with `./web.tsubo` installed in its second state directory; None where there is no busybox.
pub fn installed(more: impl FnOnce(Tar) -> Tar, change: Value) -> Option<House> {
    if !have(&["busybox"]) {
        return None;
    }
    let house = House::new();
    std::fs::write(house.path("web.tsubo"), speaks(&busybox(|tar| more(places(tar))), change))
        .expect("write");
    house.ok_elsewhere(["install", "./web.tsubo"]);
    Some(house)
}
