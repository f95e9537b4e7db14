//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use gateway::holder;
use gateway::worker::{self, Orders};
use lifecycle::Home;
use spec::{Error, Result, ResultExt};

/// Start services when they are called. `tsubo gateway` executes this.
#[derive(Debug, Parser)]
#[command(name = "tsubo gateway", bin_name = "tsubo gateway", version)]
struct Args {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/tsubo/gateway.toml")]
    config: PathBuf,

    /// We are the one that serves, and standard input leads to the one that holds the sockets
    #[arg(long, hide = true)]
    worker: bool,
}

/// Runs it; the code is the process's exit code.
pub(crate) fn run() -> u8 {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { 125 } else { 0 };
        }
    };
    match serve(&args) {
        Ok(code) => code,
        Err(error) => {
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "error: {}", error.chain());
            error.hints().iter().for_each(|hint| _ = writeln!(out, "  hint: {hint}"));
            error.kind().exit_code()
        }
    }
}

fn serve(args: &Args) -> Result<u8> {
    let own = lifecycle::rootless::enter()?;
    let root = args.root.as_deref().map(absolute).transpose()?;
    let home = Home::open(root.as_deref(), own.as_ref())?;
    let config = std::path::absolute(&args.config).doing(|| "asking for the current folder")?;
    if args.worker {
        return worker::run(&Orders { home, config, held: true }).map(|()| 0);
    }
    let program = std::env::current_exe().map_err(|cause| Error::io("looking for our own program", cause))?;
    holder::hold(&home, &|| {
        let mut command = Command::new(&program);
        command.arg("--worker").arg("--config").arg(&config);
        if let Some(root) = &root {
            command.arg("--root").arg(root);
        }
        // Threads that come and go do not each keep memory for themselves.
        command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=2");
        command
    })
}

fn absolute(root: &std::path::Path) -> Result<PathBuf> {
    let making = || format!("making the state directory {}", root.display());
    std::fs::create_dir_all(root).doing(making)?;
    std::fs::canonicalize(root).doing(making)
}
