//! `tsubo top`: the processes of a running container; without a name, all containers on a screen.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

use lifecycle::{Containers, Process, Status};
use serde_json::{Value, json};
use spec::{Error, Result};

use super::{Place, sister};
use crate::ui;

/// The program that draws.
const SCREEN: &str = "tsubo-top";

/// Show all containers on a terminal screen; or the processes of one, with their numbers on the host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo top                      the screen: sort by keys, Enter for one in depth, q ends\n  tsubo top web\n  tsubo top web --format json | jq '.[].command'\n\nPID is the number on the host, IN the one in the container; MEMORY is what is resident.\n"
)]
pub struct Args {
    /// Name or id of the container; all of them on a screen, if none is given
    pub name: Option<String>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let Some(name) = &args.name else { return Err(screen(args, place)) };
    let container = Containers::of(&place.home()?).find(name)?;
    let Status::Running(state) = container.status()? else {
        return Err(Error::conflict(format!("container {} is not running", container.name()))
            .hint(format!("start it: tsubo start {}", container.name())));
    };
    let processes = state.top();
    if args.format.is_json() {
        ui::json(&processes.iter().map(value).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let mut table =
        ui::table::new(&["PID", "IN", "PARENT", "UID", "STATE", "MEMORY", "CPU", "AGE", "COMMAND"]);
    for process in &processes {
        table.add_row([
            process.pid.to_string(),
            process.inside.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            process.parent.to_string(),
            process.uid.to_string(),
            process.state.to_string(),
            ui::size(process.memory),
            format!("{:.2} s", process.cpu as f64 / 1000.0),
            format!("{} s", process.age / 1000),
            ui::table::one_line(&process.command),
        ]);
    }
    ui::table::print(&table);
    Ok(0)
}

/// Executes the program beside us that draws: what starts containers does not carry it. Returns only
/// where that cannot be done.
fn screen(args: &Args, place: &Place) -> Error {
    if args.format.is_json() || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Error::user(
            "tsubo top draws on a terminal; as JSON, or where there is none, it needs a name",
        )
        .hint("figures of all containers, as a table or as JSON: tsubo stats");
    }
    let cause = sister::command(SCREEN, place).exec();
    sister::missing(SCREEN, SCREEN, cause).hint("tsubo stats shows the same figures without it")
}

fn value(process: &Process) -> Value {
    json!({ "pid": process.pid, "inside": process.inside, "parent": process.parent, "uid": process.uid,
        "state": process.state, "memory": process.memory, "cpu_ms": process.cpu, "age_ms": process.age,
        "command": process.command })
}
