//! `tsubo logs`: show what a container has said.

use std::io::Write;

use lifecycle::Containers;
use lifecycle::log::Line;
use spec::Result;
use spec::protocol::Stream;

use super::Place;

/// Show what a container has said; standard output and error go where they belong.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo logs web\n  tsubo logs -f web              follow it until it ends\n  tsubo logs -t --tail 20 web    the last 20 lines, with their time\n"
)]
pub struct Args {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,

    /// Show when each line was said
    #[arg(short, long)]
    pub timestamps: bool,

    /// Only so many of the last lines
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,

    /// Name or id of the container
    pub name: String,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let container = Containers::of(&place.home()?).find(&args.name)?;
    let mut skip = 0;
    if let Some(tail) = args.tail {
        let mut reader = container.logs();
        let mut lines = 0_usize;
        while reader.next_line()?.is_some() {
            lines += 1;
        }
        skip = lines.saturating_sub(tail);
    }
    let mut show = |line: &Line| {
        let wanted = skip == 0;
        skip = skip.saturating_sub(1);
        !wanted || write(line, args.timestamps).is_ok()
    };
    if args.follow {
        container.follow(&mut show)?;
    } else {
        let mut reader = container.logs();
        while let Some(line) = reader.next_line()? {
            if !show(&line) {
                break;
            }
        }
    }
    Ok(0)
}

/// Writes a line as it was said; a reader that has gone away ends the work.
fn write(line: &Line, timestamps: bool) -> std::io::Result<()> {
    let mut out: Box<dyn Write> = match line.stream {
        Stream::Out => Box::new(std::io::stdout().lock()),
        Stream::Error => Box::new(std::io::stderr().lock()),
    };
    if timestamps {
        write!(out, "{} ", line.time)?;
    }
    out.write_all(&line.text)?;
    out.flush()
}
