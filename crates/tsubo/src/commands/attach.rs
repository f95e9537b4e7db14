//! `tsubo attach`: look on at a running container from a terminal, and type.

use lifecycle::Containers;
use spec::Result;

use super::Place;
use super::terminal_flags::TerminalFlags;

const EXAMPLES: &str = "\
Examples:
  tsubo attach web                                what it says from now on; Ctrl-C is for it
  tsubo attach --no-stdin --sig-proxy=false web   only look on; Ctrl-C ends the looking
  tsubo run -dit --name box image sh; tsubo attach box

Ctrl-P Ctrl-Q leaves a terminal and what runs on it goes on. Input reaches containers that were
made with -i. Several may be attached; one that does not read misses what comes, and holds up
neither the container nor the others. The exit code is the container's, or 0 after leaving.
";

/// Look on at a running container, and type if it takes input.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Do not pass our standard input on
    #[arg(long)]
    pub no_stdin: bool,

    #[command(flatten)]
    pub terminal: TerminalFlags,

    /// Name or id of the container
    pub name: String,
}

/// Runs the verb; the code is the container's.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let container = Containers::of(&place.home()?).find(&args.name)?;
    let session = args.terminal.apply(container.take_part(!args.no_stdin)?)?;
    Ok(session.relay()?.clamp(0, 255) as u8)
}
