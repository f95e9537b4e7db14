//! `tsubo script`: try scripts of hooks, and what editors need for them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use spec::{Error, Result};

use super::Place;

/// Try scripts of hooks, test them, and print type definitions for editors.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// run, test, repl or types, and their words (tsubo script --help)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub words: Vec<OsString>,
}

impl Args {
    /// Whether it looks at a container.
    pub fn is_about_containers(&self) -> bool {
        self.words.first().is_some_and(|word| word == "run")
    }
}

/// Executes the program that knows scripts: what starts containers does not carry it.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let program = lifecycle::hooks::program()?;
    let mut command = Command::new(&program);
    command.args(&args.words);
    if let (Some(root), true) = (place.root(), args.is_about_containers()) {
        command.arg("--root").arg(root);
    }
    let cause = command.exec();
    Err(Error::io(format!("executing {}", program.display()), cause))
}
