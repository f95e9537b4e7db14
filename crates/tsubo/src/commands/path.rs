//! `tsubo path`: where a container's files are on this host.

use std::path::PathBuf;

use lifecycle::{Container, Containers, Status};
use serde_json::json;
use spec::container::Root;
use spec::{Error, ErrorKind, Name, Result};
use workshop::dev::record::Record;

use super::Place;
use crate::ui;

/// Show where the files of a container (else an image, else a development container) are on this host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo path web                 the root of the running container, to look into or back up\n  tsubo path --dev web           what was changed in the development container\n  ls $(tsubo path web)/etc\n"
)]
pub struct Args {
    /// The development container of this name
    #[arg(long)]
    pub dev: bool,

    /// Name, id or digest
    pub name: String,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let (path, all) = find(args, place)?;
    if args.format.is_json() {
        ui::json(&all)?;
    } else {
        ui::line(path);
    }
    Ok(0)
}

fn find(args: &Args, place: &Place) -> Result<(String, serde_json::Value)> {
    if args.dev {
        return development(&args.name.parse()?, place);
    }
    let containers = Containers::of(&place.home()?);
    match containers.find(&args.name) {
        Ok(container) => {
            let root = root_of(&container)?;
            let all = json!({ "kind": "container", "root": root, "directory": container.dir(), "tree": tree_of(&container), "volumes": containers.volumes(container.name()), "volumes_held_by": lifecycle::volumes::held_by(&containers.volumes(container.name())) });
            Ok((root, all))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Ok(image) = place.store()?.image(&args.name) {
                let tree = image.tree.display().to_string();
                return Ok((tree.clone(), json!({ "kind": "image", "root": tree })));
            }
            match args.name.parse() {
                Ok(name) => development(&name, place).map_err(|_| error),
                Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// The root of a container as the host can reach it: through its first process while it runs,
/// the image's tree otherwise.
pub fn root_of(container: &Container) -> Result<String> {
    match container.status()? {
        Status::Running(running) => Ok(format!("/proc/{}/root", running.first.pid)),
        _ => Ok(tree_of(container).display().to_string()),
    }
}

/// The image's tree below a container.
pub fn tree_of(container: &Container) -> PathBuf {
    match &container.record().spec.root {
        Root::Tree { path }
        | Root::Scratch { path, .. }
        | Root::Mounted { path }
        | Root::Bundle { path, .. } => path.clone(),
        Root::Host => PathBuf::from("/"),
    }
}

fn development(name: &Name, place: &Place) -> Result<(String, serde_json::Value)> {
    let dir = place.developments()?.path(name);
    let record = Record::read(&dir).map_err(|_| {
        Error::not_found(format!("there is no development container {name}")).hint("tsubo ps -a lists them")
    })?;
    let layers: Vec<_> = record.layers.iter().map(|layer| json!({ "at": layer.at, "base": layer.lower, "changes": dir.join(&layer.dir).join("upper") })).collect();
    let first = record
        .layers
        .first()
        .map(|layer| dir.join(&layer.dir).join("upper").display().to_string())
        .unwrap_or_default();
    Ok((first, json!({ "kind": "development container", "directory": dir, "layers": layers })))
}
