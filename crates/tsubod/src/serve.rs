//! `tsubo gateway`: serve.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use gateway::holder;
use gateway::worker::{self, Orders, Plan};
use lifecycle::Home;
use spec::{Error, Result, ResultExt};

/// What is served, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: /etc/tsubo/gateway.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "package")]
    config: Option<PathBuf>,

    /// Without a configuration: where requests for PACKAGE come in
    #[arg(long, value_name = "IP:PORT", requires = "package")]
    listen: Vec<SocketAddr>,

    /// Without a configuration: the one package that answers all requests
    #[arg(value_name = "PACKAGE", requires = "listen")]
    package: Option<String>,

    /// We are the one that serves, and standard input leads to the one that holds the sockets
    #[arg(long, hide = true)]
    worker: bool,
}

/// Where it is if nobody says.
const USUAL: &str = "/etc/tsubo/gateway.toml";

/// Serves until it is told to end.
pub(crate) fn run(args: &Args, home: Home, root: Option<PathBuf>) -> Result<u8> {
    let plan = plan(args)?;
    if args.worker {
        return worker::run(&Orders { home, plan, held: true }).map(|()| 0);
    }
    let program = std::env::current_exe().map_err(|cause| Error::io("looking for our own program", cause))?;
    holder::hold(&home, &|| {
        let mut command = Command::new(&program);
        command.arg("--worker");
        match &plan {
            Plan::File(config) => {
                command.arg("--config").arg(config);
            }
            Plan::One { listen, package } => {
                for at in listen {
                    command.arg("--listen").arg(at.to_string());
                }
                command.arg(package);
            }
        }
        if let Some(root) = &root {
            command.arg("--root").arg(root);
        }
        // Threads that come and go do not each keep memory for themselves.
        command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=2");
        command
    })
}

fn plan(args: &Args) -> Result<Plan> {
    let absolute =
        |path: &std::path::Path| std::path::absolute(path).doing(|| "asking for the current folder");
    if let Some(package) = &args.package {
        let file = std::path::Path::new(package);
        let package = if file.is_file() { absolute(file)?.display().to_string() } else { package.clone() };
        return Ok(Plan::One { listen: args.listen.clone(), package });
    }
    let config = args.config.clone().unwrap_or_else(|| USUAL.into());
    absolute(&config).map(Plan::File)
}
