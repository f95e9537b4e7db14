//! `./x bench hooks`: what it takes to do a hook of each of a thousand containers every half minute.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

const COUNT: u32 = 1000;
const WATCHED: Duration = Duration::from_secs(90);
/// What starting them has stirred up.
const SETTLED: Duration = Duration::from_secs(15);
/// /proc counts in these.
const TICKS: f64 = 100.0;

/// As a governor of memory is written; the other has none.
const GOVERNOR: &str = r#"c:every("30s", function(ctx)
  ctx.state.times = (ctx.state.times or 0) + 1
  if (ctx.stats.memory.current or 0) > 1 * GiB then ctx.limits.memory = "1G" end
end, { jitter = "30s" })"#;

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let count = ask.count.unwrap_or(COUNT);
    let time = if ask.quick { WATCHED / 6 } else { WATCHED };
    let mut rows =
        vec![row(["hooks", "running", "seconds", "busy ms", "of one core", "hooks done", "ms for each"])];
    let mut idle = 0.0;
    for (name, hooks) in [("none", ""), ("every 30s jitter 30s", GOVERNOR)] {
        let package = build(&state, hooks)?;
        for number in 0..count {
            shell::unless_interrupted()?;
            state.quiet(&["run", "-d", "--name", &format!("h{number}"), &package])?;
        }
        std::thread::sleep(SETTLED);
        let (before, earlier, began) = (busy()?, done(&state), Instant::now());
        std::thread::sleep(time);
        shell::unless_interrupted()?;
        let (after, seconds) = (busy()?, began.elapsed().as_secs_f64());
        let done = done(&state).saturating_sub(earlier);
        let share = (after - before) / TICKS / seconds;
        idle = if hooks.is_empty() { share } else { idle };
        let each = (share - idle) * seconds * 1000.0 / f64::from(done.max(1));
        rows.push(row([
            name,
            &count.to_string(),
            &format!("{seconds:.0}"),
            &format!("{:.0}", share * seconds * 1000.0),
            &format!("{:.2} %", share * 100.0),
            &done.to_string(),
            &if done == 0 { "-".to_owned() } else { format!("{each:.2}") },
        ]));
        for number in 0..count {
            state.quiet(&["rm", "-f", &format!("h{number}")])?;
        }
    }
    let note = "All processor time of the machine: keepers, the processes of hooks, and whatever else it does; the first line is what \
        to take off. Each hook is a process, a machine and a script of its own, in which the figures of the container are read. \
        Goal: 1,000 containers with a hook every 30 s take less than 5 % of one core.";
    Ok(Findings {
        title: "Hooks: a script of each container every half minute",
        tables: vec![rows],
        notes: vec![note.into()],
    })
}

/// The package of a service that sleeps.
fn build(state: &State, hooks: &str) -> Result<String> {
    let folder = state.file(if hooks.is_empty() { "without" } else { "with" });
    fs::create_dir_all(&folder)?;
    let text = format!(
        "local c = tsubo.container(\"sleeper\")\nc.command = {{ \"/bin/busybox\", \"sleep\", \"100000\" }}\n{hooks}\nreturn c\n"
    );
    fs::write(folder.join("tsubo.luau"), text)?;
    state.quiet(&["build", &folder.to_string_lossy()])?;
    Ok(folder.join("sleeper.tsubo").to_string_lossy().into_owned())
}

/// Ticks that the machine was not idle for.
fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq
    Ok(fields.iter().take(3).sum::<f64>() + fields.iter().skip(5).take(2).sum::<f64>())
}

/// How many hooks the events tell of.
fn done(state: &State) -> u32 {
    let mut command: Command = state.tsubo(&["events", "--since", "1h", "--until", "0s", "--format", "json"]);
    let text = shell::read(&mut command).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"event\":\"hook\"") && line.contains("\"done\"")).count()
        as u32
}
