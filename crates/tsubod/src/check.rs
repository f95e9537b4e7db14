//! `tsubo gateway check`: whether a configuration is understood.

use std::path::PathBuf;

use gateway::config::Config;
use spec::{Error, Result, ResultExt};

/// Say whether a configuration is understood; packages and certificates are not looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(value_name = "FILE", default_value = "/etc/tsubo/gateway.toml")]
    config: PathBuf,
}

/// Reads it, and does nothing else.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let path = std::path::absolute(&args.config).doing(|| "asking for the current folder")?;
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| Error::io(format!("reading {}", path.display()), cause))?;
    let config = Config::parse(&text, &path)?;
    println!("{} is understood: {} services", path.display(), config.services.len());
    Ok(0)
}
