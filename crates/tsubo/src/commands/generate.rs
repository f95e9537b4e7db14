//! `tsubo generate`: shell completions, the manual page, the schema of tsubo.toml.

use clap::{CommandFactory, ValueEnum};
use spec::{Error, Result};

use crate::cli::Cli;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo generate bash > /etc/bash_completion.d/tsubo
  tsubo generate zsh > ~/.zfunc/_tsubo
  tsubo generate man > /usr/local/share/man/man1/tsubo.1
  tsubo generate schema > tsubo.schema.json
  tsubo generate sampler-unit > /etc/systemd/system/tsubo-sampler.service
";

const SAMPLER_UNIT: &str = "\
[Unit]
Description=Figures of containers
After=local-fs.target

[Service]
ExecStart=/usr/bin/tsubo sampler
Restart=on-failure
Nice=10

[Install]
WantedBy=multi-user.target
";

/// Print shell completions, the manual page, or the JSON schema of tsubo.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to print
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Man,
    Schema,
    /// A unit of systemd that runs the sampler
    SamplerUnit,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<u8> {
    let shell = match args.what {
        What::Bash => clap_complete::Shell::Bash,
        What::Zsh => clap_complete::Shell::Zsh,
        What::Fish => clap_complete::Shell::Fish,
        What::Elvish => clap_complete::Shell::Elvish,
        What::Man => return manual(),
        What::SamplerUnit => {
            ui::print(SAMPLER_UNIT);
            return Ok(0);
        }
        What::Schema => {
            ui::print(&spec::definition::Definition::schema());
            return Ok(0);
        }
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tsubo", &mut text);
    ui::print(&String::from_utf8_lossy(&text));
    Ok(0)
}

fn manual() -> Result<u8> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut text)
        .map_err(|cause| Error::io("writing the manual page", cause))?;
    ui::print(&String::from_utf8_lossy(&text));
    Ok(0)
}
