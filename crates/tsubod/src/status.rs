//! `tsubo gateway status`: how a gateway stands.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use gateway::control::{self, ServiceStatus, Status};
use lifecycle::Home;
use spec::{Error, Result, ResultExt};

/// Show services and their instances.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How it is shown
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Those that have instances, wait or are in trouble only
    #[arg(long)]
    active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the gateway of a state directory.
pub(crate) fn run(args: &Args, home: &Home) -> Result<u8> {
    let text = ask(home)?;
    let unclear = |cause| Error::internal("the gateway's answer is not understood").because(cause);
    let mut status: Status = serde_json::from_str(&text).map_err(unclear)?;
    let is_active =
        |one: &ServiceStatus| !one.instances.is_empty() || one.waiting > 0 || one.trouble.is_some();
    status.services.retain(|one| !args.active || is_active(one));
    let mut out = std::io::stdout().lock();
    let shown = match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&status).unwrap_or_default()),
        Format::Table => table(&status).iter().try_for_each(|line| writeln!(out, "{line}")),
    };
    shown.doing(|| "writing output").map(|()| 0)
}

fn ask(home: &Home) -> Result<String> {
    let mut stream = match control::connect(home) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(Error::not_found("no gateway serves this state directory")
                .hint("start one: tsubo gateway --config gateway.toml"));
        }
        stream => stream.doing(|| format!("asking the gateway at {}", control::socket(home).display()))?,
    };
    let mut ask = || -> std::io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().doing(|| "asking the gateway")?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

fn table(status: &Status) -> Vec<String> {
    let head = ["SERVICE", "INSTANCES", "BUSY", "WAITING", "REQUESTS", "COLD", "FAILED", "PACKAGE"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(status.services.iter().map(row));
    let widths: Vec<usize> =
        (0..head.len()).map(|place| rows.iter().map(|row| row[place].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(service: &ServiceStatus) -> [String; 8] {
    let mut stages: Vec<(&str, usize)> = Vec::new();
    for one in &service.instances {
        match stages.iter_mut().find(|(stage, _)| *stage == one.stage) {
            Some((_, count)) => *count += 1,
            None => stages.push((&one.stage, 1)),
        }
    }
    let stages: Vec<String> = stages.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    let instances = match (&service.trouble, stages.is_empty()) {
        (Some(_), true) => "in trouble".to_owned(),
        (_, true) => "none".to_owned(),
        _ => stages.join(", "),
    };
    let busy: u32 = service.instances.iter().map(|one| one.in_flight).sum();
    [
        service.name.clone(),
        instances,
        busy.to_string(),
        service.waiting.to_string(),
        service.requests.to_string(),
        service.cold.to_string(),
        service.failed.to_string(),
        service.package.clone(),
    ]
}
