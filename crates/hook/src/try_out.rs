//! `tsubo-hook run`: a hook tried against a container that runs, or against a firing that was recorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lifecycle::{Containers, Home};
use script::modules;
use serde_json::json;
use spec::hooks::{Act, Event, Firing, Hook, MEMORY, OnError, Subject, TIMEOUT, VERSION, Verdict, When};
use spec::{Error, Result, ResultExt};

use crate::reach::Host;
use crate::{cli, eval, facts, fire, follow_up, scripted};

/// What is tried, on what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A script and its function, or a definition and its hook
    #[arg(value_name = "SCRIPT#FUNCTION")]
    what: String,
    /// A container that is there
    #[arg(long, value_name = "NAME", conflicts_with = "record", required_unless_present = "record")]
    container: Option<String>,
    /// A firing that was recorded, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// As if this had happened
    #[arg(long, value_name = "WHEN")]
    when: Option<When>,
    /// What hooks of the definition may reach, as JSON of [hooks.allow]
    #[arg(long, value_name = "JSON")]
    allow: Option<String>,
    /// Do what it asks for, instead of only showing it
    #[arg(long)]
    live: bool,
    /// The state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Runs the mode.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut firing = match &args.record {
        Some(file) => recorded(file)?,
        None => living(args)?,
    };
    script_of(&mut firing, &args.what)?;
    if let Some(when) = &args.when {
        firing.hook.when = when.clone();
    }
    if let Some(allow) = &args.allow {
        firing.allow = serde_json::from_str(allow)
            .map_err(|cause| Error::user("--allow is no [hooks.allow]").because(cause))?;
    }
    firing.dry = !args.live;
    let deadline = Instant::now() + Duration::from_millis(firing.hook.timeout);
    let overdue = format!("error: it took longer than {} ms\n", firing.hook.timeout);
    let most = Duration::from_millis(firing.hook.timeout) + eval::GRACE;
    sys::deadline::arm_failing(most, overdue.into_bytes());
    fire::limit(firing.hook.timeout, firing.hook.memory);
    let host = Host::new(firing, deadline);
    let outcome = scripted::fire(&host);
    sys::deadline::disarm();
    crate::processes::end_all();
    outcome.log.iter().try_for_each(|text| cli::line(&format!("log: {text}")))?;
    let verb = if args.live { "changed" } else { "would change" };
    outcome
        .changes
        .iter()
        .try_for_each(|change| cli::line(&format!("{verb}: {} to {}", change.what, change.to)))?;
    let mut state = outcome.state.iter().filter(|(key, _)| !key.starts_with(crate::reach::OURS));
    state.try_for_each(|(key, to)| cli::line(&format!("state: {key} = {to}")))?;
    follow_up::start(&host, host.follow_up())?;
    match outcome.verdict {
        Verdict::Done => cli::line("done"),
        Verdict::Veto(why) => cli::line(&format!("veto: {why}")),
        Verdict::Failed(why) | Verdict::Overdue(why) => Err(Error::failed(why)),
    }
}

fn recorded(file: &Path) -> Result<Firing> {
    let text = std::fs::read(file).doing(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text)
        .map_err(|cause| Error::user(format!("{} is no firing", file.display())).because(cause))
}

fn living(args: &Args) -> Result<Firing> {
    let name = args.container.as_deref().unwrap_or_default();
    let own = lifecycle::rootless::enter()?;
    let home = Home::open(args.root.as_deref(), own.as_ref())?;
    let container = Containers::of(&home).find(name)?;
    let status = container.status()?;
    let pid = match &status {
        lifecycle::Status::Running(state) => Some(state.first.pid),
        _ => None,
    };
    let subject = Subject {
        id: container.id().to_string(),
        name: container.name().to_string(),
        image: container.record().image.clone(),
        status: status.word(),
        pid,
        lib: home.lib().to_owned(),
        run: home.run().to_owned(),
    };
    // As its next firing would find it.
    let state = lifecycle::hooks::state(container.dir())?;
    Ok(Firing { container: subject, state, ..played(home.lib()) })
}

/// The script from its file, with its modules: a definition where it is one.
fn script_of(firing: &mut Firing, what: &str) -> Result<()> {
    let (file, function) = what.split_once('#').ok_or_else(|| {
        Error::user(format!("{what:?} names no function"))
            .hint("as in hooks.luau#grow, or tsubo.luau#NAME-OF-A-HOOK")
    })?;
    let (path, function) = (Path::new(file), function.to_owned());
    let (name, text) = (eval::name_of(path)?, eval::read(path)?);
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_definition = text.contains("tsubo.container");
    if is_definition {
        firing.facts = facts::all(&firing.container.lib, &[]);
    }
    firing.files = beside(folder)?;
    firing.files.insert(name.clone(), text);
    firing.hook.name = what.to_owned();
    firing.hook.act = Act::Script { file: name, function, definition: is_definition };
    Ok(())
}

/// All scripts of a folder: which of them are required is seen when it runs.
fn beside(folder: &Path) -> Result<BTreeMap<String, String>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).doing(|| format!("reading {}", folder.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(modules::ENDING) && entry.path().is_file() {
            let text = eval::read_below(folder, &name)?;
            files.insert(name, text);
        }
    }
    Ok(files)
}

/// A firing of nothing, for a container that is only played.
pub(crate) fn played(lib: &Path) -> Firing {
    let subject = Subject {
        id: "000000000000".to_owned(),
        name: "played".to_owned(),
        image: "played".to_owned(),
        status: "running".to_owned(),
        pid: None,
        lib: lib.to_owned(),
        run: lib.join("run"),
    };
    let hook = Hook {
        name: "played".to_owned(),
        when: When::Before(Event::Start),
        act: Act::Script { file: String::new(), function: String::new(), definition: false },
        timeout: TIMEOUT,
        on_error: OnError::Warn,
        memory: MEMORY,
    };
    Firing {
        version: VERSION,
        hook,
        container: subject,
        detail: BTreeMap::new(),
        allow: spec::hooks::Allow::default(),
        files: BTreeMap::new(),
        facts: json!({}).to_string(),
        state: BTreeMap::new(),
        dry: true,
    }
}
