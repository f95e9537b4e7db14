//! `tsubo import-haco`: from Haconiwa's definitions to ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use spec::{Error, Result, ResultExt};
use workshop::haconiwa::{self, Asked, Imported, Note, words::Origin};
use workshop::interrupt::Interrupt;

use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo import-haco web.haco                      write tsubo.toml here, and hooks.luau where there are hooks
  tsubo import-haco web.haco -o services/web      write them there
  tsubo import-haco web.haco --env STAGE=prod     the definition reads ENV['STAGE']

The file is a program: it is run once, by the mruby of this host (apt-get install mruby), in a throw-away container
without network, files or privilege. What has no counterpart is told, and listed in the file. A file that defines several
containers becomes one folder each. docs/haconiwa.md has each of Haconiwa's words and ours.
";

/// Turn a Haconiwa definition into a tsubo.toml and hooks to be written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The definition
    #[arg(value_name = "FILE.haco")]
    pub file: PathBuf,

    /// The folder to write to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,

    /// A variable that the definition reads from ENV
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<String>,

    /// Seconds that the definition may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub time: u64,

    /// Write over files that are there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

fn variable(text: &str) -> Result<String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::user(format!("{text:?} is no variable")).hint("as in --env STAGE=prod")),
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<u8> {
    let interrupt = Interrupt::install()?;
    let asked = Asked { file: &args.file, env: &args.env, time: Duration::from_secs(args.time) };
    let record = haconiwa::record(&asked, &interrupt)?;
    let origin = origin(&args.file)?;
    let all = haconiwa::imported(&record, &origin)?;
    let files = files(&all, &args.output);
    write(&files, args.force)?;
    if args.format.is_json() {
        return ui::json(&told(&all, &args.output)).map(|()| 0);
    }
    for (file, _) in &files {
        ui::line(file.display().to_string());
    }
    let mut notes: Vec<&Note> = all.iter().flat_map(|one| &one.notes).collect();
    notes.sort();
    notes.dedup();
    for note in notes {
        let place = note.line.map_or_else(String::new, |line| format!(":{line}"));
        eprintln!("note: {}{place}: {}", origin.name, note.text.replace(char::is_control, " "));
    }
    Ok(0)
}

fn origin(file: &Path) -> Result<Origin> {
    let whole = fs::canonicalize(file).doing(|| format!("finding {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Origin { name, folder: whole.parent().unwrap_or(Path::new("/")).to_owned() })
}

/// Where one of several is written.
fn folder(all: &[Imported], one: &Imported, output: &Path) -> PathBuf {
    if all.len() == 1 { output.to_owned() } else { output.join(&one.name) }
}

fn files<'a>(all: &'a [Imported], output: &Path) -> Vec<(PathBuf, &'a str)> {
    let each = |one: &'a Imported| {
        let folder = folder(all, one, output);
        let hooks = one.hooks.as_ref().map(|text| (folder.join("hooks.luau"), text.as_str()));
        std::iter::once((folder.join("tsubo.toml"), one.definition.as_str())).chain(hooks)
    };
    all.iter().flat_map(each).collect()
}

/// All or none, as far as it is known beforehand.
fn write(files: &[(PathBuf, &str)], force: bool) -> Result<()> {
    if let Some((there, _)) = files.iter().find(|(file, _)| !force && fs::symlink_metadata(file).is_ok()) {
        return Err(Error::conflict(format!("{} is there already", there.display()))
            .hint("write elsewhere with -o DIR, or over it with --force"));
    }
    for (file, text) in files {
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(file, text)).doing(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn told(all: &[Imported], output: &Path) -> serde_json::Value {
    let one = |one: &Imported| {
        let folder = folder(all, one, output);
        let hooks = one.hooks.as_ref().map(|_| folder.join("hooks.luau"));
        json!({ "name": one.name, "definition": folder.join("tsubo.toml"), "hooks": hooks, "notes": one.notes })
    };
    json!(all.iter().map(one).collect::<Vec<_>>())
}
