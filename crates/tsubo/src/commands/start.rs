//! `tsubo start`: start containers that were created, or have ended.

use lifecycle::{Container, Containers, Launch};
use spec::{Error, Result};

use super::Place;
use super::limit_flags::OvercommitFlag;
use super::terminal_flags::TerminalFlags;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo create --name web web.tsubo; tsubo start web
  tsubo start web db                              also when they have ended: same settings, same logs
  tsubo start -a job                              stay with it; the exit code is its own
";

/// Start containers that were created, or have ended, as they were made.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Stay with it: its output comes here, and our input goes to one that was made with -i
    #[arg(short, long)]
    pub attach: bool,

    #[command(flatten)]
    pub terminal: TerminalFlags,

    #[command(flatten)]
    pub overcommit: OvercommitFlag,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb. One failure does not keep the others from being started.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    if args.attach {
        let [name] = args.names.as_slice() else {
            return Err(
                Error::user("only one container can be attached to").hint("start the others without -a")
            );
        };
        let container = containers.find(name)?;
        let launch = Launch { overcommit: args.overcommit.overcommit, ..launch(&container, true) };
        let session = container.start_again(launch)?;
        return Ok(args.terminal.apply(session)?.relay()?.clamp(0, 255) as u8);
    }
    super::for_each(&args.names, |name| {
        let container = containers.find(name)?;
        // Starting what runs is no error, as with Docker.
        if !container.status()?.is_running() {
            let launch = Launch { overcommit: args.overcommit.overcommit, ..launch(&container, false) };
            container.start_again(launch)?;
        }
        ui::line(name);
        Ok(())
    })
}

/// As it was made.
pub fn launch(container: &Container, attached: bool) -> Launch {
    Launch { attached, input: container.record().life.input, ..Launch::default() }
}
