//! `tsubo install`: install a package as an image.

use std::path::PathBuf;

use spec::Result;
use store::Install;
use workshop::progress::Progress;

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo install web.tsubo                         then: tsubo run -d web
  tsubo install --no-sync web.tsubo               faster; a power cut may undo it
";

/// Install a package as an image: verified, unpacked, its files shared with other images.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The package file
    pub file: PathBuf,

    /// Do not wait until the disk has it
    #[arg(long)]
    pub no_sync: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let store = place.store()?;
    let bar = ui::progress::Bar::new();
    bar.stage(&format!("installing {}", args.file.display()));
    let image =
        store.install(&args.file, Install { sync: !args.no_sync }, &|done, total| bar.amount(done, total))?;
    let took = bar.elapsed();
    drop(bar);
    if args.format.is_json() {
        ui::json(
            &serde_json::json!({ "name": image.name, "digest": image.digest, "files": image.files, "bytes": image.bytes, "tree": image.tree }),
        )?;
    } else {
        ui::line(format!(
            "{} {}: {} files, {}, in {} ms",
            image.name,
            image.digest.short(),
            image.files,
            ui::size(image.bytes),
            took.as_millis()
        ));
    }
    Ok(0)
}
