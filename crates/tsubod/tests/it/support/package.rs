//! Packages of one static program, forged rather than observed: made in a moment.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::forge::{Forge, Tar};
use super::{House, succeed};

/// Does what its tests want to see; what that is stands in it.
const WEB: &str = include_str!("../programs/web.c");

/// The program, compiled once for all tests that come after.
fn web() -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    WEB.hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = folder.join(format!("gateway-web-{:016x}", hasher.finish()));
    if !made.exists() {
        std::fs::create_dir_all(folder).expect("a folder");
        let own = |end: &str| folder.join(format!("gateway-web-{}{end}", std::process::id()));
        std::fs::write(own(".c"), WEB).expect("write");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-w", "-static", "-pthread", "-o"]).arg(own("")).arg(own(".c"));
        succeed(gcc);
        std::fs::remove_file(own(".c")).expect("remove");
        // Another test may have been quicker: both are the same.
        std::fs::rename(own(""), &made).expect("rename");
    }
    std::fs::read(made).expect("the program")
}

/// Writes `web.tsubo`, whose program listens on port 80; `mark` is a file in it, so that another mark is another
/// package.
pub fn write(house: &House, mark: &str) -> PathBuf {
    let tar = Tar::default().dir("bin/");
    let tar = file(tar, "bin/web", &web(), 0o755).file("mark", mark.as_bytes());
    let tar = ["proc/", "sys/", "dev/", "etc/", "tmp/"].iter().fold(tar, |tar, name| tar.dir(name));
    wrap(house, "web", &tar.end(), &["/bin/web", "80"])
}

/// Packs a whole folder as the package `name`.
pub fn of_folder(house: &House, name: &str, folder: &Path, command: &[&str]) -> PathBuf {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", folder).expect("a tar");
    wrap(house, name, &tar.into_inner().expect("a tar"), command)
}

fn wrap(house: &House, name: &str, layer: &[u8], command: &[&str]) -> PathBuf {
    let mut forge = Forge::package(layer);
    let text = forge.labels["io.tsuboniwa.spec"].as_str().expect("a spec").to_owned();
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    (spec["name"], spec["command"]) = (json!(name), json!(command));
    // As its tests would have shown.
    spec["ports"] = json!([{"protocol": "tcp", "port": 80, "local": false}]);
    forge.labels["io.tsuboniwa.spec"] = json!(spec.to_string());
    let path = house.path(&format!("{name}.tsubo"));
    // Whoever reads it meanwhile reads the one before.
    let fresh = house.path(&format!("{name}.new"));
    std::fs::write(&fresh, forge.bytes()).expect("write");
    std::fs::rename(&fresh, &path).expect("rename");
    path
}

/// Adds a file with its mode.
fn file(tar: Tar, name: &str, content: &[u8], mode: u32) -> Tar {
    let mut tar = tar.file(name, b"").header(|header| {
        header.set_mode(mode);
        header.set_size(content.len() as u64);
    });
    tar.0.extend(content);
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    tar
}
