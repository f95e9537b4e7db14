//! `tsubo create`: make a container that is started later.

use spec::{Error, Result};

use super::{Place, run};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo create --name web web.tsubo               everything of tsubo run, but not started
  tsubo cp site.conf web:/srv/data/               put something in its volumes
  tsubo start web
";

/// Make a container from a package file or an installed image, without starting it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, mut_arg("detach", |flag| flag.hide(true)))]
// Else clap gives this the name of the group within.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pub run: run::Args,
}

/// Runs the verb; prints the name.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    if args.run.detach {
        return Err(
            Error::user("what is only created is not detached from").hint("tsubo run -d starts it too")
        );
    }
    let container = run::make(&args.run, place, true, None)?;
    ui::line(container.name().as_str());
    Ok(0)
}
