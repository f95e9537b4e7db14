//! `./x bench watch`: requests per second of a service while it is watched and while it is not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::samples::Samples;
use super::services::{self, NGINX, REDIS, Service};
use super::{Findings, State, row};
use crate::house;
use crate::shell::{self, Result};

const ROUNDS: usize = 3;

/// A service and the load it is put under; the load prints requests per second in its own way.
struct Load {
    service: &'static Service,
    what: &'static str,
    command: &'static str,
    rate: fn(&str) -> Option<f64>,
}

const LOADS: [Load; 3] = [
    Load {
        service: &NGINX,
        what: "nginx, static page",
        command: "wrk -t1 -c32 -d4s http://127.0.0.1:18480/index.html",
        rate: wrk,
    },
    Load {
        service: &REDIS,
        what: "redis SET",
        command: "redis-benchmark -p 18481 -q --csv -n 150000 -t set",
        rate: csv,
    },
    Load {
        service: &REDIS,
        what: "redis GET",
        command: "redis-benchmark -p 18481 -q --csv -n 150000 -t get",
        rate: csv,
    },
];

pub(crate) fn run(dist: &Path) -> Result<Findings> {
    let mut rows = vec![row(["service", "unwatched", "watched", "watched to unwatched"])];
    for load in &LOADS {
        let state = State::on_hosts_network(dist, &house::target())?;
        load.service.develop(&state)?;
        let [mut plain, mut watched] = [Samples::default(), Samples::default()];
        for _ in 0..ROUNDS {
            plain.extend([unwatched(&state, load)?]);
            watched.extend([while_watched(&state, load)?]);
        }
        let (plain, watched) = (plain.median(), watched.median());
        let rates = [plain, watched].map(|r| format!("{r:.0}/s"));
        rows.push(row([load.what, &rates[0], &rates[1], &format!("{:.2}", watched / plain)]));
    }
    Ok(Findings {
        title: "Watching: requests per second of a service while it is watched",
        tables: vec![rows],
        notes: vec![format!(
            "Medians of {ROUNDS} rounds in turns; the same development container, with `tsubo dev` and with `tsubo test`. \
             The load runs on the same machine. Goal: at least 0.8."
        )],
    })
}

/// In the development container as it is, ended by the stop signal that `timeout` sends it.
fn unwatched(state: &State, load: &Load) -> Result<f64> {
    let words = [&["dev", load.service.name, "--", "timeout", "20"][..], load.service.command].concat();
    let mut child = state.tsubo(&words).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let said = if load.service.answers_within(10) {
        put_under(load)
    } else {
        Err("the service does not answer".into())
    };
    let _ = shell::run(Command::new("kill").arg(child.id().to_string()));
    child.wait()?;
    said
}

fn put_under(load: &Load) -> Result<f64> {
    let said = shell::read(Command::new("sh").args(["-c", load.command]))?;
    Ok((load.rate)(&said).ok_or_else(|| format!("no rate in: {said}"))?)
}

fn while_watched(state: &State, load: &Load) -> Result<f64> {
    let answer = state.file("rate");
    let exercise = format!("{} > {}", load.command, services::text(&answer));
    load.service.test(state, &[&exercise])?;
    let said = fs::read_to_string(&answer)?;
    Ok((load.rate)(&said).ok_or_else(|| format!("no rate in: {said}"))?)
}

/// `Requests/sec:  12345.67`
fn wrk(said: &str) -> Option<f64> {
    said.lines().find_map(|l| l.strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

/// `"SET","12345.67","0.3",…`
fn csv(said: &str) -> Option<f64> {
    said.lines().filter_map(|l| l.split(',').nth(1)?.trim_matches('"').parse().ok()).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_from_what_the_tools_print() {
        assert_eq!(wrk("  Latency 1ms\nRequests/sec:  12345.67\nTransfer/sec: 1MB"), Some(12345.67));
        assert_eq!(csv("\"test\",\"rps\"\n\"SET\",\"99800.40\",\"0.2\"\n"), Some(99800.40));
    }
}
