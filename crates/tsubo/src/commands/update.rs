//! `tsubo update`: change what can change about containers, also while they run.

use lifecycle::{Container, Containers, Limit, Update};
use spec::limits::Size;
use spec::{Error, Result, resources};

use super::Place;
use super::life_flags::LifeFlags;
use super::limit_flags::{LimitFlags, OvercommitFlag};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo update --restart unless-stopped web db
  tsubo update --health-cmd 'curl -fs http://127.0.0.1/' --health-interval 10s web
  tsubo update --health-cmd none web
  tsubo update --memory 512m --cpus 1.5 --pids-limit 200 web
  tsubo update --limit memory_high=400M --limit 'io_write={ \"/\" = \"20M\" }' web
  tsubo update --ulimit nofile=4096:8192 web
  tsubo update --reclaim 200m web               give memory back that it can spare; all for all of it

What is not named stays. It takes effect at once and is kept for the next start.
";

/// Change limits, restart policy and health check of containers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub life: LifeFlags,

    /// A resource limit of all its processes
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    pub ulimits: Vec<Limit>,

    /// Have it give back memory that it can spare now, as in 200m, or all (its limits stay)
    #[arg(long, value_name = "SIZE|all", value_parser = spared)]
    pub reclaim: Option<Size>,

    #[command(flatten)]
    pub limits: LimitFlags,

    #[command(flatten)]
    pub overcommit: OvercommitFlag,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let limits = args.limits.layer()?;
    let fixed = [("group", limits.group.is_some()), ("disk_reserved", limits.disk_reserved.is_some())];
    if let Some((word, _)) = fixed.iter().find(|(_, said)| *said) {
        return Err(Error::unsupported(format!(
            "the {word} of a container does not change while it is there"
        ))
        .hint("make it anew: tsubo rm NAME, then tsubo run"));
    }
    if limits.cpu_period.is_some() && limits.cpus.is_none() {
        return Err(Error::user("cpu_period alone would change how much cpus allow").hint("give --cpus too"));
    }
    let update = Update {
        rlimits: args.ulimits.clone(),
        files: lifecycle::Files::of(&limits)?,
        resources: limits.resources(lifecycle::disk_of::path)?,
        best_effort: limits.best_effort == Some(true),
        overcommit: args.overcommit.overcommit,
    };
    let changes = !(args.life.is_empty() && args.ulimits.is_empty() && limits.is_empty());
    if !changes && args.reclaim.is_none() {
        return Err(Error::user("nothing was said to change").hint("tsubo update --help tells what can be"));
    }
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        let container = containers.find(name)?;
        if !changes {
            return reclaim(args, &container);
        }
        let mut life = container.record().life.clone();
        args.life.apply(&mut life)?;
        if container.record().remove && life.restart != spec::life::Restart::No {
            return Err(Error::user(format!(
                "container {name} is removed when it ends, so it cannot be started again"
            )));
        }
        // On what it is by then: another command may have changed something else meanwhile.
        container.update(|own| args.life.apply(own).unwrap_or_else(|_| *own = life), &update)?;
        if args.reclaim.is_some() {
            return reclaim(args, &container);
        }
        ui::line(name);
        Ok(())
    })
}

/// Tells how much it gave back.
fn reclaim(args: &Args, container: &Container) -> Result<()> {
    let amount = args.reclaim.and_then(|size| size.0.number());
    let given = container.reclaim(amount)?;
    ui::line(format!("{}: {} given back", container.name(), ui::size(given)));
    Ok(())
}

/// Understands `200m` and `all`.
fn spared(text: &str) -> Result<Size> {
    if text == "all" { Ok(Size(resources::Limit::Max)) } else { text.parse() }
}

/// Understands `nofile=1024:4096`.
pub fn ulimit(text: &str) -> Result<Limit> {
    let (name, limits) = text.split_once('=').ok_or_else(|| {
        Error::user(format!("{text:?} is no limit")).hint("write it as in nofile=1024:4096")
    })?;
    spec::isolation::rlimit(name, limits)
}
