//! What a hook has done to its container and to others of the same image.

use std::collections::VecDeque;

use lifecycle::Containers;
use script::mlua::{Lua, Result, Table, Value, Variadic};
use script::{refused, value};
use serde_json::json;
use spec::hooks::{Event, When};

use crate::processes::{self, Run};
use crate::reach::{Host, failed, not_said};

/// So much of what a command says is kept.
const KEPT: usize = 64 << 10;

/// So many lines of the log are told.
const LINES: usize = 10_000;

/// So many containers of one image a hook may ask for.
const SIBLINGS: u32 = 100;

/// Gives them to `ctx`.
pub(super) fn give(lua: &Lua, host: &Host, ctx: &Table) -> Result<()> {
    let own = host.clone();
    ctx.raw_set(
        "exec",
        lua.create_function(move |lua, (_, argv, options): (Value, Vec<String>, Option<Table>)| {
            exec(lua, &own, &argv, options)
        })?,
    )?;
    let own = host.clone();
    ctx.raw_set(
        "logs",
        lua.create_function(move |lua, (_, count): (Value, Option<usize>)| {
            logs(lua, &own, count.unwrap_or(100))
        })?,
    )?;
    for name in ["stop", "restart"] {
        let own = host.clone();
        ctx.raw_set(name, lua.create_function(move |lua, _: Variadic<Value>| end(lua, &own, name))?)?;
    }
    let own = host.clone();
    ctx.raw_set(
        "replace",
        lua.create_function(move |lua, (_, image): (Value, String)| replace(lua, &own, &image))?,
    )?;
    let own = host.clone();
    ctx.raw_set("scale", lua.create_function(move |lua, (_, count): (Value, u32)| scale(lua, &own, count))?)
}

/// In the container, as `tsubo exec` does: what it starts is ended with it.
fn exec(lua: &Lua, host: &Host, argv: &[String], options: Option<Table>) -> Result<Table> {
    if argv.is_empty() {
        return Err(refused(lua, "there is no command to execute\nhint: ctx:exec({ \"/bin/true\" })"));
    }
    let timeout = options.map_or(Ok(None), |options| options.get::<Option<f64>>("timeout"))?;
    let deadline = crate::reach::until(host, timeout, lua)?;
    if !host.changes_to("exec", json!(argv)) {
        return crate::reach::result(lua, Some(0), b"", b"");
    }
    let name = host.firing().container.name.as_str();
    let mut command = host.tsubo(&["exec", name, "--"]).map_err(|error| failed(lua, &error))?;
    command.extend(argv.iter().cloned());
    let run = Run { argv: &command, env: processes::plain_environment(), input: b"", deadline, kept: KEPT };
    let ended = processes::run(&run).map_err(|error| failed(lua, &error))?;
    crate::reach::result(lua, ended.code, &ended.output, &ended.error)
}

/// The last lines of its log.
fn logs(lua: &Lua, host: &Host, count: usize) -> Result<Vec<String>> {
    let mut reader = host.container().map_err(|error| failed(lua, &error))?.logs();
    let count = count.min(LINES);
    let mut last = VecDeque::new();
    while let Some(line) = reader.next_line().map_err(|error| failed(lua, &error))? {
        last.push_back(line.text);
        if last.len() > count {
            last.pop_front();
        }
    }
    Ok(last.iter().map(|text| String::from_utf8_lossy(text).trim_end_matches('\n').to_owned()).collect())
}

/// When this hook has ended: the keeper goes with its container, and whatever it has started with it.
fn end(lua: &Lua, host: &Host, verb: &str) -> Result<()> {
    if host.firing().hook.when == When::Before(Event::Stop) {
        return Err(refused(lua, format!("ctx:{verb}() in a hook before stop would wait for itself")));
    }
    let name = host.firing().container.name.as_str();
    let command = host.tsubo(&[verb, name]).map_err(|error| failed(lua, &error))?;
    if host.changes_to(verb, json!(name)) {
        host.then([command]);
    }
    Ok(())
}

fn must_have_containers(lua: &Lua, host: &Host, what: &str) -> Result<()> {
    if host.allow().containers { Ok(()) } else { Err(not_said(lua, what, "containers")) }
}

/// Another package in its place, under its name.
fn replace(lua: &Lua, host: &Host, image: &str) -> Result<()> {
    must_have_containers(lua, host, "ctx:replace()")?;
    if host.firing().hook.when == When::Before(Event::Stop) {
        return Err(refused(lua, "ctx:replace() in a hook before stop would wait for itself"));
    }
    let name = host.firing().container.name.as_str();
    let commands = || -> spec::Result<_> {
        // Before the one that runs is ended for it.
        store::Store::open(&host.firing().container.lib.join("store"))?.image(image)?;
        Ok([
            host.tsubo(&["stop", name])?,
            host.tsubo(&["rm", "-f", name])?,
            host.tsubo(&["run", "-d", "--name", name, image])?,
        ])
    };
    let [stop, remove, run] = commands().map_err(|error| failed(lua, &error))?;
    if host.changes_to("replace", json!(image)) {
        let is_removed = host.container().is_ok_and(|own| own.record().remove);
        // One that is removed when it ends is gone by then.
        if is_removed { host.then([stop, run]) } else { host.then([remove, run]) }
    }
    Ok(())
}

/// The image without what people are told of it.
fn image_of(text: &str) -> &str {
    text.split([' ', '@']).next().unwrap_or(text)
}

/// Other containers of the same image: names and where they stand.
fn others(host: &Host) -> spec::Result<Vec<(String, String)>> {
    let own = &host.firing().container;
    let all = Containers::of(&host.home()).list()?;
    let same = all.iter().filter(|one| one.record().image == own.image && one.name().as_str() != own.name);
    same.map(|one| Ok((one.name().to_string(), one.status()?.word()))).collect()
}

/// `ctx.siblings`.
pub(super) fn siblings(lua: &Lua, host: &Host) -> Result<Value> {
    must_have_containers(lua, host, "ctx.siblings")?;
    let others = others(host).map_err(|error| failed(lua, &error))?;
    let list = others.iter().map(|(name, status)| json!({ "name": name, "status": status })).collect();
    value::from_json(lua, &list)
}

/// So many of the image run then, this one counted in: `NAME-2`, `NAME-3` are made, the highest are removed first.
fn scale(lua: &Lua, host: &Host, count: u32) -> Result<()> {
    must_have_containers(lua, host, "ctx:scale()")?;
    if count == 0 || count > SIBLINGS {
        return Err(refused(lua, format!("ctx:scale({count}): from 1, which is this one, to {SIBLINGS}")));
    }
    let name = host.firing().container.name.as_str();
    let image = image_of(&host.firing().container.image);
    let commands = || -> spec::Result<Vec<Vec<String>>> {
        let known = others(host)?;
        let running = |number: u32| {
            known
                .iter()
                .find(|(other, _)| *other == format!("{name}-{number}"))
                .map(|(_, status)| status.starts_with("running"))
        };
        let mut commands = Vec::new();
        for number in 2..=SIBLINGS {
            let other = format!("{name}-{number}");
            match running(number) {
                Some(true) if number > count => commands.push(host.tsubo(&["rm", "-f", &other])?),
                Some(false) if number <= count => commands.push(host.tsubo(&["start", &other])?),
                None if number <= count => {
                    commands.push(host.tsubo(&["run", "-d", "--name", &other, image])?)
                }
                _ => {}
            }
        }
        Ok(commands)
    };
    let commands = commands().map_err(|error| failed(lua, &error))?;
    if host.changes_to("scale", json!(count)) {
        host.then(commands);
    }
    Ok(())
}
