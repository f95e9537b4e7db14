//! `tsubo sampler`: keep the figures of the last day.

use lifecycle::history::Sampler;
use spec::Result;

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo sampler &                                 from a shell, until it is killed
  tsubo generate sampler-unit > /etc/systemd/system/tsubo-sampler.service
  systemctl enable --now tsubo-sampler
  tsubo history web                               what it has seen

Every five seconds it looks who has done anything, and writes what that was into a file of fixed size in
the container's directory: 10 minutes in steps of 5 seconds, a day in steps of a minute. It may be killed
at any time. No container depends on it; with it, load averages are known from the first look on.
";

/// Keep the figures of the last day of all containers; runs until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Tell what each step has done
    #[arg(short, long)]
    pub verbose: bool,

    /// End after so many steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let mut sampler = Sampler::new(&place.home()?)?;
    // What is wrong is told when it begins, not every five seconds.
    let mut failing = false;
    for step in 1.. {
        let done = sampler.step();
        match &done {
            Ok(work) if args.verbose => ui::line(format!(
                "{} running, {} read, {} samples written",
                work.running, work.read, work.written
            )),
            Err(error) if !failing => ui::error::show(error),
            _ => {}
        }
        failing = done.is_err();
        if args.steps == Some(step) {
            break;
        }
        std::thread::sleep(sampler.pause());
    }
    Ok(0)
}
