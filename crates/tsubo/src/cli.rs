//! The command line: what can be typed, and which command it becomes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use lifecycle::Spare;
use spec::ErrorKind;

use crate::commands as verbs;
use crate::{quick, ui};

const WAY: &str = "\
The way of a service:
  tsubo dev web -- apt-get install -y nginx        develop it in a full container
  tsubo test web --ready tcp:80 \\
        --exercise 'curl -f http://localhost/' \\
        -- nginx -g 'daemon off;'                  watch it while it works
  tsubo pack web -o web.tsubo                      ship only what it used
  tsubo run -d --name web web.tsubo                run that, anywhere

tsubo COMMAND --help explains each with examples.
";

/// Watch a service run, ship only what it used, start that anywhere.
#[derive(Debug, Parser)]
#[command(name = "tsubo", version, after_help = WAY, arg_required_else_help = false, disable_help_subcommand = true)]
pub struct Cli {
    /// Keep all state in this directory instead of /var/lib/tsubo and /run/tsubo
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,

    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// The verbs, in the order in which a service meets them.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a development container, or run a command in it
    Dev(verbs::dev::Args),
    /// Run a service in a throw-away copy of its development container, watched
    Test(verbs::test::Args),
    /// Show, compare and merge what tests have seen
    Observation(verbs::observation::Args),
    /// Make a package of what was used, and prove it
    Pack(verbs::pack::Args),
    /// Do dev, test and pack as a definition says
    Build(verbs::build::Args),
    /// Show what a definition says, with everything that it computes
    Spec(verbs::specification::Args),
    /// Try scripts of hooks, test them, and print types for editors
    Script(verbs::script::Args),
    /// Turn a Haconiwa definition into a tsubo.toml and hooks to be written
    ImportHaco(verbs::import_haco::Args),
    /// Show what is in a package, what was cut, and why
    Contents(verbs::contents::Args),
    /// Start a container from a package or an installed image
    Run(verbs::run::Args),
    /// Show the steps by which a container is started
    Plan(verbs::plan::Args),
    /// Make a container from a package or an installed image, to be started later
    Create(verbs::create::Args),
    /// Start containers that were created, or have ended
    Start(verbs::start::Args),
    /// Stop containers and start them again
    Restart(verbs::restart::Args),
    /// Start what restart policies ask for after a reboot
    Boot(verbs::boot::Args),
    /// List containers
    Ps(verbs::ps::Args),
    /// Show what a container has said
    Logs(verbs::logs::Args),
    /// Run a command in a running container
    Exec(verbs::exec::Args),
    /// Copy files between a container and this host
    Cp(verbs::cp::Args),
    /// Look on at a running container from a terminal, and type
    Attach(verbs::attach::Args),
    /// Show the processes of a container
    Top(verbs::top::Args),
    /// Show what containers and their host use, as it changes
    Stats(verbs::stats::Args),
    /// Tell how many more containers fit on this host, and what runs out first
    Capacity(verbs::capacity::Args),
    /// Show the figures of the last day of a container, or of the host
    History(verbs::history::Args),
    /// Keep the figures of the last day of all containers
    Sampler(verbs::sampler::Args),
    /// Show what happens to containers, as it happens
    Events(verbs::events::Args),
    /// Wait for the end of containers
    Wait(verbs::wait::Args),
    /// Hold all processes of containers
    Pause(verbs::pause::Args),
    /// Let the processes of paused containers go on
    Unpause(verbs::unpause::Args),
    /// Change restart policy, health check and limits of containers
    Update(verbs::update::Args),
    /// Groups of containers that share limits
    Group(verbs::group::Args),
    /// Networks that containers hang on
    Network(verbs::network::Args),
    /// Show which ports of the host lead to a container
    Port(verbs::port::Args),
    /// Give a container another name
    Rename(verbs::rename::Args),
    /// Ask a container to stop, and end it if it does not
    Stop(verbs::stop::Args),
    /// Send a signal to a container
    Kill(verbs::kill::Args),
    /// Show the hooks of a container, and how they went
    Hooks(verbs::hooks::Args),
    /// Have the hooks of a signal done
    Signal(verbs::signal::Args),
    /// Remove containers
    Rm(verbs::rm::Args),
    /// Show everything that is known of a container, an image or a development container
    Inspect(verbs::inspect::Args),
    /// Show what a container has changed
    Diff(verbs::diff::Args),
    /// Show where a container's files are on this host
    Path(verbs::path::Args),
    /// List installed images
    Images(verbs::images::Args),
    /// Install a package as an image
    Install(verbs::install::Args),
    /// Remove installed images
    Rmi(verbs::rmi::Args),
    /// Let a container attack its own limits, and show what the host loses by that
    Audit(verbs::audit::Args),
    /// Serve requests, and start the containers that answer them when they come
    Gateway(verbs::gateway::Args),
    /// Show what this host can do, what is missing, and why it matters
    Info(verbs::info::Args),
    /// Clean up what killed commands have left behind
    Gc(verbs::gc::Args),
    /// Print shell completions, the manual page, or the schema of tsubo.toml
    Generate(verbs::generate::Args),
}

impl Verb {
    /// Whether it has to do with containers and images, as opposed to files that anybody may read.
    fn keeps_state(&self) -> bool {
        match self {
            Self::Script(args) => args.is_about_containers(),
            Self::Contents(_) | Self::Generate(_) | Self::Audit(_) | Self::Gateway(_) | Self::Spec(_) => {
                false
            }
            _ => true,
        }
    }
}

/// Runs the command line `args`; the code is the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let spare = if is_start(&args) { spare(is_networked(&args)) } else { None };
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let Some(verb) = cli.verb else {
        ui::print(&Cli::command().render_help().ansi().to_string());
        return 0;
    };
    let own = if verb.keeps_state() { lifecycle::rootless::enter() } else { Ok(None) };
    let done = own.and_then(|own| dispatch(verb, &verbs::Place::new(cli.root, own), spare));
    lifecycle::hooks::told().iter().for_each(|line| ui::error::warn(line));
    match done {
        Ok(code) => code,
        Err(error) => {
            ui::error::show(&error);
            if error.kind() == ErrorKind::Interrupted {
                workshop::interrupt::end_as_asked();
            }
            error.kind().exit_code()
        }
    }
}

fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    match quick::parse(args) {
        Some((root, run)) => Ok(Cli { root, verb: Some(Verb::Run(run)) }),
        None => Cli::try_parse_from(args),
    }
}

/// A keeper that gets ready meanwhile, unless another program shall be it. What goes wrong now goes
/// wrong again when there is something to start, and is told then.
fn spare(network: bool) -> Option<Spare> {
    let copies = lifecycle::rootless::is_root() && std::env::var_os("TSUBO_KEEPER").is_none();
    if copies { Spare::fork(|id| keeper::forked(id, network)).ok() } else { None }
}

/// Whether this is `tsubo [--root DIR] run …`.
fn is_start(args: &[OsString]) -> bool {
    let words: Vec<_> = args.iter().skip(1).take(3).map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["run", ..] | ["--root", _, "run"] => true,
        [root, "run", ..] => root.starts_with("--root="),
        _ => false,
    }
}

/// Whether it looks as if the container is to have a network of its own: what is made for that early is of no use
/// otherwise, and does no harm.
fn is_networked(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().filter_map(|word| word.to_str()).collect();
    words.iter().enumerate().any(|(place, word)| match word.split_once('=').unwrap_or((word, "")) {
        ("--network", "") => !matches!(words.get(place + 1), Some(&"host" | &"none")),
        ("--network", value) => !matches!(value, "host" | "none"),
        ("-p" | "--publish", _) => true,
        _ => false,
    })
}

/// Help and version go to stdout with success; a bad command line is 125, as with Docker.
fn usage(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // Nobody may be there to read it.
        let _ = error.print();
        return 0;
    }
    let inner = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<spec::Error>());
    match inner {
        // An error of ours has a way out, which clap would not show.
        Some(cause) => ui::error::show_usage(&argument(error), cause),
        None => ui::error::show_plain(&error.render().to_string()),
    }
    125
}

/// The argument that a value was given for.
fn argument(error: &clap::Error) -> String {
    match error.get(clap::error::ContextKind::InvalidArg) {
        Some(clap::error::ContextValue::String(argument)) => argument.clone(),
        _ => "the command line".to_owned(),
    }
}

fn dispatch(verb: Verb, place: &verbs::Place, spare: Option<Spare>) -> spec::Result<u8> {
    // These become the parent of processes in containers, which could write to the program that
    // runs them (2019-5736) if it were reachable for writing.
    if matches!(verb, Verb::Dev(_) | Verb::Test(_) | Verb::Pack(_) | Verb::Build(_)) {
        runtime::shield()?;
    }
    match verb {
        Verb::Dev(args) => verbs::dev::run(args, place),
        Verb::Test(args) => verbs::test::run(args, place),
        Verb::Observation(args) => verbs::observation::run(args, place),
        Verb::Pack(args) => verbs::pack::run(args, place),
        Verb::Build(args) => verbs::build::run(args, place),
        Verb::ImportHaco(args) => verbs::import_haco::run(&args),
        Verb::Contents(args) => verbs::contents::run(&args),
        Verb::Run(args) => verbs::run::run(args, place, spare),
        Verb::Plan(args) => verbs::plan::run(&args, place),
        Verb::Create(args) => verbs::create::run(&args, place),
        Verb::Start(args) => verbs::start::run(args, place),
        Verb::Restart(args) => verbs::restart::run(&args, place),
        Verb::Boot(args) => verbs::boot::run(&args, place),
        Verb::Cp(args) => verbs::cp::run(&args, place),
        Verb::Attach(args) => verbs::attach::run(args, place),
        Verb::Top(args) => verbs::top::run(&args, place),
        Verb::Stats(args) => verbs::stats::run(&args, place),
        Verb::Capacity(args) => verbs::capacity::run(&args, place),
        Verb::History(args) => verbs::history::run(&args, place),
        Verb::Sampler(args) => verbs::sampler::run(&args, place),
        Verb::Events(args) => verbs::events::run(&args, place),
        Verb::Wait(args) => verbs::wait::run(&args, place),
        Verb::Pause(args) => verbs::pause::run(&args, place),
        Verb::Unpause(args) => verbs::unpause::run(&args, place),
        Verb::Update(args) => verbs::update::run(&args, place),
        Verb::Group(args) => verbs::group::run(args, place),
        Verb::Network(args) => verbs::network::run(args, place),
        Verb::Port(args) => verbs::port::run(&args, place),
        Verb::Rename(args) => verbs::rename::run(&args, place),
        Verb::Ps(args) => verbs::ps::run(&args, place),
        Verb::Logs(args) => verbs::logs::run(&args, place),
        Verb::Exec(args) => verbs::exec::run(args, place),
        Verb::Stop(args) => verbs::stop::run(&args, place),
        Verb::Kill(args) => verbs::kill::run(&args, place),
        Verb::Hooks(args) => verbs::hooks::run(&args, place),
        Verb::Signal(args) => verbs::signal::run(&args, place),
        Verb::Spec(args) => verbs::specification::run(&args),
        Verb::Script(args) => verbs::script::run(&args, place),
        Verb::Rm(args) => verbs::rm::run(&args, place),
        Verb::Inspect(args) => verbs::inspect::run(&args, place),
        Verb::Diff(args) => verbs::diff::run(&args, place),
        Verb::Path(args) => verbs::path::run(&args, place),
        Verb::Images(args) => verbs::images::run(&args, place),
        Verb::Install(args) => verbs::install::run(&args, place),
        Verb::Rmi(args) => verbs::rmi::run(&args, place),
        Verb::Audit(args) => verbs::audit::run(&args, place),
        Verb::Gateway(args) => verbs::gateway::run(&args, place),
        Verb::Info(args) => verbs::info::run(&args, place),
        Verb::Gc(args) => verbs::gc::run(&args, place),
        Verb::Generate(args) => verbs::generate::run(&args),
    }
}
