//! `tsubo boot`: start what restart policies ask for after the machine has started.

use lifecycle::{Container, Containers};
use spec::{Result, life::Restart};

use super::{Place, start};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo boot --list                               what would be started
  tsubo boot                                      once, from a boot unit

always starts whatever has ended, unless-stopped what nobody had stopped by hand, on-failure what
had failed or was running when the machine went down. As a unit of systemd:

  [Unit]
  Description=Containers with a restart policy
  After=network-online.target local-fs.target
  Wants=network-online.target

  [Service]
  Type=oneshot
  RemainAfterExit=yes
  KillMode=process
  ExecStart=/usr/bin/tsubo boot

  [Install]
  WantedBy=multi-user.target
";

/// Start the ended containers whose restart policy asks for it; for a boot unit.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only show which ones
    #[arg(long)]
    pub list: bool,
}

/// Runs the verb. One failure does not keep the others from being started.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?).list()?;
    let mut due: Vec<(String, Container)> = Vec::new();
    for container in containers {
        if container.record().life.restart != Restart::No && container.is_due()? {
            due.push((container.name().to_string(), container));
        }
    }
    let names: Vec<String> = due.iter().map(|(name, _)| name.clone()).collect();
    super::for_each(&names, |name| {
        if let (false, Some((_, container))) = (args.list, due.iter().find(|(own, _)| own == name)) {
            container.start_again(start::launch(container, false))?;
        }
        ui::line(name);
        Ok(())
    })
}
