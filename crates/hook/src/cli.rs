//! The command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use spec::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  tsubo script types > tsubo.d.luau               what editors complete from
  tsubo script run hooks.luau#grow --container web
  tsubo script test hooks_test.luau
  tsubo script repl
";

/// Scripts and hooks. `tsubo` and the keepers of containers execute this.
#[derive(Debug, Parser)]
#[command(name = "tsubo-hook", bin_name = "tsubo script", version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Do one hook: a firing as JSON comes in, its outcome as JSON goes out
    Fire,
    /// Compute a definition: prints its table, the files it needs and the facts it saw, as JSON
    #[command(
        after_help = "Examples:\n  tsubo-hook eval tsubo.luau\n  tsubo-hook eval --set url=http://127.0.0.1/ tsubo.luau\n"
    )]
    Eval {
        /// A value that the definition finds in `flags`
        #[arg(long, value_name = "KEY=VALUE", value_parser = flag)]
        set: Vec<(String, String)>,
        /// The definition
        file: PathBuf,
    },
    /// Check scripts of hooks, and print their texts and those of all they require, as JSON
    #[command(after_help = "Examples:\n  tsubo-hook bundle . hooks.luau#warm_up other.luau\n")]
    Bundle {
        /// The folder of the definition
        directory: PathBuf,
        /// Scripts in it, and the functions that must be there: FILE or FILE#FUNCTION
        files: Vec<String>,
    },
    /// Print the type definitions that editors need for completion
    Types,
    /// Try a hook: nothing is changed, and what would be is shown
    #[command(
        after_help = "Examples:\n  tsubo script run hooks.luau#grow --container web\n  tsubo script run hooks.luau#grow --record firing.json\n  tsubo script run hooks.luau#grow --container web --live\n"
    )]
    Run(crate::try_out::Args),
    /// Call the functions test_… of scripts, with a container that is only played
    #[command(after_help = "Examples:\n  tsubo script test hooks_test.luau\n")]
    Test {
        /// Scripts
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Evaluate line after line
    Repl,
    /// Answer what a gateway asks: a question as JSON on each line of input, an answer on each of output
    #[command(
        after_help = "Examples:\n  echo '{\"queued\":7,\"wanted\":2}' | tsubo script policy scale.luau\n  echo '{\"wanted\":2}' | tsubo script policy scale.luau#of_the_shop\n"
    )]
    Policy {
        /// FILE, which returns a function or { policy = … }, or FILE#FUNCTION
        script: String,
    },
    /// Do what a keeper that has ended has left to hooks
    #[command(hide = true)]
    Last,
    /// Run commands one after the other, as a hook that has ended has asked for
    #[command(hide = true)]
    FollowUp,
}

fn flag(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
        Error::user(format!("{text:?} is no value")).hint("as in --set url=http://127.0.0.1/")
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs it; the code is the process's exit code.
pub(crate) fn run() -> u8 {
    // A keeper has all blocked, which is inherited: our own timer is a signal, and programs expect none to be.
    sys::signal::unblock_all();
    let mut words = std::env::args_os().skip(1);
    // What keepers start has no time for anything that it does not need.
    if words.next().is_some_and(|word| word == "fire") && words.next().is_none() {
        return told(crate::fire::run());
    }
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(std::io::stderr(), "error: a defect of tsubo-hook: {panic}");
        sys::process::exit_now(125);
    }));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { 125 } else { 0 };
        }
    };
    told(match args.mode {
        Mode::Fire => crate::fire::run(),
        Mode::Eval { set, file } => crate::eval::run(&file, &set),
        Mode::Bundle { directory, files } => crate::bundle::run(&directory, &files),
        Mode::Types => line(script::TYPES.trim_end()),
        Mode::Run(args) => crate::try_out::run(&args),
        Mode::Test { files } => crate::test::run(&files),
        Mode::Repl => crate::repl::run(),
        Mode::Policy { script } => crate::policy::run(&script),
        Mode::Last => crate::last::run(),
        Mode::FollowUp => crate::follow_up::run(),
    })
}

/// The exit code, with the error where people read it.
fn told(result: Result<()>) -> u8 {
    let Err(error) = result else { return 0 };
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "error: {}", error.chain());
    error.hints().iter().for_each(|hint| _ = writeln!(out, "  hint: {hint}"));
    error.kind().exit_code()
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(|cause| Error::io("writing output", cause))
}
