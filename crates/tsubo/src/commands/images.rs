//! `tsubo images`: list installed images.

use serde_json::json;
use spec::Result;

use super::Place;
use crate::ui;

/// List installed images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo images\n  tsubo images --format json\n")]
pub struct Args {
    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let store = place.store()?;
    let images = store.images()?;
    for damaged in store.damaged()? {
        let digest = damaged.digest.short();
        ui::error::warn(&format!(
            "image {digest}: {}; install it again, or tsubo rmi {digest}",
            damaged.error
        ));
    }
    if args.format.is_json() {
        let rows = images.iter().map(|image| {
            json!({ "name": image.name, "digest": image.digest, "files": image.files, "bytes": image.bytes,
                "installed": image.installed, "command": image.portable.command, "tree": image.tree })
        });
        ui::json(&rows.collect::<Vec<_>>())?;
        return Ok(0);
    }
    let mut table = ui::table::new(&["NAME", "DIGEST", "FILES", "SIZE", "INSTALLED", "COMMAND"]);
    for image in &images {
        table.add_row([
            image.name.to_string(),
            image.digest.short(),
            image.files.to_string(),
            ui::size(image.bytes),
            ui::age(image.installed),
            image.portable.command.join(" "),
        ]);
    }
    ui::table::print(&table);
    Ok(0)
}
