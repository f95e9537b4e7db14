//! `tsubo plan`: the steps that a container is started by.

use lifecycle::{Containers, Reason, RunOptions};
use serde_json::json;
use spec::container::Spec;
use spec::plan::{Plan, plan};
use spec::{Name, Result};

use super::isolation::{self, IsolationArgs};
use super::network_flags::NetworkFlags;
use super::{Place, run};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo plan web                                  of a container, or else of an installed image
  tsubo plan web.tsubo                            of a package, which is installed if need be
  tsubo plan --preset bare web.tsubo              what is left out has no step
  tsubo plan --explain --cap-drop ALL web         and why
  tsubo plan --format json web
";

/// Show the steps by which a container is started; nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub network: NetworkFlags,

    #[command(flatten)]
    pub isolation: IsolationArgs,

    #[command(flatten)]
    pub format: ui::FormatArg,

    /// A container, an installed image, or a package file
    #[arg(value_name = "NAME|FILE")]
    pub name: String,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let (spec, reasons) = found(args, place)?;
    if args.isolation.explain {
        match args.format.is_json() {
            true => ui::json(&reasons)?,
            false => isolation::explain(&reasons),
        }
        return Ok(0);
    }
    let plan = plan(&spec);
    match args.format.is_json() {
        true => ui::json(&json!({ "plan": plan, "spec": spec }))?,
        false => {
            show(&plan);
            show_network(&spec);
            show_hooks(&spec);
        }
    }
    Ok(0)
}

/// A container as it was made, unless it is to be explained or changed: then as it would be made now.
fn found(args: &Args, place: &Place) -> Result<(Spec, Vec<Reason>)> {
    let layer = args.isolation.layer();
    let network = args.network.table()?;
    let changed = args.isolation.explain || !layer.is_empty() || !network.is_empty();
    let containers = Containers::of(&place.home()?);
    let container = containers.find(&args.name);
    if let (Ok(container), false) = (&container, changed) {
        return Ok((container.record().spec.clone(), Vec::new()));
    }
    let image = match &container {
        Ok(container) => container.record().image.split('@').next().unwrap_or_default().to_owned(),
        Err(_) => args.name.clone(),
    };
    let image = run::find_or_install(&image, place)?;
    let name: Name = container.map_or_else(|_| image.name.clone(), |container| container.name().clone());
    let mut options = RunOptions::named(name);
    options.isolation = layer;
    options.network = network;
    options.as_packaged = args.isolation.as_packaged;
    options.presets = containers.presets();
    options.volumes = Some(containers.volumes(&options.name));
    lifecycle::explained(&image.portable, &image.tree, &options)
}

/// What else is done, when, and what it may reach.
fn show_hooks(spec: &Spec) {
    let Some(hooks) = spec.hooks.as_deref() else { return };
    for hook in &hooks.list {
        ui::line(format!("     hook {:?}: {}", hook.name, hook.when));
    }
    let allowed = hooks.allow.words();
    if !allowed.is_empty() {
        ui::line(format!("     hooks may reach: {}", allowed.join(", ")));
    }
}

/// Its interfaces. Addresses that are not said are given when it is made.
fn show_network(spec: &Spec) {
    let Some(network) = spec.network.as_deref() else { return };
    for attachment in &network.attachments {
        ui::line(format!("     {}", super::network_words::attachment(attachment)));
    }
    for port in &network.published {
        ui::line(format!("     published: {port}"));
    }
    for shown in &network.shown {
        ui::line(format!("     shown to this host: {} (another port where that is taken)", shown.publish));
    }
    for allowed in &network.allow {
        ui::line(format!("     may talk: {allowed}"));
    }
    if network.closed {
        ui::line("     closed: it may not talk to the outside");
    }
}

fn show(plan: &Plan) {
    if !plan.namespaces.is_empty() {
        let names: Vec<_> = plan.namespaces.iter().map(|namespace| namespace.word()).collect();
        ui::line(format!("     new namespaces: {}", names.join(" ")));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        let detail = step.detail().map_or_else(String::new, |detail| format!("  ({detail})"));
        ui::line(format!("{:>3}  {step}{detail}", number + 1));
    }
}
