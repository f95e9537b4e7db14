//! `tsubo observation`: show, compare and merge what tests have seen.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use spec::limits::rounded;
use spec::observation::{Observation, PathUse, Used, Written};
use spec::{Error, Name, Result, ResultExt};
use workshop::trial::read_observation;

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo observation show web                      what the tests of web have seen
  tsubo observation show web.obs --format json
  tsubo observation diff monday.obs tuesday.obs   what only one of them used
  tsubo observation merge a.obs b.obs -o all.obs
";

/// Show, compare and merge what tests have seen.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every path with how it was used and by which program
    Show {
        /// A development container's name, or an observation file
        what: String,
        #[command(flatten)]
        format: ui::FormatArg,
    },
    /// List what only one of two observations used
    Diff {
        /// A development container's name, or an observation file
        old: String,
        /// Another
        new: String,
        #[command(flatten)]
        format: ui::FormatArg,
    },
    /// Add observations up into a file
    Merge {
        /// Names of development containers, or observation files
        #[arg(required = true, num_args = 2..)]
        what: Vec<String>,
        /// The file to write
        #[arg(short, long, value_name = "OBS")]
        output: PathBuf,
    },
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    match args.verb {
        Verb::Show { what, format } => show(&find(&what, place)?, format.is_json())?,
        Verb::Diff { old, new, format } => diff(&find(&old, place)?, &find(&new, place)?, format.is_json())?,
        Verb::Merge { what, output } => merge(&what, &output, place)?,
    }
    Ok(0)
}

/// A file if it looks like one or there is one, a container's observation otherwise.
fn find(what: &str, place: &Place) -> Result<Observation> {
    if what.contains('/') || Path::new(what).is_file() {
        return read_observation(Path::new(what));
    }
    let name: Name = what.parse()?;
    let developments = place.developments()?;
    if !developments.exists(&name) {
        return Err(Error::not_found(format!("there is neither a file nor a development container {name}"))
            .hint("tsubo ps -a lists the containers"));
    }
    let file = developments.path(&name).join("observation.json");
    if !file.exists() {
        return Err(Error::not_found(format!("{name} has not been tested yet"))
            .hint(format!("tsubo test {name} -- COMMAND")));
    }
    read_observation(&file)
}

fn show(observation: &Observation, json: bool) -> Result<()> {
    if json {
        return ui::json(observation);
    }
    for run in &observation.runs {
        ui::line(format!("run: {} ({} ms; {})", run.command.join(" "), run.millis, run.exercises.join("; ")));
        ui::line(format!("  used: {}", used(&run.used)));
    }
    let mut table = ui::table::new(&["PATH", "USED", "BY"]);
    for (path, used) in &observation.paths {
        table.add_row([path.to_string(), words(used), used.by.iter().cloned().collect::<Vec<_>>().join(" ")]);
    }
    ui::table::print(&table);
    for (path, written) in &observation.written {
        ui::line(format!("written: {path}  {}", how_written(written)));
    }
    for (capability, by) in &observation.capabilities {
        ui::line(format!("capability: {capability}  {}", by.iter().cloned().collect::<Vec<_>>().join(" ")));
    }
    if !observation.syscalls.is_empty() {
        let names: Vec<&str> = observation.syscalls.iter().map(String::as_str).collect();
        ui::line(format!("system calls: {}", names.join(" ")));
    }
    observation.warnings.iter().for_each(|warning| ui::line(format!("warning: {warning}")));
    Ok(())
}

/// What a run used, in words.
fn used(used: &Used) -> String {
    let cpu = |millis: u64| format!("{:.2} s", millis as f64 / 1000.0);
    format!(
        "memory {} at most and {} at rest, {} processes, {} open files, {} of processor time and {} in its busiest second, {} written",
        rounded(used.peak.memory),
        rounded(used.steady),
        used.peak.tasks,
        used.peak.files,
        cpu(used.cpu),
        cpu(used.busiest),
        rounded(used.written),
    )
}

fn words(used: &PathUse) -> String {
    let word = |how| {
        serde_json::to_value(how).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    used.how.iter().map(word).collect::<Vec<_>>().join(",")
}

fn how_written(written: &Written) -> String {
    match written {
        Written::Created { bytes } => format!("created, {}", ui::size(*bytes)),
        Written::Changed { bytes } => format!("changed, {}", ui::size(*bytes)),
        Written::Removed => "removed".to_owned(),
        Written::Entries => "names came or went in it".to_owned(),
    }
}

fn diff(old: &Observation, new: &Observation, json: bool) -> Result<()> {
    let only = |a: &Observation, b: &Observation| -> Vec<String> {
        a.paths.keys().filter(|path| !b.paths.contains_key(path)).map(ToString::to_string).collect()
    };
    let (mut gone, mut come) = (only(old, new), only(new, old));
    let (lost, gained) = (needs(old, new), needs(new, old));
    if json {
        return ui::json(&json!({
            "only_old": gone, "only_new": come, "needs_only_old": lost, "needs_only_new": gained,
        }));
    }
    gone.extend(lost);
    come.extend(gained);
    gone.iter().for_each(|path| ui::line(format!("- {path}")));
    come.iter().for_each(|path| ui::line(format!("+ {path}")));
    Ok(())
}

/// Capabilities and system calls that only `a` used.
fn needs(a: &Observation, b: &Observation) -> Vec<String> {
    let capabilities = a.capabilities.keys().filter(|name| !b.capabilities.contains_key(*name));
    let calls = a.syscalls.difference(&b.syscalls).map(|name| format!("system call {name}"));
    capabilities.cloned().chain(calls).collect()
}

fn merge(what: &[String], output: &Path, place: &Place) -> Result<()> {
    let mut all = what.iter().map(|what| find(what, place));
    let mut sum = all.next().ok_or_else(|| Error::user("nothing to merge"))??;
    for other in all {
        sum.merge(other?);
    }
    let text = serde_json::to_vec_pretty(&sum)
        .map_err(|cause| Error::internal("writing the observation").because(cause))?;
    std::fs::write(output, text).doing(|| format!("writing {}", output.display()))?;
    ui::line(format!("{}: {} runs, {} paths", output.display(), sum.runs.len(), sum.paths.len()));
    Ok(())
}
