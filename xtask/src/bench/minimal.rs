//! `./x bench minimal`: takes single files away from an exact package, at random, and replays.
//!
//! Shows that `exact` holds no more than it must: where the exercise passes without a file, the
//! service looked at it and can do without; the table names those.

use std::path::Path;

use serde_json::Value;

use super::services::{NGINX, PYTHON, REDIS, Service};
use super::{Findings, State, row};
use crate::house;
use crate::shell::Result;

const SAMPLE: usize = 12;

pub(crate) fn run(dist: &Path) -> Result<Findings> {
    let mut rows = vec![row(["service", "taken away, one at a time", "noticed", "not missed"])];
    let mut notes = vec![NOTE.to_owned()];
    for service in [&NGINX, &REDIS, &PYTHON] {
        let state = State::on_hosts_network(dist, &house::target())?;
        service.develop(&state)?;
        service.test(&state, &[&service.script("exercise")])?;
        let files = sample(&used_files(&state, service)?);
        let (noticed, missed): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| !packs(&state, service, Some(file)));
        let counts = [files.len(), noticed.len(), missed.len()].map(|n| n.to_string());
        rows.push(row([service.name, &counts[0], &counts[1], &counts[2]]));
        if !missed.is_empty() {
            let missed = missed.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ");
            notes.push(format!("Not missed in {}: {missed}", service.name));
        }
    }
    Ok(Findings { title: "Exact: single files taken away at random", tables: vec![rows], notes })
}

const NOTE: &str = "Files are drawn from those that the exact package keeps because they were used. A file that is not missed \
    was asked for all the same: a configuration that has a default, a locale, a cache (Python compiles a module again if its \
    compiled form is gone).";

/// The files that the exact package holds because the service or the exercise used them.
fn used_files(state: &State, service: &Service) -> Result<Vec<String>> {
    if !packs(state, service, None) {
        return Err(format!("the exact package of {} does not pass its own replay", service.name).into());
    }
    let package = state.file("minimal.tsubo");
    let contents = state.json(&["contents", &package.to_string_lossy()])?;
    let kept = contents["kept"].as_object().ok_or("contents tells nothing of what was kept")?;
    let used = kept.iter().filter(|(_, why)| why["reason"] == "used" && is_file(why));
    Ok(used.map(|(path, _)| path.clone()).collect())
}

/// Opened or executed, and not listed: a file with content.
fn is_file(why: &Value) -> bool {
    let how: Vec<&str> = why["how"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |what: &str| how.contains(&what);
    (has("opened") || has("executed")) && !has("listed") && !has("entered")
}

/// Whether packing at `exact`, without one file, passes the replay.
fn packs(state: &State, service: &Service, without: Option<&str>) -> bool {
    let package = state.file("minimal.tsubo");
    let package = package.to_string_lossy();
    let mut words = vec!["pack", service.name, "--closure", "exact", "-o", &package];
    words.extend(without.into_iter().flat_map(|path| ["--drop", path]));
    state.quiet(&words).is_ok()
}

/// A few, spread by chance; another few next time.
fn sample(files: &[String]) -> Vec<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut random = now.map_or(1, |d| d.as_nanos() as u64) | 1;
    let mut left = files.to_vec();
    let mut drawn = Vec::new();
    while drawn.len() < SAMPLE && !left.is_empty() {
        // xorshift64 (Marsaglia 2003): chance enough to draw lots.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        drawn.push(left.swap_remove((random % left.len() as u64) as usize));
    }
    drawn
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sample_has_no_file_twice() {
        let files: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let mut drawn = super::sample(&files);
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn.len(), super::SAMPLE);
        assert_eq!(super::sample(&files[..3]).len(), 3);
    }
}
