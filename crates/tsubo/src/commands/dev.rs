//! `tsubo dev`: make a development container, or run a command in it.

use lifecycle::Bind;
use spec::{Name, Result, RootPath};
use workshop::dev::base::Base;
use workshop::dev::enter;
use workshop::dev::{Development, Developments, curtain};
use workshop::interrupt::Interrupt;
use workshop::progress::Progress;

use super::{Place, run};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo dev web                                   a shell over this host's own root, copy on write
  tsubo dev web -- apt-get install -y nginx       install something; the host is not touched
  tsubo dev old --from debian:bullseye            another distribution, by mmdebstrap
  tsubo dev app --from rootfs.tar.zst             from a tar, an OCI layout or archive, a directory
  tsubo dev app -v $PWD:/src -- cp -r /src /srv   bring your own files
";

/// Make a development container if it is not there, then run a command or a shell in it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the development container
    pub name: Name,

    /// What to make it from: host, a directory, a tar, an OCI layout or archive, debian:SUITE, ubuntu:SUITE
    #[arg(long, value_name = "BASE")]
    pub from: Option<String>,

    /// Show this path of the host although it would be hidden (when the container is made)
    #[arg(long, value_name = "PATH")]
    pub see: Vec<RootPath>,

    /// Show a directory or file of the host inside
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]", value_parser = run::volume)]
    pub volumes: Vec<Bind>,

    /// The command; a shell if it is left out
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Runs the verb; the code is the command's.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let interrupt = Interrupt::install()?;
    let development = open_or_create(&place.developments()?, &args, &interrupt)?;
    let code = enter::enter(&development, args.command, &args.volumes, lifecycle::new_id()?, &interrupt)?;
    Ok(code.clamp(0, 255) as u8)
}

fn open_or_create(developments: &Developments, args: &Args, interrupt: &Interrupt) -> Result<Development> {
    if developments.exists(&args.name) && args.from.is_none() && args.see.is_empty() {
        return developments.open(&args.name);
    }
    let base = Base::parse(args.from.as_deref().unwrap_or("host"))?;
    let bar = ui::progress::Bar::new();
    bar.stage(&format!("making {} from {base}", args.name));
    let development = developments.create(&args.name, &base, args.see.clone(), interrupt, &bar)?;
    drop(bar);
    tell_hidden(&development)?;
    Ok(development)
}

/// Configuration files that are hidden are what people stumble over.
fn tell_hidden(development: &Development) -> Result<()> {
    if !development.record.is_over_host() {
        return Ok(());
    }
    let hidden = curtain::hidden_files(&development.veils()?);
    if !hidden.is_empty() {
        let shown: Vec<String> = hidden.iter().take(5).map(|path| path.display().to_string()).collect();
        let more = hidden.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        eprintln!(
            "hidden from {} because only root may read them: {}{more}; --see PATH shows one",
            development.record.name,
            shown.join(", ")
        );
    }
    Ok(())
}
