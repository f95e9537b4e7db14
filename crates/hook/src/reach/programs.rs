//! `run({ "/usr/bin/program", … })`: declared programs of the host.

use std::path::Path;
use std::time::{Duration, Instant};

use script::mlua::{Function, Lua, LuaString, Result, Table};
use script::refused;
use serde_json::json;

use super::{Host, failed, not_allowed};
use crate::processes::{self, Run};

/// So much of each stream is kept.
const KEPT: usize = 64 << 10;

pub(super) fn function(lua: &Lua, host: &Host) -> Result<Function> {
    let own = host.clone();
    lua.create_function(move |lua, (argv, options): (Vec<String>, Option<Table>)| {
        let program = argv.first().cloned().unwrap_or_default();
        if !own.allow().run.contains(Path::new(&program)) {
            return Err(not_allowed(lua, format!("running {program:?}"), "run", &program));
        }
        let input = option::<LuaString>(options.as_ref(), "input")?.map(|text| text.as_bytes().to_vec());
        let env: Option<std::collections::BTreeMap<String, String>> = option(options.as_ref(), "env")?;
        let mut environment = processes::plain_environment();
        for (name, value) in env.unwrap_or_default() {
            must_be_settable(lua, &own, &name)?;
            environment.push((name, value));
        }
        if !own.changes_to("run", json!(argv)) {
            return result(lua, Some(0), b"", b"");
        }
        let (input, deadline) =
            (input.unwrap_or_default(), until(&own, option(options.as_ref(), "timeout")?, lua)?);
        let run = Run { argv: &argv, env: environment, input: &input, deadline, kept: KEPT };
        let ended = processes::run(&run).map_err(|error| failed(lua, &error))?;
        result(lua, ended.code, &ended.output, &ended.error)
    })
}

/// Variables decide what a program does as much as its words: those of the language, and those that are declared.
fn must_be_settable(lua: &Lua, host: &Host, name: &str) -> Result<()> {
    if name.starts_with("LD_") {
        return Err(refused(lua, format!("{name} is never set: it would make the program another one")));
    }
    let is_of_language = ["LANG", "TZ"].contains(&name) || name.starts_with("LC_");
    if is_of_language || host.allow().env.contains(name) {
        return Ok(());
    }
    Err(not_allowed(lua, format!("setting {name} for a program"), "env", name))
}

fn option<T: script::mlua::FromLua>(options: Option<&Table>, key: &str) -> Result<Option<T>> {
    options.map_or(Ok(None), |options| options.get::<Option<T>>(key))
}

/// When it must have ended: never later than the hook itself.
pub(crate) fn until(host: &Host, seconds: Option<f64>, lua: &Lua) -> Result<Instant> {
    let Some(seconds) = seconds else { return Ok(host.deadline()) };
    let wanted = Duration::try_from_secs_f64(seconds)
        .map_err(|_| refused(lua, format!("{seconds} is no time: a number of seconds")))?;
    Ok(Instant::now().checked_add(wanted).map_or(host.deadline(), |own| own.min(host.deadline())))
}

/// `code` is nil where its time was over.
pub(crate) fn result(lua: &Lua, code: Option<i32>, output: &[u8], error: &[u8]) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("code", code)?;
    table.raw_set("ok", code == Some(0))?;
    table.raw_set("timed_out", code.is_none())?;
    table.raw_set("output", lua.create_string(output)?)?;
    table.raw_set("error", lua.create_string(error)?)?;
    Ok(table)
}
