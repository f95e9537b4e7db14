//! `./x bench size`: what is left of a Debian root, beside what the best known minimiser leaves.

use std::path::Path;

use serde_json::Value;

use super::services::{self, NGINX, PYTHON, REDIS, Service};
use super::{Findings, State, row};
use crate::shell::Result;
use crate::{house, table};

pub(crate) fn run(dist: &Path) -> Result<Findings> {
    let mut sizes = vec![row([
        "service",
        "closure",
        "bytes",
        "files",
        "Debian packages",
        "packed",
        "to slim",
        "packed to slim",
        "the exercise again",
        "another exercise",
    ])];
    for service in [&NGINX, &REDIS, &PYTHON] {
        let state = State::on_hosts_network(dist, &house::target())?;
        service.develop(&state)?;
        service.test(&state, &[&service.script("exercise")])?;
        for closure in ["exact", "default"] {
            sizes.extend(one(&state, service, closure)?);
        }
    }
    Ok(Findings {
        title: "Size: what is left of a Debian root",
        tables: vec![sizes],
        notes: vec![NOTE.into()],
    })
}

const NOTE: &str = "The numbers of slim 1.40 (over podman, a 154 MB Debian root of the same services): nginx 10.1 MB in 169 files, \
    3.65 MB as tar+zstd; redis 17.9 MB in 175 files, 6.19 MB as tar+zstd. Goals: at exact at most 0.92 times slim's bytes, by default \
    at most 1.5 times, with both exercises passing.";

/// The rows of one package; the first closure's rows begin with the full root.
fn one(state: &State, service: &Service, closure: &str) -> Result<Vec<Vec<String>>> {
    let package = services::text(&state.file(&format!("{}-{closure}.tsubo", service.name)));
    let mut words = vec!["pack", service.name, "-o", &package];
    if closure != "default" {
        words.extend(["--closure", closure]);
    }
    state.quiet(&words)?;
    let contents = state.json(&["contents", &package])?;
    let mut rows = Vec::new();
    if closure == "exact" {
        rows.push(full_root(service, &contents));
    }
    let [again, other] = ["exercise", "other"].map(|which| passes(state, service, &package, which));
    rows.push(shares(service, closure, &contents, again?, other?));
    Ok(rows)
}

fn number(contents: &Value, key: &str) -> u64 {
    contents[key].as_u64().unwrap_or_default()
}

fn full_root(service: &Service, contents: &Value) -> Vec<String> {
    let bytes = table::bytes(number(contents, "base_bytes"));
    let [files, packages] = ["base_files", "base_packages"].map(|k| number(contents, k).to_string());
    row([service.name, "full root", &bytes, &files, &packages])
}

fn shares(service: &Service, closure: &str, contents: &Value, again: &str, other: &str) -> Vec<String> {
    let [bytes, packed, files] = ["bytes", "packed_bytes", "files"].map(|k| number(contents, k));
    let packages = contents["distribution_packages"].as_array().map_or(0, Vec::len);
    let ratio =
        |bytes: u64, of: Option<f64>| of.map_or("-".into(), |mb| format!("{:.2}", bytes as f64 / 1e6 / mb));
    let slim = service.slim.as_ref();
    row([
        service.name,
        closure,
        &table::bytes(bytes),
        &files.to_string(),
        &packages.to_string(),
        &table::bytes(packed),
        &ratio(bytes, slim.map(|s| s.megabytes)),
        &ratio(packed, slim.map(|s| s.packed_megabytes)),
        again,
        other,
    ])
}

/// Runs the package and one exercise against it.
fn passes(state: &State, service: &Service, package: &str, which: &str) -> Result<&'static str> {
    state.quiet(&["run", "-d", "--name", "sized", package])?;
    let passed = service.answers_within(10) && service.exercise(which).is_ok();
    state.quiet(&["rm", "-f", "sized"])?;
    Ok(if passed { "passes" } else { "fails" })
}
