//! `./x floors`: each crate imports only floors below its own (docs/architecture.md).
//!
//! Only crate borders keep imports free of knots, so the arrows between crates are what is held.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::shell::Result;
use crate::{house, sources};

/// Every crate and its floor. Who is not in the table does not build a house here.
const FLOORS: &[(&str, u8)] = &[
    ("tsubo-sys", 0),
    ("tsubo-spec", 1),
    ("tsubo-runtime", 2),
    ("tsubo-cgroup", 2),
    ("tsubo-net", 2),
    ("tsubo-dhcp", 2),
    ("tsubo-disk", 2),
    ("tsubo-store", 2),
    ("tsubo-observe", 2),
    ("tsubo-script", 2),
    ("tsubo-lifecycle", 3),
    ("tsubo-keeper", 4),
    ("tsubo-workshop", 4),
    ("tsubo-gateway", 4),
    ("tsubo", 5),
    ("tsubo-oci", 5),
    ("tsubo-top", 5),
    ("tsubo-audit", 5),
    ("tsubo-hook", 5),
    ("tsubo-resolver", 5),
    ("tsubod", 5),
];

/// Stands beside the house and imports no floor.
const BESIDE: &str = "xtask";

/// Prints every fault; any is an error.
pub(crate) fn run(_args: &[String]) -> Result {
    let faults = faults()?;
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{} faults", faults.len()).into()) }
}

fn faults() -> Result<Vec<String>> {
    let manifest = house::top().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let mut faults = arrows(&metadata);
    faults.extend(sources::faults(&house::top())?);
    Ok(faults)
}

fn arrows(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<&Package> = metadata.workspace_packages();
    let is_ours = |name: &str| ours.iter().any(|p| p.name.as_str() == name);
    let mut faults = Vec::new();
    for package in &ours {
        let from = package.name.as_str();
        if from != BESIDE && floor(from).is_none() {
            faults.push(format!("{from} is on no floor: add it to the table in xtask/src/floors.rs"));
        }
        for to in package.dependencies.iter().filter(|d| is_ours(&d.name)) {
            faults.extend(arrow(from, &to.name, to.kind));
        }
    }
    faults
}

/// What is wrong with `from` importing `to`. Development dependencies are arrows like any other: a
/// test that needs an upper floor belongs there.
fn arrow(from: &str, to: &str, kind: DependencyKind) -> Option<String> {
    let fine = matches!((floor(from), floor(to)), (Some(from), Some(to)) if to < from);
    let kind = if kind == DependencyKind::Development { " in its tests" } else { "" };
    (!fine).then(|| format!("{from} imports {to}{kind}, which is not below it"))
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(n, _)| *n == name).map(|(_, floor)| *floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_stands() {
        let faults = faults().expect("cargo metadata");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn arrows_up_sideways_and_beside_are_faults() {
        let normal = DependencyKind::Normal;
        assert!(arrow("tsubo-runtime", "tsubo-spec", normal).is_none());
        assert!(arrow("tsubo-spec", "tsubo-runtime", normal).is_some());
        assert!(arrow("tsubo-runtime", "tsubo-cgroup", DependencyKind::Development).is_some());
        assert!(arrow("xtask", "tsubo-sys", normal).is_some());
    }
}
