//! Definitions that compute, and the modules around them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use script::modules::{self, Find, Loaded};
use script::{Bounds, Vm, definition, library, say};
use serde_json::{Value as Json, json};
use spec::definition::Definition;
use spec::{Error, Result, ResultExt};

use crate::facts;

/// So long a definition may take, and so much memory.
const TIME: Duration = Duration::from_secs(5);
const MEMORY: u64 = 64 << 20;

/// So much later the process ends whatever it does.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// The largest script.
const BYTES: u64 = 1 << 20;

/// The state directory whose disk is asked for, where nobody has said another.
const STATE: &str = "/var/lib/tsubo";

/// Runs the mode.
pub(crate) fn run(file: &Path, flags: &[(String, String)]) -> Result<()> {
    let name = name_of(file)?;
    let text = read(file)?;
    let facts = facts::all(Path::new(STATE), flags);
    let (vm, loaded) = machine(file.parent().unwrap_or(Path::new(".")), say_aloud)?;
    definition::give_facts(&vm, &facts)?;
    let mut evaluated = definition::evaluate(&vm, &name, &text).map_err(|mistake| hinted(mistake.into()))?;
    own_namespaces(&mut evaluated.table);
    tables_where_expected(&mut evaluated.table);
    loaded.add(&name, &text);
    let all = json!({ "table": evaluated.table, "files": loaded.files(), "facts": facts });
    crate::cli::line(&all.to_string())
}

fn hinted(error: Error) -> Error {
    if error.hints().is_empty() {
        error.hint("what a definition can say: docs/scripting.md, and tsubo script types")
    } else {
        error
    }
}

/// The name of a script: what it is called in errors, and in the package.
pub(crate) fn name_of(file: &Path) -> Result<String> {
    let name = file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| Error::user(format!("{} is no file of a script", file.display())))
}

/// The text of a script.
pub(crate) fn read(file: &Path) -> Result<String> {
    let opened = rustix::fs::open(file, READING, Mode::empty()).map_err(std::io::Error::from);
    text_of(opened.doing(|| format!("opening {}", file.display()))?.into(), file)
}

/// A script of a definition's folder: what is a link may lead elsewhere in it, and nowhere else.
pub(crate) fn read_below(folder: &Path, name: &str) -> Result<String> {
    let shown = folder.join(name);
    let doing = || format!("opening {}", shown.display());
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let below = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let below = below.map_err(std::io::Error::from).doing(doing)?;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(below, name, READING, Mode::empty(), how) {
        Ok(file) => text_of(file.into(), &shown),
        Err(Errno::XDEV | Errno::LOOP) => {
            Err(Error::user(format!("{} leads out of the definition's folder", shown.display()))
                .hint("copy the script there, or put it into /etc/tsubo/lib or ~/.config/tsubo/lib"))
        }
        Err(errno) => Err(std::io::Error::from(errno)).doing(doing),
    }
}

/// What is no file holds nobody up.
const READING: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

fn text_of(file: File, shown: &Path) -> Result<String> {
    let meta = file.metadata().doing(|| format!("opening {}", shown.display()))?;
    if !meta.is_file() || meta.len() > BYTES {
        return Err(Error::user(format!("{} is no script: a file of at most 1 MiB", shown.display())));
    }
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).doing(|| format!("reading {}", shown.display()))?;
    String::from_utf8(bytes).map_err(|_| {
        Error::user(format!("{} is no text", shown.display()))
            .hint("scripts are given as text, never compiled")
    })
}

/// A machine in which modules are looked for beside `folder`. What its scripts print goes to `aloud`.
pub(crate) fn machine(folder: &Path, aloud: impl Fn(say::Said)) -> Result<(Vm, Loaded)> {
    // Within functions of C nobody asks for the time.
    let last = format!("error: it took longer than {} s\n", TIME.as_secs());
    sys::deadline::arm_failing(TIME + GRACE, last.into_bytes());
    // Of time the timer is the backstop: several of these may be made in one process.
    crate::fire::limit(HOUR, MEMORY);
    let vm = Vm::new(Bounds { memory: MEMORY, deadline: Instant::now() + TIME })?;
    let said = say::Said::default();
    let wrong = |error: &script::mlua::Error| Error::from(vm.mistake(error));
    say::give(&vm, &said);
    let loaded = modules::give(vm.lua(), finder(folder)).map_err(|error| wrong(&error))?;
    aloud(said);
    Ok((vm, loaded))
}

/// What a definition prints while it is evaluated is for whoever builds.
fn say_aloud(_: say::Said) {}

/// Where modules are looked for: beside the definition, for the host, for the user, in what ships with us.
fn finder(folder: &Path) -> Find {
    let beside = folder.to_owned();
    let mut folders = vec![PathBuf::from("/etc/tsubo/lib")];
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let own = own.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    folders.extend(own.map(|config| config.join("tsubo/lib")));
    Box::new(move |name| {
        let file = modules::file_of(name);
        if beside.join(&file).is_file() {
            return read_below(&beside, &file).map(|text| Some((file, text)));
        }
        // What the host's or the user's own lead to is their business.
        for folder in &folders {
            let path = folder.join(&file);
            if path.is_file() {
                return read(&path).map(|text| Some((file, text)));
            }
        }
        Ok(library::find(name))
    })
}

/// A list of namespaces names those that are its own.
fn own_namespaces(table: &mut Json) {
    let Some(said) = table.pointer_mut("/isolation/namespaces") else { return };
    let names = said.as_array().into_iter().flatten().map(|name| name.as_str().map(str::to_owned));
    let Some(names) = names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty()) else { return };
    *said = names.into_iter().map(|name| (name, json!("own"))).collect();
}

/// An empty table of a script is a list; where the definition has a table it becomes one.
fn tables_where_expected(table: &mut Json) {
    let has_empty = |own: &Json| own.as_array().is_some_and(Vec::is_empty);
    let looks = |own: &Json| has_empty(own) || own.as_object().is_some_and(|own| own.values().any(has_empty));
    let Some(map) = table.as_object_mut() else { return };
    if !map.values().any(looks) {
        return;
    }
    let Ok(schema) = serde_json::from_str::<Json>(&Definition::schema()) else { return };
    for (key, own) in map {
        let expected = property(&schema, &schema, key);
        mend(own, expected);
        for (key, own) in own.as_object_mut().into_iter().flatten() {
            mend(own, expected.and_then(|expected| property(&schema, expected, key)));
        }
    }
}

fn mend(own: &mut Json, expected: Option<&Json>) {
    let is_table = expected.is_some_and(|expected| expected.get("type").is_some_and(|kind| kind == "object"));
    if is_table && own.as_array().is_some_and(Vec::is_empty) {
        *own = json!({});
    }
}

/// What the schema says of a property, references followed.
fn property<'a>(schema: &'a Json, of: &'a Json, key: &str) -> Option<&'a Json> {
    let own = of.get("properties")?.get(key)?;
    let reference = own.get("$ref").or_else(|| own.get("allOf")?.get(0)?.get("$ref"));
    match reference.and_then(Json::as_str) {
        Some(reference) => schema.pointer(reference.strip_prefix('#')?),
        None => Some(own),
    }
}
