//! From the words of a command line to a verb, and from its failure to what engines read.

use std::ffi::OsString;

use spec::{Error, Result};

use crate::commands::VERBS;
use crate::home::Home;
use crate::line::{Flag, Line, Reach, switch, value};
use crate::log::{self, Log};

/// What all verbs share.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the state is.
    pub(crate) home: Home,
    /// Where failures are told.
    pub(crate) log: Log,
    /// Control groups are systemd's.
    pub(crate) systemd: bool,
}

/// One verb.
pub(crate) struct Verb {
    /// How it is called.
    pub(crate) name: &'static str,
    /// Its words besides options.
    pub(crate) words: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// Its options.
    pub(crate) flags: &'static [Flag],
    /// Where these may stand.
    pub(crate) reach: Reach,
    /// How it is used.
    pub(crate) example: &'static str,
    /// Does it; the exit code comes back.
    pub(crate) run: fn(&Context, &Line) -> Result<u8>,
}

/// Options before the verb.
const GLOBAL: [Flag; 9] = [
    value("root", None, "DIR", "where the state of containers is (/run/tsubo-oci)"),
    value("log", None, "FILE", "where failures are written to, besides standard error"),
    value("log-format", None, "FORM", "text or json"),
    switch("debug", None, "write more to the log"),
    switch("systemd-cgroup", None, "let systemd make the control groups; cgroupsPath is slice:prefix:name"),
    value("rootless", None, "WORD", "true, false or auto: taken from who calls, whatever is said"),
    value("criu", None, "PATH", "no effect: criu is found in PATH"),
    switch("version", Some('v'), "print the version"),
    switch("help", Some('h'), "print this"),
];

/// What goes wrong in a process that joins is not that process's exit code.
const NOT_JOINED: u8 = 255;

/// Runs a command line; the exit code comes back.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> u8 {
    runtime::keep_shield();
    let mut log = Log::default();
    let words: Vec<OsString> = args.skip(1).collect();
    let joins = words.iter().any(|word| word == "exec");
    match words.into_iter().map(text).collect::<Result<Vec<String>>>().and_then(|args| act(&args, &mut log)) {
        Ok(code) => code,
        Err(error) => {
            let text = log::text(&error);
            log.error(&text);
            eprintln!("error: {text}");
            error.hints().iter().for_each(|hint| eprintln!("hint: {hint}"));
            if joins { NOT_JOINED } else { 1 }
        }
    }
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| Error::user(format!("{} is no text", word.to_string_lossy())))
}

fn act(args: &[String], log: &mut Log) -> Result<u8> {
    let global = Line::parse(&GLOBAL, args, Reach::FirstWord)?;
    *log = Log::new(global.text("log"), global.text("log-format"), global.on("debug"))?;
    if global.on("version") {
        return Ok(version());
    }
    let Some((name, rest)) = global.words.split_first().filter(|_| !global.on("help")) else {
        return Ok(help());
    };
    if name == "help" {
        return match rest.first() {
            Some(name) => find(name).map(help_of),
            None => Ok(help()),
        };
    }
    let verb = find(name)?;
    let line = match Line::parse(verb.flags, rest, verb.reach) {
        Err(_) if rest.iter().any(|word| word == "--help" || word == "-h") => return Ok(help_of(verb)),
        line => line?,
    };
    let home = Home::new(global.text("root"))?;
    let context = Context { home, log: log.clone(), systemd: global.on("systemd-cgroup") };
    (verb.run)(&context, &line)
}

fn find(name: &str) -> Result<&'static Verb> {
    VERBS.iter().copied().find(|verb| verb.name == name).ok_or_else(|| {
        Error::user(format!("there is no command {name:?}")).hint("--help lists those there are")
    })
}

/// In the form that containerd and Podman take apart.
fn version() -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    say!("tsubo-oci version {version}\ncommit: v{version}\nspec: {}", spec::oci::VERSION);
    0
}

fn help() -> u8 {
    say!("Starts containers from bundles, as the OCI runtime-spec says.\n");
    say!("Usage: tsubo-oci [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:");
    for verb in VERBS {
        say!("  {:<12} {}", verb.name, verb.about);
    }
    say!("\nOptions:");
    options(&GLOBAL);
    say!("\nExamples:\n  tsubo-oci spec && tsubo-oci run web\n  tsubo-oci COMMAND --help");
    0
}

fn help_of(verb: &Verb) -> u8 {
    say!("{}\n", verb.about);
    say!("Usage: tsubo-oci {} [OPTIONS] {}\n", verb.name, verb.words);
    if !verb.flags.is_empty() {
        say!("Options:");
        options(verb.flags);
        say!("");
    }
    say!("Examples:\n{}", verb.example);
    0
}

fn options(flags: &[Flag]) {
    for flag in flags {
        let short = flag.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
        let written = format!("{short}--{} {}", flag.long, flag.value.unwrap_or_default());
        say!("  {written:<34} {}", flag.help);
    }
}
