//! `tsubo rmi`: remove installed images.

use lifecycle::Containers;
use spec::{Error, Result};

use super::Place;
use crate::ui;

/// Remove installed images, and the files that no other image shares.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo rmi web\n  tsubo rmi 3f2a9c81d0b4\n")]
pub struct Args {
    /// Names or digests of images
    #[arg(required = true)]
    pub images: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let store = place.store()?;
    let containers = Containers::of(&place.home()?);
    let _images = containers.hold_images()?;
    for name in &args.images {
        let image = store.image(name)?;
        let uses = |container: &lifecycle::Container| super::path::tree_of(container) == image.tree;
        let all = containers.list()?;
        let users: Vec<&str> = all.iter().filter(|one| uses(one)).map(|one| one.name().as_str()).collect();
        if !users.is_empty() {
            return Err(Error::conflict(format!("image {} is used by {}", image.name, users.join(", ")))
                .hint(format!("remove these containers first: tsubo rm -f {}", users.join(" "))));
        }
        let freed = store.remove(&image)?;
        ui::line(format!(
            "{} {}: {} files, {} freed",
            image.name,
            image.digest.short(),
            freed.files,
            ui::size(freed.bytes)
        ));
    }
    Ok(0)
}
