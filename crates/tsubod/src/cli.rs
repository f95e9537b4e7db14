//! The command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lifecycle::Home;
use spec::{Result, ResultExt};

use crate::{check, serve, status};

const EXAMPLES: &str = "\
Examples:
  tsubo gateway --config gateway.toml             serve; Ctrl-C ends it with all instances
  tsubo gateway --listen 127.0.0.1:8080 web.tsubo one package, whatever name it is asked by
  tsubo gateway check gateway.toml                is it understood, is all there?
  tsubo gateway status                            services and their instances
  tsubo gateway status --format json

gateway.toml:
  [gateway]
  http = [\"0.0.0.0:80\"]
  https = [\"0.0.0.0:443\"]
  access_log = \"/var/log/tsubo-access.log\"

  [[certificate]]
  cert = \"/etc/ssl/shop.pem\"
  key = \"/etc/ssl/shop.key\"

  [service.shop]
  package = \"shop.tsubo\"                          # or the name of an installed image
  hosts = [\"shop.example\", \"*.shop.example\"]      # also with a path: shop.example/api
  network = { networks = [\"none\"] }               # reached from here only, and starts sooner
  [service.shop.activation]
  max = 4                                         # instances under load
  concurrency = 32                                # requests that one has at once
  idle = \"5m\"                                     # stopped after that; freeze = \"1m\"

  [service.cache]
  package = \"redis\"
  tcp = [\"127.0.0.1:6379\"]

TERM ends it and leaves instances to the next gateway; HUP reads the configuration again (as a change of the file does) and
begins the access log anew; USR2 lets another program take over without a request lost.
";

/// Start services when they are called.
#[derive(Debug, Parser)]
#[command(name = "tsubo gateway", bin_name = "tsubo gateway", version, after_help = EXAMPLES)]
#[command(subcommand_precedence_over_arg = true, subcommand_negates_reqs = true)]
struct Cli {
    /// The state directory
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,

    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Args),
    Status(status::Args),
}

/// Runs it; the code is the process's exit code.
pub(crate) fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { 125 } else { 0 };
        }
    };
    match obey(cli) {
        Ok(code) => code,
        Err(error) => {
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "error: {}", error.chain());
            error.hints().iter().for_each(|hint| _ = writeln!(out, "  hint: {hint}"));
            error.kind().exit_code()
        }
    }
}

fn obey(cli: Cli) -> Result<u8> {
    let checked = match &cli.verb {
        Some(Verb::Check(args)) => Some(check::read(args)?),
        _ => None,
    };
    let own = lifecycle::rootless::enter()?;
    let root = cli.root.map(absolute).transpose()?;
    let home = Home::open(root.as_deref(), own.as_ref())?;
    if let Some(config) = checked {
        return check::look(&config, &home);
    }
    match cli.verb {
        Some(Verb::Status(args)) => status::run(&args, &home),
        _ => serve::run(&cli.serve, home, root),
    }
}

fn absolute(root: PathBuf) -> Result<PathBuf> {
    let making = || format!("making the state directory {}", root.display());
    std::fs::create_dir_all(&root).doing(making)?;
    std::fs::canonicalize(&root).doing(making)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_one_also_behind_the_state_directory() {
        for words in
            [&["status"][..], &["--root", "r", "status"], &["status", "--root", "r", "--format", "json"]]
        {
            let cli = Cli::try_parse_from([&["tsubo gateway"], words].concat()).expect("understood");
            assert!(matches!(cli.verb, Some(Verb::Status(_))), "{words:?}");
        }
        let cli = Cli::try_parse_from(["tsubo gateway", "--listen", "127.0.0.1:80", "a.tsubo"])
            .expect("one package");
        assert!(cli.verb.is_none());
        assert!(Cli::try_parse_from(["tsubo gateway", "a.tsubo"]).is_err());
    }
}
