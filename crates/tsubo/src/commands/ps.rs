//! `tsubo ps`: list containers, and with -a everything that was made on the way to them.

use lifecycle::{Container, Containers, Status};
use serde_json::{Value, json};
use spec::{Error, Name, Result};
use workshop::dev::record::Record;

use super::Place;
use super::network_words::{addresses, passed};
use crate::ui;

/// List running containers; with -a also created and ended ones and development containers.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo ps\n  tsubo ps -a                    all of them, with their stage and where they came from\n  tsubo ps -a --format json\n  tsubo rm -f $(tsubo ps -aq)    remove them all\n"
)]
pub struct Args {
    /// Also those that have ended, and development containers
    #[arg(short, long)]
    pub all: bool,

    /// Only the IDs, for other commands: development containers have none
    #[arg(short, long, conflicts_with = "format")]
    pub quiet: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let mut rows = Vec::new();
    let (containers, damaged) = Containers::of(&home).look()?;
    for container in containers {
        match container.status() {
            Ok(status) if args.all || status.is_running() => rows.push(production(&container, &status)),
            Ok(_) => {}
            Err(error) => rows.push(broken(container.name(), &error)),
        }
    }
    rows.extend(damaged.iter().map(|(name, error)| broken(name, error)));
    if args.all && !args.quiet {
        rows.extend(place.developments()?.list()?.iter().map(|record| development(record, home.lib())));
    }
    if args.format.is_json() {
        ui::json(&rows)?;
        return Ok(0);
    }
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    if args.quiet {
        let called =
            |row| Some(text(row, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| text(row, "name"));
        rows.iter().map(called).for_each(ui::line);
        return Ok(0);
    }
    let mut table = ui::table::new(&["NAME", "ID", "STAGE", "STATUS", "PORTS", "FROM", "CREATED", "COMMAND"]);
    for row in &rows {
        let created = row["created"].as_u64().map(ui::age).unwrap_or_default();
        let command: Vec<&str> =
            row["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // What leads to it says more than what it listens on.
        let words = |key: &str| -> Vec<&str> {
            row[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let ports =
            Some(words("published")).filter(|ports| !ports.is_empty()).unwrap_or_else(|| words("ports"));
        table.add_row([
            text(row, "name"),
            text(row, "id"),
            text(row, "stage"),
            text(row, "status"),
            ports.join(" "),
            text(row, "from"),
            created,
            ui::table::one_line(&command.join(" ")),
        ]);
    }
    ui::table::print(&table);
    Ok(0)
}

fn production(container: &Container, status: &Status) -> Value {
    let record = container.record();
    let (pid, code) = match status {
        Status::Running(running) => (Some(running.first.pid), None),
        Status::Exited(ended) => (None, Some(ended.code)),
        Status::Created => (None, None),
    };
    let (paused, health, restarts) = match status {
        Status::Running(running) => {
            (running.is_paused(), running.health.as_ref().map(|health| health.status), running.restarts)
        }
        Status::Exited(ended) => (false, None, ended.restarts),
        Status::Created => (false, None, 0),
    };
    let ports: Vec<String> =
        record.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
    let published: Vec<String> = passed(record, status).iter().map(|port| port.short()).collect();
    json!({ "name": container.name(), "id": container.id(), "stage": "production", "status": status.word(),
        "running": status.is_running(), "pid": pid, "exit_code": code, "from": record.image,
        "created": record.created / 1000, "command": record.spec.process.argv,
        "paused": paused, "health": health, "restarts": restarts, "restart_policy": record.life.restart.to_string(),
        "ports": ports, "published": published, "addresses": addresses(record, status) })
}

/// One that cannot be read is there too, whether it runs or not.
fn broken(name: &Name, error: &Error) -> Value {
    json!({ "name": name, "id": "", "stage": "production", "status": "damaged", "running": false, "pid": null,
        "exit_code": null, "from": "", "created": null, "command": [], "error": error.chain() })
}

fn development(record: &Record, lib: &std::path::Path) -> Value {
    let tested = lib.join("dev").join(&record.name).join("observation.json").exists();
    let stage = if tested { "test" } else { "development" };
    json!({ "name": record.name, "id": "", "stage": stage, "status": if tested { "tested" } else { "" }, "running": false,
        "from": record.base, "created": record.created, "command": [] })
}
