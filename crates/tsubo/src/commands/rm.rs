//! `tsubo rm`: remove containers.

use lifecycle::Containers;
use spec::{ErrorKind, Result};

use super::Place;
use crate::ui;

/// Remove containers with their logs; with --volumes their declared volumes too; with --dev development containers.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo rm web\n  tsubo rm -f web                end it first if it runs; also removes one that cannot be read\n  tsubo rm -v db                 also the data in its declared volumes, for ever\n  tsubo rm --dev web             remove the development container, with what was built in it\n"
)]
pub struct Args {
    /// End it first if it runs; remove it even if its record cannot be read
    #[arg(short, long)]
    pub force: bool,

    /// Also remove their declared volumes, which otherwise wait for the next container of the name
    #[arg(short, long, conflicts_with = "dev")]
    pub volumes: bool,

    /// Remove development containers instead
    #[arg(long)]
    pub dev: bool,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    let developments = place.developments()?;
    super::for_each(&args.names, |name| {
        if args.dev {
            developments.remove(&name.parse()?)?;
        } else {
            let full = containers.find(name).ok().map(|container| container.name().clone());
            let removed = containers.remove(name, args.force).map_err(|error| match name.parse() {
                Ok(parsed) if developments.exists(&parsed) => error.hint(format!(
                    "there is a development container {name}; to remove it: tsubo rm --dev {name}"
                )),
                _ => error,
            });
            // Volumes may also be left by a container that went by itself (run --rm).
            let left = full.or_else(|| name.parse().ok()).filter(|_| args.volumes);
            match (removed, left) {
                (Err(error), Some(left)) if error.kind() == ErrorKind::NotFound => {
                    if !containers.remove_volumes(&left)? {
                        return Err(error);
                    }
                }
                (removed, left) => {
                    removed?;
                    left.map(|left| containers.remove_volumes(&left)).transpose()?;
                }
            }
        }
        ui::line(name);
        Ok(())
    })
}
