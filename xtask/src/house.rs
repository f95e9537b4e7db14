//! Where things are, and how cargo is called so that programs come out static.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Result};

/// The programs that `dist/` holds.
pub(crate) const PROGRAMS: [&str; 8] = [
    "tsubo",
    "tsubo-keeper",
    "tsubo-resolver",
    "tsubo-oci",
    "tsubo-top",
    "tsubo-audit",
    "tsubo-attack",
    "tsubod",
];

/// The packages that they are in: each of the same name, but for the attacker, which comes with the auditor.
pub(crate) const PACKAGES: [&str; 7] =
    ["tsubo", "tsubo-keeper", "tsubo-resolver", "tsubo-oci", "tsubo-top", "tsubo-audit", "tsubod"];

/// The program that runs scripts, and the profile in which it is built: it must be able to unwind.
pub(crate) const SCRIPTED: (&str, &str) = ("tsubo-hook", "scripted");

/// The top directory of the source tree.
pub(crate) fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The directory that cargo builds into.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => top().join(dir),
        None => top().join("target"),
    }
}

/// `cargo`, called so that the programs are static: the flag goes to what is built for the named
/// target only, because build scripts and macros cannot be linked that way.
pub(crate) fn cargo(words: &[&str]) -> Result<Command> {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(words)
        .current_dir(top())
        .env("RUSTFLAGS", flags.trim())
        .env("CARGO_BUILD_TARGET", triple()?);
    Ok(command)
}

/// The same for what the tests run, with every lint of clippy denied while it is compiled: to look at all of
/// it in a pass of its own takes as long as to build it.
pub(crate) fn cargo_linting(words: &[&str]) -> Result<Command> {
    if !shell::has("clippy-driver") {
        return Err("there is no clippy; rustup component add clippy".into());
    }
    let mut command = cargo(words)?;
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env("CLIPPY_ARGS", "-Dwarnings");
    Ok(command)
}

/// Where `cargo()` puts the programs of a profile (`debug` or `release`).
pub(crate) fn built(profile: &str) -> Result<PathBuf> {
    Ok(target().join(triple()?).join(profile))
}

/// This machine's target triple, as rustc names it.
fn triple() -> Result<String> {
    let said = shell::read(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV names no host")?.to_owned())
}
