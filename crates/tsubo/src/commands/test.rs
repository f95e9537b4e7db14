//! `tsubo test`: run the service in a throw-away copy of its development container, watched.

use std::path::PathBuf;

use lifecycle::Bind;
use spec::observation::{Observation, Use};
use spec::portable::Ids;
use spec::ready::Ready;
use spec::{Error, Name, Result, ResultExt, RootPath};
use workshop::dev::Development;
use workshop::dev::enter;
use workshop::dev::stack::Stack;
use workshop::interrupt::Interrupt;
use workshop::service::exercise::Exercise;
use workshop::trial::setup::Setup;
use workshop::trial::{self, Trial};

use super::{Place, run};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo test web --ready tcp:80 --exercise ./exercise.sh -- nginx -g 'daemon off;'
  tsubo test db --ready log:'Ready to accept' --inside 'redis-cli ping' -- redis-server
  tsubo test app --ready http://127.0.0.1:8000/health --for 30 -- python3 -m app
  tsubo test job -- /usr/local/bin/report         a program that ends by itself needs no condition

Several tests of one container add up; --fresh starts over.
Conditions: tcp:PORT, http:URL, unix:PATH, file:PATH, log:REGEX, or a number of seconds.
";

/// Run a service in a throw-away copy of its development container, and record what it uses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the development container
    pub name: Name,

    /// When the service is ready
    #[arg(long, value_name = "COND")]
    pub ready: Option<Ready>,

    /// How long that may take
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = seconds())]
    pub ready_timeout: u64,

    /// Shell command run on the host, in the container's network, while the service is watched
    #[arg(long, value_name = "CMD")]
    pub exercise: Vec<String>,

    /// Shell command run inside the container while the service is watched
    #[arg(long, value_name = "CMD")]
    pub inside: Vec<String>,

    /// How long one exercise may take
    #[arg(long, value_name = "SECS", default_value_t = 300, value_parser = seconds())]
    pub exercise_timeout: u64,

    /// Watch on for so long after the exercises
    #[arg(long = "for", value_name = "SECS", default_value_t = 0.0)]
    pub linger: f64,

    /// Environment of the service (and of the package)
    #[arg(short, long, value_name = "K=V", value_parser = run::variable)]
    pub env: Vec<(String, String)>,

    /// Who the service runs as: names or numbers of the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Working directory of the service
    #[arg(short, long, value_name = "DIR", default_value = "/")]
    pub workdir: RootPath,

    /// The signal that asks the service to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = run::signal)]
    pub stop_signal: i32,

    /// A directory whose content is to outlive containers
    #[arg(long = "volume", value_name = "PATH")]
    pub volumes: Vec<RootPath>,

    /// Forget what earlier tests of this container saw
    #[arg(long)]
    pub fresh: bool,

    /// Also write the observation to this file
    #[arg(short, long, value_name = "OBS")]
    pub output: Option<PathBuf>,

    /// The service's command line
    #[arg(last = true, required = true, value_name = "SERVICE")]
    pub command: Vec<String>,
}

/// Up to a day: more is a mistake, and much more than the clock can count.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(..=86_400)
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let interrupt = Interrupt::install()?;
    let development = place.developments()?.open(&args.name)?;
    sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
    let stack = development.mount()?;
    let setup = setup(&args, &stack)?;
    let observation = watch(&development, &stack, &setup, &[], args.fresh, &interrupt)?;
    if let Some(path) = &args.output {
        let text = serde_json::to_vec_pretty(&observation)
            .map_err(|cause| Error::internal("writing the observation").because(cause))?;
        std::fs::write(path, text).doing(|| format!("writing {}", path.display()))?;
    }
    Ok(0)
}

/// Runs one test with progress and a summary.
pub fn watch(
    development: &Development,
    stack: &Stack,
    setup: &Setup,
    binds: &[Bind],
    fresh: bool,
    interrupt: &Interrupt,
) -> Result<Observation> {
    let bar = ui::progress::Bar::new();
    let trial = Trial { setup, binds, id: lifecycle::new_id()?, fresh };
    let observation = trial::run(development, stack, &trial, interrupt, &bar)?;
    drop(bar);
    summarise(&observation);
    Ok(observation)
}

fn setup(args: &Args, stack: &Stack) -> Result<Setup> {
    if !(0.0..=86_400.0).contains(&args.linger) {
        return Err(Error::user("--for takes a number of seconds from 0 to 86400"));
    }
    let user = match &args.user {
        Some(user) => workshop::passwd::look_up(&stack.root, user)?,
        None => Ids::default(),
    };
    let mut env = enter::service_environment(&stack.root, &user);
    env.extend(args.env.iter().cloned());
    let exercises = args.exercise.iter().cloned().map(Exercise::Host);
    Ok(Setup {
        command: args.command.clone(),
        env,
        cwd: args.workdir.clone(),
        user,
        ready: args.ready.clone(),
        ready_timeout: args.ready_timeout,
        exercises: exercises.chain(args.inside.iter().cloned().map(Exercise::Inside)).collect(),
        folder: std::env::current_dir().doing(|| "asking for the current folder")?,
        exercise_timeout: args.exercise_timeout,
        linger: (args.linger * 1000.0) as u64,
        stop_signal: args.stop_signal,
        volumes: args.volumes.clone(),
    })
}

fn summarise(observation: &Observation) {
    let count = |how: Use| observation.paths.values().filter(|used| used.how.contains(&how)).count();
    let there = observation.paths.values().filter(|used| used.stamp.is_some()).count();
    let ports: Vec<String> =
        observation.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
    let instruments =
        observation.runs.last().map(|run| run.instruments.iter().cloned().collect::<Vec<_>>().join(", "));
    ui::line(format!(
        "{}: {} runs, {there} paths used ({} opened, {} executed, {} only looked at or walked), {} missing, {} written",
        observation.container,
        observation.runs.len(),
        count(Use::Opened),
        count(Use::Executed),
        there.saturating_sub(count(Use::Opened)),
        count(Use::Missing),
        observation.written.len(),
    ));
    ui::line(format!(
        "ports {}; at most {} memory, {} tasks, {} open files; seen by {}",
        if ports.is_empty() { "none".to_owned() } else { ports.join(" ") },
        ui::size(observation.peak.memory),
        observation.peak.tasks,
        observation.peak.files,
        instruments.unwrap_or_default(),
    ));
    observation.warnings.iter().for_each(|warning| ui::error::warn(warning));
    ui::line(format!("next: tsubo pack {}", observation.container));
}
