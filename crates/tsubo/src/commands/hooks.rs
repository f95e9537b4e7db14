//! `tsubo hooks`: which hooks a container has, how they went, and what they said.

use lifecycle::{Containers, hooks};
use serde_json::{Value, json};
use spec::Result;
use spec::hooks::{Act, Hook};

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo hooks web                                 when each is done, how often it was, how it went last
  tsubo hooks --log web                           what they have said
  tsubo hooks --format json web
  tsubo signal web USR1                           does those of a signal now
";

/// Show the hooks of a container, how they went, and what they may reach.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show what they have said instead
    #[arg(long)]
    pub log: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,

    /// Name or id of the container
    pub name: String,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let container = Containers::of(&place.home()?).find(&args.name)?;
    if args.log {
        show_log(&hooks::log(container.dir()), args.format.is_json())?;
        return Ok(0);
    }
    let past = hooks::past(container.dir())?;
    let given = container.record().spec.hooks.clone().unwrap_or_default();
    if args.format.is_json() {
        let each = given.list.iter().map(|hook| json!({ "hook": hook, "past": past.get(&hook.name) }));
        ui::json(&json!({ "hooks": each.collect::<Vec<Value>>(), "allow": given.allow }))?;
        return Ok(0);
    }
    let mut table = ui::table::new(&["NAME", "WHEN", "WHAT", "TIMES", "FAILED", "LAST", "TOOK"]);
    for hook in &given.list {
        let past = past.get(&hook.name).cloned().unwrap_or_default();
        let last =
            past.why.as_ref().map_or_else(|| past.outcome.clone(), |why| format!("{}: {why}", past.outcome));
        table.add_row([
            hook.name.clone(),
            hook.when.to_string(),
            ui::table::one_line(&what(hook)),
            past.times.to_string(),
            past.failures.to_string(),
            ui::table::one_line(if past.times == 0 { "-" } else { &last }),
            if past.times == 0 { "-".to_owned() } else { format!("{} ms", past.milliseconds) },
        ]);
    }
    ui::table::print(&table);
    let allowed = given.allow.words();
    if !allowed.is_empty() {
        ui::line(format!("they may reach: {}", allowed.join(", ")));
    }
    Ok(0)
}

fn what(hook: &Hook) -> String {
    match &hook.act {
        Act::Program(argv) => argv.join(" "),
        Act::Script { file, function, definition: false } => format!("{file}#{function}"),
        Act::Script { file, .. } => file.clone(),
    }
}

/// Each line begins with its time in milliseconds.
fn show_log(text: &str, is_json: bool) -> Result<()> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let lines = lines.filter_map(|(time, said)| Some((time.parse::<i64>().ok()?, said)));
    if is_json {
        let each = lines.map(|(time, said)| json!({ "time_ms": time, "line": said }));
        return ui::json(&each.collect::<Vec<_>>());
    }
    for (time, said) in lines {
        let time =
            jiff::Timestamp::from_millisecond(time).map(|time| format!("{time:.3}")).unwrap_or_default();
        ui::line(format!("{time} {said}"));
    }
    Ok(())
}
