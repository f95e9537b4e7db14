//! `tsubo spec`: what a definition says when it is read, or computed.

use std::path::PathBuf;

use serde_json::json;
use spec::hooks::Act;
use spec::{Error, Result};

use super::definition;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo spec                                      of the definition in this folder, as TOML
  tsubo spec tsubo.luau --set memory=64M          what it computes with a flag
  tsubo spec --format json
";

/// Show what a definition says, with everything that it computes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder with the definition, or the file itself
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub place: PathBuf,

    /// A value for a definition that computes, which reads it as flags.KEY
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<u8> {
    let defined = definition::load(&args.place, &args.set)?;
    if args.format.is_json() {
        ui::json(&json!({ "definition": defined.definition, "hooks": defined.hooks }))?;
        return Ok(0);
    }
    let text = toml::to_string(&defined.definition);
    ui::print(&text.map_err(|cause| Error::internal("writing TOML").because(cause))?);
    for hook in &defined.hooks.list {
        let what = match &hook.act {
            Act::Program(argv) => argv.join(" "),
            Act::Script { file, function, .. } => format!("{function} of {file}"),
        };
        ui::line(format!("# hook {:?}: {}: {what}", hook.name, hook.when));
    }
    Ok(0)
}
