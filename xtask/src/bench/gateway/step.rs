//! One service that is suddenly asked for five hundred times as often.

use std::fmt::Write as _;

use super::asked::{Answer, Summary};
use super::gate::{Gate, Served};
use super::packed::{PORT, STATIC};
use super::process::Backend;
use super::{Home, Part, milliseconds};
use crate::bench::samples::Samples;
use crate::bench::{Ask, row};
use crate::shell::Result;

/// Requests a second before the step and after it, and how long each lasts, in seconds.
const BEFORE: (u64, u64) = (1, 5);
const AFTER: (u64, u64) = (500, 20);

const SECOND: u64 = 1_000_000;

/// What is looked at for its 99 %, in milliseconds.
const WINDOW: f64 = 200.0;

/// A window is steady that is at most so many times as slow as the later half of them are usually; and so are those behind it.
const STEADY: f64 = 2.0;
const IN_A_ROW: usize = 5;

/// What is usual in the last quarter may be so many times that of the second: else there is a queue that grows.
const GROWN: f64 = 1.5;

/// What of the processor each request takes, and what its service may have.
struct Kind {
    name: &'static str,
    path: &'static str,
    activation: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { name: "next to nothing", path: "/", activation: "" },
    Kind {
        name: "1 ms, from 0.25 to 1 processor",
        path: "/work/1000",
        activation: "cpus = [\"0.25\", \"1\"]\ncalm = \"2s\"",
    },
    Kind {
        name: "1 ms, 1 to 4 instances of 0.25 processors",
        path: "/work/1000",
        activation: "cpus = [\"0.25\", \"0.25\"]\nmax = 4\nconcurrency = 8\ncalm = \"2s\"",
    },
];

pub(super) fn measure(_: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let mut rows = vec![row([
        "1 to 500 requests/s of",
        "errors",
        "steady after s",
        "steady 99 % ms",
        "worst window",
        "median",
        "slowest",
        "instances",
        "no proxy: 99 %",
        "goal",
    ])];
    for kind in &KINDS {
        let served = Served::new("web", STATIC, PORT, kind.activation);
        let gate = Gate::open(home, std::slice::from_ref(&served))?;
        let answers = home.ask(gate.port, &schedule(&served.host(), kind.path))?;
        let instances = gate.running()?.len();
        drop(gate);
        let (told, step) = (Summary::of(&answers), Step::of(&answers));
        let alone = Step::of(&without(home, kind.path)?);
        rows.push(row([
            kind.name,
            &told.failures(),
            &step.steady_after.map_or("never".into(), |seconds| format!("{seconds:.1}")),
            &milliseconds(step.usual),
            &milliseconds(step.worst),
            &milliseconds(told.all.median()),
            &milliseconds(told.all.quantile(1.0)),
            &instances.to_string(),
            &milliseconds(alone.usual),
            "0 errors",
        ]));
    }
    Ok(Part { tables: vec![rows], note: NOTE })
}

const NOTE: &str = "Step: requests at fixed times on a connection each, whether those before have an answer or not, 5 seconds one each second and then 20 \
    seconds 500; milliseconds from the time that a request was meant for. Steady: from when on the 99 % of 5 windows of 200 ms one after the other is \
    at most twice what is usual for the windows of the later half. Without a proxy: the same server and nobody in between, no limits.";

fn schedule(host: &str, path: &str) -> String {
    let mut lines = String::new();
    let mut phase = |from: u64, (rate, seconds): (u64, u64)| {
        for n in 0..rate * seconds {
            let _ = writeln!(lines, "{} {host} {path}", from * SECOND + n * SECOND / rate);
        }
    };
    phase(0, BEFORE);
    phase(BEFORE.1, AFTER);
    lines
}

/// What the server does when nobody is in between.
fn without(home: &Home, path: &str) -> Result<Vec<Answer>> {
    let backend = Backend::start(home, None)?;
    home.ask(backend.port, &schedule("web.test", path))
}

/// How the windows after the step went.
struct Step {
    steady_after: Option<f64>,
    usual: f64,
    worst: f64,
}

impl Step {
    fn of(answers: &[Answer]) -> Self {
        let began = (BEFORE.1 * 1000) as f64;
        let count = (AFTER.1 as f64 * 1000.0 / WINDOW) as usize;
        let mut windows = vec![Samples::default(); count];
        for answer in answers.iter().filter(|answer| answer.fine && answer.at >= began) {
            if let Some(window) = windows.get_mut(((answer.at - began) / WINDOW) as usize) {
                window.extend([answer.first]);
            }
        }
        let most: Vec<f64> = windows.iter().map(|window| window.quantile(0.99)).collect();
        Self::of_windows(&most)
    }

    fn of_windows(most: &[f64]) -> Self {
        let part = |from: usize, to: usize| {
            let mut samples = Samples::default();
            samples.extend(most[most.len() * from / 4..most.len() * to / 4].iter().copied());
            samples
        };
        let usual = part(2, 4).median();
        let grows = part(3, 4).median() > GROWN * part(1, 2).median();
        let steady = most.windows(IN_A_ROW).position(|row| row.iter().all(|m| *m <= STEADY * usual));
        let steady_after = steady.filter(|_| !grows).map(|at| at as f64 * WINDOW / 1e3);
        Self { steady_after, usual, worst: part(0, 4).quantile(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_steady_from_when_it_stays_so() {
        let mut most = vec![90.0, 2.0, 40.0];
        most.extend([2.0; 20]);
        let step = Step::of_windows(&most);
        assert_eq!((step.steady_after, step.usual, step.worst), (Some(0.6), 2.0, 90.0));
    }

    #[test]
    fn a_queue_that_grows_is_never_steady() {
        let most: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(Step::of_windows(&most).steady_after, None);
    }

    #[test]
    fn the_schedule_has_all_requests_in_order() {
        let text = schedule("a", "/");
        let times: Vec<u64> = text.lines().filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
        assert_eq!(times.len() as u64, BEFORE.0 * BEFORE.1 + AFTER.0 * AFTER.1);
        assert!(times.is_sorted());
    }
}
