//! `tsubo contents`: what is in a package, what was cut, and why.

use std::path::PathBuf;

use serde_json::{Value, json};
use spec::limits::reasoning;
use spec::portable::Portable;
use spec::report::{Judged, Kept, Report};
use spec::{Digest, Error, Result, RootPath};
use store::package;

use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo contents web.tsubo                        the saving, by directory and by distribution package
  tsubo contents web.tsubo /etc/passwd            why this path was kept
  tsubo contents web.tsubo --list                 every path with its reason
  tsubo contents web.tsubo --format json
";

/// Show what is in a package, what was cut, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The package file
    pub file: PathBuf,

    /// Tell why this path was kept
    pub path: Option<RootPath>,

    /// List every path with its reason
    #[arg(long)]
    pub list: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<u8> {
    let info = package::read_info(&args.file)?;
    let report = info.report.ok_or_else(|| {
        Error::not_found(format!(
            "{} carries no report; it was lost on the way through a registry",
            args.file.display()
        ))
        .hint("the package itself is whole; the file that tsubo pack wrote has the report")
    })?;
    match &args.path {
        Some(path) => why(&report, path, args.format.is_json())?,
        None if args.format.is_json() => {
            ui::json(&summary(&report, &info.portable, info.packed_bytes, info.manifest))?
        }
        None if args.list => {
            report.kept.iter().for_each(|(path, kept)| ui::line(format!("{path}  {}", reason(kept))))
        }
        None => show(&report, &info.portable, info.packed_bytes),
    }
    Ok(0)
}

/// The JSON of a report with the figures of its package.
pub fn summary(report: &Report, portable: &Portable, packed_bytes: u64, digest: Digest) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    value["packed_bytes"] = json!(packed_bytes);
    value["digest"] = json!(digest);
    value["spec"] = json!(portable);
    value["forecast"] = json!(portable.used.as_ref().map(reasoning).unwrap_or_default());
    value
}

fn why(report: &Report, path: &RootPath, json: bool) -> Result<()> {
    let kept = report.kept.get(path).ok_or_else(|| {
        Error::not_found(format!("{path} is not in the package"))
            .hint("it was cut because nothing used it, or it was never there; --keep keeps it")
    })?;
    if json {
        return ui::json(kept);
    }
    ui::line(format!("{path}: {}", reason(kept)));
    Ok(())
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn reason(kept: &Kept) -> String {
    let how: Vec<String> = kept.how.iter().map(word).collect();
    let by: Vec<&str> = kept.by.iter().map(String::as_str).collect();
    let mut text = word(&kept.reason);
    if !how.is_empty() {
        text.push_str(&format!(" ({})", how.join(", ")));
    }
    if !by.is_empty() {
        text.push_str(&format!(" by {}", by.join(", ")));
    }
    if let Some(other) = &kept.because_of {
        text.push_str(&format!(" because of {other}"));
    }
    text
}

fn show(report: &Report, portable: &Portable, packed: u64) {
    ui::line(format!("{}: {}", portable.name, portable.command.join(" ")));
    ui::line(format!(
        "{} packed; {} files, {}; closure {}",
        ui::size(packed),
        report.files,
        ui::size(report.bytes),
        report.closure
    ));
    ui::line(format!(
        "cut from {} files, {}: {} remain\n",
        report.base_files,
        ui::size(report.base_bytes),
        share(report.bytes, report.base_bytes)
    ));
    let mut table = ui::table::new(&["DIRECTORY", "FILES", "OF", "SIZE", "OF"]);
    for row in report.directories.iter().filter(|row| row.files > 0) {
        table.add_row([
            row.path.to_string(),
            row.files.to_string(),
            row.base_files.to_string(),
            ui::size(row.bytes),
            ui::size(row.base_bytes),
        ]);
    }
    ui::table::print(&table);
    ui::line("");
    let mut table = ui::table::new(&["DISTRIBUTION PACKAGE", "FILES", "OF", "SIZE", "OF"]);
    for row in &report.distribution_packages {
        table.add_row([
            format!("{} {}", row.name, row.version),
            row.files.to_string(),
            row.base_files.to_string(),
            ui::size(row.bytes),
            ui::size(row.base_bytes),
        ]);
    }
    ui::table::print(&table);
    ui::line("");
    policy(report, portable).iter().for_each(ui::line);
    super::forecast::lines(portable, &report.curve).iter().for_each(ui::line);
    ui::line(format!(
        "cut: {} files, {}; {} of {} distribution packages whole",
        report.cut.files,
        ui::size(report.cut.bytes),
        report.cut.packages.len(),
        report.base_packages
    ));
}

/// What the service may do beyond its user, in words.
pub fn policy(report: &Report, portable: &Portable) -> Vec<String> {
    let Some(policy) = &portable.policy else {
        return vec!["policy: none; what suits any service holds".to_owned()];
    };
    let calls = match policy.syscalls.len() {
        0 => "the default system calls".to_owned(),
        seen => format!("{seen} system calls that were seen, and the base"),
    };
    let privilege = if portable.gain_privilege { "privilege may be gained by exec" } else { "no_new_privs" };
    let mut lines =
        vec![format!("policy: {}; {calls}; {privilege}", capabilities(policy.capabilities.len()))];
    let (kept, dropped): (Vec<_>, Vec<_>) = report.capabilities.iter().partition(|(_, judged)| judged.kept);
    lines.extend(kept.into_iter().map(|(name, judged)| format!("  {name}{}", judged_by(judged))));
    lines.extend(dropped.into_iter().map(|(name, judged)| format!("  not {name}{}", judged_by(judged))));
    lines
}

fn capabilities(count: usize) -> String {
    match count {
        0 => "no capability".to_owned(),
        1 => "1 capability".to_owned(),
        count => format!("{count} capabilities"),
    }
}

fn judged_by(judged: &Judged) -> String {
    let by: Vec<&str> = judged.by.iter().map(String::as_str).collect();
    match by.as_slice() {
        [] => format!(": {}", judged.why),
        by => format!(": checked for {}; {}", by.join(", "), judged.why),
    }
}

/// A share in per cent.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "all".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}
