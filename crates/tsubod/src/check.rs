//! `tsubo gateway check`: whether a configuration is understood.

use std::path::PathBuf;

use gateway::config::Config;
use gateway::examine::examine;
use lifecycle::Home;
use spec::{Error, Result, ResultExt};

/// Say whether a configuration is understood, and what would keep its services from being served: packages,
/// certificates, policies, services that nothing leads to. Nothing is started or installed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(value_name = "FILE", default_value = "/etc/tsubo/gateway.toml")]
    config: PathBuf,
}

/// Reads it: that takes no rights.
pub(crate) fn read(args: &Args) -> Result<Config> {
    let path = std::path::absolute(&args.config).doing(|| "asking for the current folder")?;
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| Error::io(format!("reading {}", path.display()), cause))?;
    let config = Config::parse(&text, &path)?;
    println!("{} is understood: {} services", path.display(), config.services.len());
    Ok(config)
}

/// Looks for everything that it names.
pub(crate) fn look(config: &Config, home: &Home) -> Result<u8> {
    let wrong = examine(home, config);
    for (who, error) in &wrong {
        println!("{who}: {}", error.chain());
        error.hints().iter().for_each(|hint| println!("  hint: {hint}"));
    }
    match wrong.len() {
        0 => Ok(0),
        count => Err(Error::user(format!("not all of it can be served: {count} mistakes"))),
    }
}
