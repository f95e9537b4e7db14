//! The command line of `tsubo-audit`, and its way from there to the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use spec::{Error, Result, ResultExt};

use super::audit::{Audit, Plan};
use super::feel::Neighbour;
use super::gauges::Gauges;
use super::picture;
use super::report::Report;
use super::root;
use super::runtime::{Kind, PREFIX, Runtime, Target, sister};
use super::watcher::Watcher;
use super::work::Work;
use crate::attack::Attack;
use crate::attacks;

const EXAMPLES: &str = "\
Examples:
  tsubo audit                             a container with the defaults, over a root with nothing in it
  tsubo audit web                         an installed image, with its own limits
  tsubo audit --quick --preset strict web.tsubo
  tsubo audit --only pages,processes -m 64m --pids-limit 100
  tsubo audit --html audit.html           a picture of what a neighbour felt
  tsubo audit --runtime podman            the same attacks in a container of Podman's
  tsubo audit --format json | jq '.attacks[] | select(.verdict != \"held\")'

Without an image, the definition in the current folder (its package), or else a root with nothing in it. All
flags of the runtime's `run` that are not listed here follow after `--`.

Exit codes: 0 if every attack was held, 1 if one was not or is unknown, 125 if the audit itself failed.
";

/// Let a container attack its own limits, and show what the host and a neighbour lose by that.
#[derive(Debug, Args)]
struct Flags {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Whose containers
    #[arg(long, value_enum, default_value_t)]
    runtime: Kind,

    /// Less time for each attack, and no variants: under 20 seconds in all
    #[arg(long)]
    quick: bool,

    /// Only these attacks, or families of attacks
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,

    /// List all attacks, and make none
    #[arg(long)]
    list: bool,

    /// How to show it: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,

    /// Draw what the neighbour felt and what the host had left
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// A package file, or the name or digest of an installed image
    #[arg(value_name = "FILE|NAME")]
    image: Option<String>,

    /// More flags of the runtime's run
    #[arg(last = true, value_name = "FLAGS")]
    more: Vec<OsString>,
}

/// Flags of `run` that say what a container gets; they are passed on as they are.
const PASSED_ON: [&str; 30] = [
    "preset",
    "network",
    "namespace",
    "pid",
    "ipc",
    "uts",
    "userns",
    "mount",
    "tmpfs",
    "device",
    "cap-add",
    "cap-drop",
    "seccomp",
    "ulimit",
    "sysctl",
    "shm-size",
    "isolation",
    "memory",
    "memory-swap",
    "cpus",
    "cpu-weight",
    "cpu-shares",
    "cpuset-cpus",
    "pids-limit",
    "device-write-bps",
    "device-read-bps",
    "limit",
    "group",
    "user",
    "volume",
];
const SWITCHES: [&str; 3] = ["writable", "best-effort", "as-packaged"];

/// Variants of others, for which there is no time with `--quick`.
const LEFT_OUT: [&str; 13] = [
    "sessions",
    "zombies",
    "vforks",
    "page-tables",
    "epoll",
    "churn",
    "timers",
    "direct-writes",
    "disk-names",
    "long-line",
    "message-queues",
    "semaphores",
    "attributes",
];

fn command() -> Command {
    let mut command = Flags::augment_args(
        Command::new("tsubo-audit").bin_name("tsubo audit").version(env!("CARGO_PKG_VERSION")),
    )
    .about("Let a container attack its own limits, and show what the host and a neighbour lose by that")
    .after_help(EXAMPLES);
    for name in PASSED_ON {
        let short = match name {
            "memory" => Some('m'),
            "volume" => Some('v'),
            "user" => Some('u'),
            _ => None,
        };
        let arg =
            Arg::new(name).long(name).action(ArgAction::Append).value_name("VALUE").allow_hyphen_values(true);
        let arg = arg.value_parser(clap::value_parser!(OsString)).help("As of tsubo run");
        let arg = short.map_or_else(|| arg.clone(), |short| arg.clone().short(short));
        command = command.arg(arg.help_heading("The container"));
    }
    for name in SWITCHES {
        let arg = Arg::new(name).long(name).action(ArgAction::SetTrue).help("As of tsubo run");
        command = command.arg(arg.help_heading("The container"));
    }
    command
}

/// What was said of the container, as `run` takes it.
fn passed_on(matches: &ArgMatches, more: &[OsString]) -> Vec<OsString> {
    let mut flags = Vec::new();
    for name in PASSED_ON {
        for value in matches.get_many::<OsString>(name).into_iter().flatten() {
            flags.extend([OsString::from(format!("--{name}")), value.clone()]);
        }
    }
    flags
        .extend(SWITCHES.iter().filter(|name| matches.get_flag(name)).map(|name| format!("--{name}").into()));
    flags.extend_from_slice(more);
    flags
}

/// Runs it; the code is the process's exit code.
pub fn run() -> u8 {
    let parsed =
        command().try_get_matches().and_then(|matches| Ok((Flags::from_arg_matches(&matches)?, matches)));
    let (flags, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { 125 } else { 0 };
        }
    };
    match audit(&flags, passed_on(&matches, &flags.more)) {
        Ok(held) => u8::from(!held),
        Err(error) => {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "error: {}", error.chain());
            error.hints().iter().for_each(|hint| _ = writeln!(err, "  hint: {hint}"));
            // 1 is what a limit that does not hold is told by.
            match error.kind().exit_code() {
                1 => 125,
                code => code,
            }
        }
    }
}

fn audit(flags: &Flags, passed: Vec<OsString>) -> Result<bool> {
    let mut plan = Plan { attacks: chosen(&flags.only)?, quick: flags.quick };
    if flags.quick && flags.only.is_empty() {
        plan.attacks.retain(|attack| !LEFT_OUT.contains(&attack.name));
    }
    if flags.list {
        return list(&plan.attacks, flags.format == "json").map(|()| true);
    }
    let asked = asked_to_end()?;
    let root = flags.root.as_deref().map(absolute).transpose()?;
    let work = Work::take(root.as_deref())?;
    let runtime = Runtime::new(flags.runtime, root);
    runtime.sweep();
    let made = Made { runtime: &runtime };
    let is_observed = passed.windows(2).any(|pair| pair[0] == "--preset" && pair[1] == "strict");
    root::install(&runtime, &sister("tsubo-attack")?, work.dir(), is_observed)?;
    let (mut target, subject) = target(flags, &runtime, passed)?;
    if runtime.kind == Kind::Tsubo && target.image.contains('/') {
        target.image = runtime.install(Path::new(&target.image), work.dir())?;
    }
    let gauges = Gauges::new(&runtime.disk());
    let watcher = Watcher::start(gauges.clone());
    let neighbour = Neighbour::start(&runtime, work.dir())?;
    let mut audit = Audit::new(&runtime, &target, &plan, &gauges, &watcher, neighbour, &asked)?;
    audit.try_out()?;
    let rows = audit.run(tell)?;
    tell("");
    let report = Report { runtime: runtime.kind.word(), subject, rows, notes: audit.notes() };
    if let Some(file) = &flags.html {
        let page = picture::draw(&report, &audit.neighbour.samples(), &watcher.looks(), &gauges);
        std::fs::write(file, page).doing(|| format!("writing {}", file.display()))?;
    }
    drop((audit, made));
    show(&report, flags.format == "json")?;
    Ok(report.is_held())
}

/// The images that were made for the audit, which go with it.
struct Made<'a> {
    runtime: &'a Runtime,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        sys::system_v::sweep();
        self.runtime.forget_images();
        let own = i32::try_from(std::process::id()).ok();
        self.runtime.forget_volumes(|name| super::runtime::auditor_of(name) == own);
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).doing(|| format!("looking for {}", path.display()))
}

/// Attacks by name or family; all, if nothing is said.
fn chosen(only: &[String]) -> Result<Vec<&'static Attack>> {
    let all = attacks::all();
    for name in only {
        if !all.iter().any(|one| one.name == name || one.family.word() == name) {
            return Err(
                Error::user(format!("there is no attack {name:?}")).hint("tsubo audit --list shows all")
            );
        }
    }
    let is_chosen = |one: &&Attack| {
        only.is_empty() || only.iter().any(|name| one.name == name || one.family.word() == name)
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// The image that was said; the package of the definition here; or one that is made for it.
fn target(flags: &Flags, runtime: &Runtime, passed: Vec<OsString>) -> Result<(Target, String)> {
    let image = match &flags.image {
        // As `tsubo run` tells a file from a name.
        Some(image) if image.ends_with(".tsubo") && !image.contains('/') => Some(format!("./{image}")),
        Some(image) => Some(image.clone()),
        None if runtime.kind == Kind::Tsubo => defined_here()?,
        None => None,
    };
    let words: Vec<String> = passed.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let with = if words.is_empty() { String::new() } else { format!(" with {}", words.join(" ")) };
    let Some(image) = image else {
        let subject = format!("a default container of {}{with}", runtime.kind.word());
        return Ok((
            Target {
                image: PREFIX.to_owned(),
                program: root::PROGRAM.to_owned(),
                bound: None,
                flags: passed,
            },
            subject,
        ));
    };
    // Every container has a /dev of its own to mount in, whatever its root is.
    let program = "/dev/tsubo-attack".to_owned();
    let (subject, attacker) = (format!("{image}{with}"), sister("tsubo-attack")?);
    Ok((Target { image, program, bound: Some(attacker), flags: passed }, subject))
}

/// The package that `tsubo build` makes of the definition in this folder.
fn defined_here() -> Result<Option<String>> {
    let path = Path::new("tsubo.toml");
    let computed = Path::new("tsubo.luau").exists();
    let (file, output) = match (path.exists(), computed) {
        (false, false) => return Ok(None),
        (true, false) => {
            let text = std::fs::read_to_string(path).doing(|| "reading tsubo.toml".to_owned())?;
            let definition = spec::definition::Definition::parse(&text, "tsubo.toml")?;
            let output = definition.output.unwrap_or_else(|| format!("{}.tsubo", definition.name));
            ("tsubo.toml", output)
        }
        // Or there are both, which is refused in its words.
        (_, true) => ("tsubo.luau", computed_output()?),
    };
    // As `tsubo build` writes it: as seen from the folder of the definition, which is this one.
    let package = Path::new(".").join(&output);
    if !package.exists() {
        return Err(Error::not_found(format!("the package {output} of this folder's {file} is not there"))
            .hint("tsubo build makes it"));
    }
    Ok(Some(package.to_string_lossy().into_owned()))
}

/// Where the package of a definition that computes is: `tsubo` computes it.
fn computed_output() -> Result<String> {
    let program = sister("tsubo")?;
    let told = std::process::Command::new(&program).args(["spec", "--format", "json"]).output();
    let told = told.doing(|| format!("executing {}", program.display()))?;
    if !told.status.success() {
        let why = String::from_utf8_lossy(&told.stderr);
        let why = why.trim().trim_start_matches("error: ").to_owned();
        return Err(Error::user(why).hint("or name the package: tsubo audit web.tsubo"));
    }
    let told: serde_json::Value = serde_json::from_slice(&told.stdout)
        .map_err(|cause| Error::internal("tsubo spec prints no JSON").because(cause))?;
    let definition = &told["definition"];
    let name = definition["name"].as_str().unwrap_or_default();
    Ok(definition["output"].as_str().map_or_else(|| format!("{name}.tsubo"), str::to_owned))
}

/// Becomes true when somebody asks from outside.
fn asked_to_end() -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        let registered = signal_hook::flag::register(signal, asked.clone());
        registered.map_err(|cause| Error::io("watching signals", cause))?;
    }
    Ok(asked)
}

/// Says what is under way, where somebody looks on.
fn tell(what: &str) {
    use std::io::IsTerminal;
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{what}");
        let _ = err.flush();
    }
}

fn show(report: &Report, json: bool) -> Result<()> {
    let text = if json { pretty(&report.json())? } else { report.text() };
    print(&text)
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|cause| Error::internal("writing JSON").because(cause))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has read enough.
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("writing the output", cause))
        }
        _ => Ok(()),
    }
}

fn list(attacks: &[&'static Attack], json: bool) -> Result<()> {
    if json {
        let values = attacks.iter().map(|one| serde_json::json!({"name": one.name, "resource": one.family.word(), "what": one.what, "mend": one.mend}));
        return print(&pretty(&values.collect())?);
    }
    let line = |one: &&Attack| format!("{:<12} {:<24} {}\n", one.family.word(), one.name, one.what);
    print(&attacks.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_passed_on_and_names_are_checked() {
        command().debug_assert();
        let words = ["x", "--quick", "-m", "64m", "--pids-limit=10", "--writable", "web", "--", "--init"];
        let matches = command().try_get_matches_from(words).expect("flags");
        let flags = Flags::from_arg_matches(&matches).expect("flags");
        let passed = passed_on(&matches, &flags.more);
        assert_eq!(passed, ["--memory", "64m", "--pids-limit", "10", "--writable", "--init"]);
        assert_eq!(flags.image.as_deref(), Some("web"));
        assert_eq!(chosen(&["memory".into()]).expect("attacks")[0].name, "pages");
        assert_eq!(chosen(&["pages".into()]).expect("attacks").len(), 1);
        assert!(chosen(&["nothing".into()]).is_err());
    }
}
