//! `tsubo build`: dev, test and pack, as the definition says.

use std::path::PathBuf;

use lifecycle::Bind;
use spec::definition::Definition;
use spec::isolation::Isolation;
use spec::portable::Ids;
use spec::resources::DeviceNumber;
use spec::{Error, Result, ResultExt, RootPath};
use workshop::cut::Level;
use workshop::dev::base::Base;
use workshop::dev::enter;
use workshop::dev::stack::Stack;
use workshop::dev::{Development, Developments};
use workshop::interrupt::Interrupt;
use workshop::pack::Request;
use workshop::progress::Progress;
use workshop::service::exercise::Exercise;
use workshop::trial::setup::Setup;

use super::definition::{self, Defined};
use super::{Place, audit, pack, run as parse, test};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo build                                     read tsubo.toml, or tsubo.luau, in this folder
  tsubo build services/web                        read services/web/tsubo.toml
  tsubo build --keep-dev                          go on with the development container of the last build

A definition:
  name = \"web\"
  build = [\"apt-get update\", \"apt-get install -y nginx\"]
  command = [\"nginx\", \"-g\", \"daemon off;\"]
  ready = \"tcp:80\"
  exercises = [\"./exercise.sh\"]
";

/// Make, test and pack a container as its tsubo.toml says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder with the definition, or the file itself
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub place: PathBuf,

    /// A value for a definition that computes, which reads it as flags.KEY
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Go on with the development container if it is there, instead of making it anew
    #[arg(long)]
    pub keep_dev: bool,

    /// Add what the replay missed, and try again
    #[arg(long)]
    pub repair: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let Defined { definition, hooks, folder } = definition::load(&args.place, &args.set)?;
    let level: Level = definition.closure.as_deref().unwrap_or("package").parse()?;
    check_limits(&definition)?;
    std::env::set_current_dir(&folder).doing(|| format!("entering {}", folder.display()))?;

    let interrupt = Interrupt::install()?;
    sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
    let development = develop(&definition, &place.developments()?, args.keep_dev, &interrupt)?;
    let stack = development.mount()?;
    let setup = setup(&definition, &stack)?;
    test::watch(&development, &stack, &setup, &[], true, &interrupt)?;
    let request = Request {
        out: definition
            .output
            .clone()
            .map_or_else(|| PathBuf::from(format!("{}.tsubo", definition.name)), PathBuf::from),
        level,
        keep: definition.keep.clone(),
        drop: definition.drop.clone(),
        replay: true,
        repair: args.repair,
        small: false,
        isolation: isolation(&definition)?,
        limits: definition.limits.clone(),
        network: definition.network.clone(),
        activation: definition.activation.clone(),
        hooks,
    };
    pack::make(&development, &stack, &request, args.format.is_json(), &interrupt)?;
    audit::package(&definition.audit, &request.out, place).map(|()| 0)
}

/// The development container with everything that the definition builds into it.
fn develop(
    definition: &Definition,
    developments: &Developments,
    keep: bool,
    interrupt: &Interrupt,
) -> Result<Development> {
    if developments.exists(&definition.name) {
        if keep {
            return developments.open(&definition.name);
        }
        developments.remove(&definition.name)?;
    }
    let base = Base::parse(&definition.base)?;
    let bar = ui::progress::Bar::new();
    bar.stage(&format!("making {} from {base}", definition.name));
    let development =
        developments.create(&definition.name, &base, definition.see.clone(), interrupt, &bar)?;
    drop(bar);
    for copy in &definition.copy {
        bring(&development, &copy.from, &copy.to, interrupt)?;
    }
    for command in &definition.build {
        eprintln!("build: {command}");
        in_development(
            &development,
            vec!["/bin/sh".to_owned(), "-ec".to_owned(), command.clone()],
            &[],
            interrupt,
        )?;
    }
    Ok(development)
}

fn in_development(
    development: &Development,
    argv: Vec<String>,
    binds: &[Bind],
    interrupt: &Interrupt,
) -> Result<()> {
    let shown = argv.join(" ");
    match enter::enter(development, argv, binds, lifecycle::new_id()?, interrupt)? {
        0 => Ok(()),
        code => Err(Error::failed(format!("the build command {shown:?} failed with code {code}"))),
    }
}

/// Copies a file or directory beside the definition into the container, with its own `cp`.
fn bring(development: &Development, from: &str, to: &RootPath, interrupt: &Interrupt) -> Result<()> {
    let source = std::fs::canonicalize(from).doing(|| format!("reading {from}"))?;
    let directory = source.is_dir();
    // In the container's own /dev: the mount point is of the right type each time and stays nowhere.
    let at: RootPath = "/dev/tsubo-copy".parse()?;
    let bind = Bind { source, at: at.clone(), read_only: true, idmapped: true };
    let script = if directory {
        "mkdir -p \"$2\" && cp -R \"$1/.\" \"$2/\""
    } else {
        "mkdir -p \"${2%/*}/\" && cp \"$1\" \"$2\""
    };
    let argv =
        ["/bin/sh", "-ec", script, "copy", &at.to_string(), &to.to_string()].map(str::to_owned).to_vec();
    in_development(development, argv, &[bind], interrupt)
}

/// Before anything is built. Which disks there are is the business of the host that it runs on.
fn check_limits(definition: &Definition) -> Result<()> {
    let some_disk = |_: &str| Ok(DeviceNumber { major: 8, minor: 0 });
    definition.limits.resources(some_disk).map(drop).doing(|| "reading [limits]")
}

/// As the definition says; a system call profile travels in the package.
fn isolation(definition: &Definition) -> Result<Isolation> {
    let mut isolation = definition.isolation.clone();
    if let Some(word) = &mut isolation.seccomp {
        if !matches!(word.as_str(), "default" | "observed" | "none") && !word.starts_with('{') {
            *word = std::fs::read_to_string(&*word)
                .doing(|| format!("reading the system call profile {word}"))?;
        }
    }
    Ok(isolation)
}

fn setup(definition: &Definition, stack: &Stack) -> Result<Setup> {
    let user = match &definition.user {
        Some(user) => workshop::passwd::look_up(&stack.root, user)?,
        None => Ids::default(),
    };
    let mut env = enter::service_environment(&stack.root, &user);
    env.extend(definition.environment.clone());
    let exercises = definition.exercises.iter().cloned().map(Exercise::Host);
    Ok(Setup {
        command: definition.command.clone(),
        env,
        cwd: definition.workdir.clone().unwrap_or_else(RootPath::root),
        user,
        ready: definition.ready.as_deref().map(str::parse).transpose()?,
        ready_timeout: definition.ready_timeout.unwrap_or(60).min(86_400),
        exercises: exercises.chain(definition.inside.iter().cloned().map(Exercise::Inside)).collect(),
        folder: std::env::current_dir().doing(|| "asking for the current folder")?,
        exercise_timeout: 300,
        linger: 0,
        stop_signal: definition.stop_signal.as_deref().map_or(Ok(15), parse::signal)?,
        volumes: definition.volumes.clone(),
    })
}
