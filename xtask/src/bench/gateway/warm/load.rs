//! Programs that ask as fast as they are answered.

use std::fs;
use std::process::Command;

use crate::bench::samples::Samples;
use crate::bench::wrk;
use crate::shell::{self, Result};

/// What one round showed: requests a second, microseconds, and how busy a core was, of a hundred.
#[derive(Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) rate: f64,
    pub(super) half: f64,
    pub(super) most: f64,
    pub(super) busy: f64,
}

/// One such program.
pub(super) struct Load {
    /// `PORT`, `HOST` and `LOG` stand for themselves.
    line: &'static [&'static str],
    read: fn(&str, &str) -> Option<[f64; 3]>,
}

pub(super) const WRK: Load = Load {
    // Without the blank it would not be a header to it.
    line: &["wrk", "-t1", "-c32", "-d4s", "--latency", "-H", "Host: HOST", "http://127.0.0.1:PORT/"],
    read: |said, _| {
        let told = wrk::Told::read(said)?;
        Some([told.requests, told.half, told.most])
    },
};

/// Its own summary has no quantiles: they are computed from its log.
pub(super) const H2LOAD: Load = Load {
    line: &[
        "h2load",
        "-t1",
        "-c8",
        "-m8",
        "-D4",
        "--log-file=LOG",
        "-H",
        ":authority:HOST",
        "http://127.0.0.1:PORT/",
    ],
    read: h2load,
};

impl Load {
    /// Asks from one core for a while, and looks at another meanwhile.
    pub(super) fn put(&self, port: u16, host: &str, from: &str, watched: &str) -> Result<Measured> {
        let log = format!("/dev/shm/tsubo-bench-{}", std::process::id());
        let port = port.to_string();
        let filled = |word: &&str| word.replace("PORT", &port).replace("HOST", host).replace("LOG", &log);
        let before = Core::now(watched)?;
        let said = shell::read(Command::new("taskset").args(["-c", from]).args(self.line.iter().map(filled)));
        let busy = Core::now(watched)?.busy_since(&before);
        let logged = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let said = said?;
        let [rate, half, most] = (self.read)(&said, &logged).ok_or_else(|| format!("failures: {said}"))?;
        if rate > 0.0 { Ok(Measured { rate, half, most, busy }) } else { Err("no answer at all".into()) }
    }
}

/// `finished in 4.00s, 8000.00 req/s, …`, and `START STATUS MICROSECONDS` for each request.
fn h2load(said: &str, log: &str) -> Option<[f64; 3]> {
    let clean =
        said.lines().any(|line| line.starts_with("requests:") && line.contains(" 0 failed, 0 errored"));
    let line = said.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let rate = line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()?;
    let mut times = Samples::default();
    times.extend(log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()));
    clean.then_some([rate, times.median(), times.quantile(0.99)])
}

/// What /proc/stat counts of a core: busy, and all.
struct Core(f64, f64);

impl Core {
    fn now(core: &str) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        Self::read(&stat, core).ok_or_else(|| format!("/proc/stat tells nothing of core {core}").into())
    }

    fn read(stat: &str, core: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
        let ticks: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let all: f64 = ticks.iter().take(8).sum();
        // Idle, and waiting for disks.
        Some(Self(all - ticks.get(3)? - ticks.get(4)?, all))
    }

    fn busy_since(&self, before: &Self) -> f64 {
        (self.0 - before.0) / (self.1 - before.1) * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_says_is_read() {
        let said = "finished in 4.00s, 8000.25 req/s, 300KB/s\n\
            requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout\n";
        let log = "1\t200\t100\n2\t200\t300\n3\t200\t200\n";
        assert_eq!(h2load(said, log), Some([8000.25, 200.0, 300.0]));
        assert_eq!(h2load(&said.replace("0 failed", "1 failed"), log), None);
    }

    #[test]
    fn a_core_is_as_busy_as_it_is() {
        let stat = |busy: u32, idle: u32| format!("cpu  1 2 3\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\n");
        let [before, after] =
            [stat(10, 10), stat(40, 20)].map(|stat| Core::read(&stat, "0").expect("a core"));
        assert_eq!(after.busy_since(&before), 75.0);
    }
}
