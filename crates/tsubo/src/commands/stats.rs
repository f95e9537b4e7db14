//! `tsubo stats`: what containers and their host use, as it changes.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use lifecycle::figures::{Snapshot, Survey};
use lifecycle::{Containers, Home};
use spec::{Error, Id, Name, Result};

use super::{Place, life_flags, stats_table};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo stats                                     live, who uses the processors most first
  tsubo stats --sort memory web db
  tsubo stats --no-stream --format json | jq '.containers[] | {name, cpu: .cpu.percent}'
  tsubo stats --format json >> figures.ndjson     a line for each second

CPU is per cent of one processor; HELD of the time, by a quota. MEMORY is the working set: all but the
page cache that was not used lately. WAITS are per cent of the last ten seconds in which somebody
waited for processor, memory and devices. LOAD counts tasks that run or wait for devices, over one
minute. A dash is a figure that this host does not have, or not yet. docs/figures.md explains all.
";

/// Show what containers and their host use, as it changes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    pub all: bool,

    /// Show it once, after one interval
    #[arg(long)]
    pub no_stream: bool,

    /// The time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// What comes first
    #[arg(long, value_enum, default_value_t, value_name = "FIGURE")]
    pub sort: Order,

    /// Names or ids of containers; all that run, if none is given
    pub names: Vec<String>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Who uses the processors most
    #[default]
    Cpu,
    /// Who uses most memory
    Memory,
    /// Who reads and writes most
    Io,
    /// Who has most tasks
    Pids,
    /// By name
    Name,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let chosen = Chosen::of(args, &home)?;
    let mut survey = Survey::of(&home);
    let mut look = || survey.look(&|name, id, running| chosen.wants(name, id, running));
    let terminal = std::io::stdout().is_terminal();
    let live = !args.no_stream && !args.format.is_json();
    if live && show(&look()?, args, terminal).is_err() {
        return Ok(0);
    }
    if !live {
        // Rates take two looks.
        look()?;
    }
    loop {
        std::thread::sleep(args.interval);
        let shown = show(&look()?, args, terminal);
        // Nobody may be there to read more.
        if args.no_stream || shown.is_err() {
            return Ok(0);
        }
    }
}

/// Which containers are shown.
struct Chosen {
    all: bool,
    named: Vec<(Name, Id)>,
}

impl Chosen {
    fn of(args: &Args, home: &Home) -> Result<Self> {
        let containers = Containers::of(home);
        let find = |name: &String| containers.find(name).map(|found| (found.name().clone(), found.id()));
        Ok(Self { all: args.all, named: args.names.iter().map(find).collect::<Result<_>>()? })
    }

    /// A new one of a name that was asked for is as good as the first.
    fn wants(&self, name: &Name, id: Id, running: bool) -> bool {
        match self.named.as_slice() {
            [] => running || self.all,
            named => named.iter().any(|(own, other)| own == name || *other == id),
        }
    }
}

fn show(snapshot: &Snapshot, args: &Args, terminal: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.format.is_json() {
        let text = match args.no_stream {
            true => serde_json::to_string_pretty(snapshot),
            false => serde_json::to_string(snapshot),
        };
        writeln!(out, "{}", text?)?;
        return out.flush();
    }
    let mut snapshot = snapshot.clone();
    stats_table::sort(&mut snapshot.containers, args.sort);
    let lines = stats_table::lines(&snapshot);
    if terminal && !args.no_stream {
        out.write_all(screen(&lines, lifecycle::terminal::size()).as_bytes())?;
    } else {
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        if !args.no_stream {
            writeln!(out)?;
        }
    }
    out.flush()
}

/// From the upper left corner, as much as there is room for: what was there before is written over.
fn screen(lines: &[String], size: Option<(u16, u16)>) -> String {
    let (rows, columns) = size.map_or((24, 80), |(rows, columns)| (usize::from(rows), usize::from(columns)));
    let room = rows.saturating_sub(2).max(3);
    let left = lines.len().saturating_sub(room);
    let more = (left > 0).then(|| format!("... and {left} more"));
    let mut text = "\x1b[H".to_owned();
    for line in lines.iter().take(room).chain(more.as_ref()) {
        text.extend(line.chars().take(columns));
        text.push_str("\x1b[K\n");
    }
    text + "\x1b[J"
}

fn interval(text: &str) -> Result<Duration> {
    let millis = life_flags::millis(text).map_err(Error::user)?;
    if millis < 100 {
        return Err(Error::user("an interval is at least 100ms"));
    }
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_terminal_shows_what_fits() {
        let lines: Vec<String> = (0..10).map(|number| format!("line {number}")).collect();
        let text = screen(&lines, Some((6, 6)));
        assert!(
            text.contains("line 3\x1b[K") && !text.contains("line 4") && text.contains("... an\x1b[K"),
            "{text:?}"
        );
        assert!(!screen(&lines, Some((24, 80))).contains("more"));
    }

    #[test]
    fn intervals_are_not_too_short() {
        assert!(interval("10ms").is_err() && interval("x").is_err());
        assert_eq!(interval("2s").expect("two"), Duration::from_secs(2));
    }
}
