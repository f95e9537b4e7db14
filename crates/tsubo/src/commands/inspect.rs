//! `tsubo inspect`: everything that is known of a container, an image or a development container.

use lifecycle::{Container, Containers, Status};
use serde_json::{Value, json};
use spec::{Error, ErrorKind, Name, Result};

use super::Place;
use super::network_words::{addresses, given, is_relayed, passed};
use crate::ui;

/// Show everything that is known of a container, else of an image, else of a development container.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo inspect web\n  tsubo inspect --dev web\n  tsubo inspect web | jq .spec.mounts\n"
)]
pub struct Args {
    /// Look at the development container of this name
    #[arg(long)]
    pub dev: bool,

    /// Look at the image of this name
    #[arg(long, conflicts_with = "dev")]
    pub image: bool,

    /// Name, id or digest
    pub name: String,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb. The output is JSON in any case: it is for programs and for the curious.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    if args.dev {
        ui::json(&development(&args.name.parse()?, place)?)?;
        return Ok(0);
    }
    let container = match args.image {
        true => Err(Error::not_found("")),
        false => Containers::of(&place.home()?).find(&args.name),
    };
    let value = match container {
        Ok(container) => describe(&container)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match (image(&args.name, place), args.name.parse()) {
                (Ok(value), _) => value,
                (Err(_), Ok(name)) if !args.image && place.developments()?.exists(&name) => {
                    development(&name, place)?
                }
                _ => {
                    return Err(Error::not_found(format!(
                        "there is no container, image or development container {:?}",
                        args.name
                    ))
                    .hint("tsubo ps -a and tsubo images list what there is"));
                }
            }
        }
        Err(error) => return Err(error),
    };
    ui::json(&value)?;
    Ok(0)
}

fn describe(container: &Container) -> Result<Value> {
    let record = container.record();
    let status = container.status()?;
    let state = match &status {
        Status::Running(running) => {
            json!({ "running": true, "pid": (!running.resting).then_some(running.first.pid), "keeper": running.keeper.pid,
                "started": running.started, "paused": running.is_paused(), "restarting": running.resting,
                "restarts": running.restarts, "health": running.health })
        }
        Status::Exited(ended) => {
            json!({ "running": false, "exit_code": ended.code, "finished": ended.finished, "note": ended.note,
                "oom": ended.oom, "stopped": ended.stopped, "restarts": ended.restarts })
        }
        Status::Created => json!({ "running": false }),
    };
    let published: Vec<_> = passed(record, &status).iter().map(|port| port.0).collect();
    Ok(
        json!({ "kind": "container", "addresses": addresses(record, &status), "given": given(&status), "published": published, "relayed": is_relayed(&status), "name": container.name(), "id": container.id(), "status": status.word(), "state": state,
        "image": record.image, "created": record.created, "remove": record.remove, "ports": record.ports,
        "restart_policy": record.life.restart.to_string(), "life": record.life, "directory": container.dir(), "spec": record.spec }),
    )
}

fn image(name: &str, place: &Place) -> Result<Value> {
    let image = place.store()?.image(name)?;
    Ok(
        json!({ "kind": "image", "name": image.name, "digest": image.digest, "files": image.files, "bytes": image.bytes,
        "installed": image.installed, "tree": image.tree, "spec": image.portable }),
    )
}

fn development(name: &Name, place: &Place) -> Result<Value> {
    let developments = place.developments()?;
    let record = workshop::dev::record::Record::read(&developments.path(name)).map_err(|_| {
        Error::not_found(format!("there is no development container {name}")).hint("tsubo ps -a lists them")
    })?;
    Ok(json!({ "kind": "development container", "record": record, "directory": developments.path(name) }))
}
