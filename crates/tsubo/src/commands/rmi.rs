//! `tsubo rmi`: remove installed images.

use std::path::Path;

use lifecycle::{Container, Containers};
use spec::{Error, ErrorKind, Result};
use store::Store;

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
    args.images.iter().try_for_each(|name| remove(&store, &containers, name))?;
    Ok(0)
}

/// Removes the image of this name or digest, damaged ones by digest.
fn remove(store: &Store, containers: &Containers, name: &str) -> Result<()> {
    let (called, freed) = match store.image(name) {
        Ok(image) => {
            refuse_if_used(containers, &image.tree, image.name.as_str())?;
            (format!("{} {}", image.name, image.digest.short()), store.remove(&image)?)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let damaged = store.damaged_image(name)?.ok_or(error)?;
            let digest = damaged.digest.short();
            refuse_if_used(containers, &damaged.tree, &digest)?;
            (format!("{digest} (damaged)"), store.remove_damaged(&damaged)?)
        }
        Err(error) => return Err(error),
    };
    ui::line(format!("{called}: {} files, {} freed", freed.files, ui::size(freed.bytes)));
    Ok(())
}

/// Refuses where a container is made of this tree.
pub(super) fn refuse_if_used(containers: &Containers, tree: &Path, called: &str) -> Result<()> {
    let all = containers.list()?;
    let uses = |container: &&Container| super::path::tree_of(container) == tree;
    let users: Vec<&str> = all.iter().filter(uses).map(|one| one.name().as_str()).collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("image {called} is used by {}", users.join(", ")))
        .hint(format!("remove these containers first: tsubo rm -f {}", users.join(" "))))
}
