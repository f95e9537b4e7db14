//! What a hook has done to its container and to others of the same image.

use std::collections::VecDeque;
use std::path::PathBuf;

use lifecycle::{Container, Containers, Record};
use script::mlua::{Function, Lua, Result, Table, Value, Variadic};
use script::{refused, value};
use serde_json::json;
use spec::hooks::{Act, Event, Hooks, When};
use spec::life::Restart;

use crate::follow_up::Step;
use crate::processes::{self, Run};
use crate::reach::{Host, failed, not_said};

/// So much of what a command says is kept.
const KEPT: usize = 64 << 10;

/// So many lines of the log are told.
const LINES: usize = 10_000;

/// So many containers of one image a hook may ask for.
const SIBLINGS: u32 = 100;

/// One of them; None where there is none of this name.
pub(super) fn function(lua: &Lua, host: &Host, name: &str) -> Result<Option<Function>> {
    let own = host.clone();
    let made = match name {
        "exec" => lua.create_function(move |lua, (_, argv, options): (Value, Vec<String>, Option<Table>)| {
            exec(lua, &own, &argv, options)
        }),
        "logs" => lua.create_function(move |lua, (_, count): (Value, Option<usize>)| {
            logs(lua, &own, count.unwrap_or(100))
        }),
        "stop" => lua.create_function(move |lua, _: Variadic<Value>| end(lua, &own, "stop")),
        "restart" => lua.create_function(move |lua, _: Variadic<Value>| end(lua, &own, "restart")),
        "replace" => lua.create_function(move |lua, (_, image): (Value, String)| replace(lua, &own, &image)),
        "scale" => lua.create_function(move |lua, (_, count): (Value, u32)| scale(lua, &own, count)),
        _ => return Ok(None),
    };
    made.map(Some)
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
    let name = host.name().map_err(|error| failed(lua, &error))?;
    let mut command = host.tsubo(&["exec", &name, "--"]).map_err(|error| failed(lua, &error))?;
    command.extend(argv.iter().cloned());
    let run = Run { argv: &command, env: host.environment(), input: b"", deadline, kept: KEPT };
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
    let name = host.name().map_err(|error| failed(lua, &error))?;
    // By its id: when this hook has ended another may have its name.
    let command = host.tsubo(&[verb, &host.firing().container.id]).map_err(|error| failed(lua, &error))?;
    if host.changes_to(verb, json!(name)) {
        host.then([Step::new(command)]);
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
    let steps = || -> spec::Result<_> {
        // Before the one that runs is ended for it.
        store::Store::open(&host.firing().container.lib.join("store"))?.image(image)?;
        if host.is_dry() { Ok(Vec::new()) } else { replacing(host, &host.look()?, image) }
    };
    let steps = steps().map_err(|error| failed(lua, &error))?;
    if host.changes_to("replace", json!(image)) {
        host.then(steps);
    }
    Ok(())
}

/// The old one is stopped first, so that nobody else has its ports and volumes when the new one starts, and is
/// there again where that one does not.
fn replacing(host: &Host, old: &Container, image: &str) -> spec::Result<Vec<Step>> {
    let (name, id) = (old.name().as_str(), old.id().to_string());
    let kept = kept(old.record());
    let run = |image: &str| host.tsubo(&kept.words(name, image));
    let (stop, back) = (Step::new(host.tsubo(&["stop", &id])?), host.tsubo(&["start", &id])?);
    let has_volumes = Containers::of(&host.home()).volumes(old.name()).exists();
    if old.record().remove || has_volumes {
        // Volumes go with a name, and what is removed when it ends cannot be started again: the old one is made anew.
        let of_old = digest_of(&old.record().image);
        let again = [host.tsubo(&["rm", "-f", name])?, run(of_old)?];
        let mut steps = vec![stop.or([back])];
        if !old.record().remove {
            steps.push(Step::new(host.tsubo(&["rm", &id])?).or([host.tsubo(&["start", &id])?]));
        }
        steps.push(Step::new(run(image)?).within(kept.folder).or(again));
        return Ok(steps);
    }
    let aside = format!("{}-{id}", name.get(..40).unwrap_or(name));
    let again = [host.tsubo(&["rm", "-f", name])?, host.tsubo(&["rename", &id, name])?, back.clone()];
    Ok(vec![
        stop.or([back.clone()]),
        Step::new(host.tsubo(&["rename", &id, &aside])?).or([back]),
        Step::new(run(image)?).within(kept.folder).or(again),
        Step::new(host.tsubo(&["rm", "-f", &id])?),
    ])
}

/// What is said of another one too, as words of `tsubo run`.
#[derive(Debug, Default)]
struct Kept {
    options: Vec<String>,
    args: Vec<String>,
    folder: Option<PathBuf>,
}

impl Kept {
    fn words<'a>(&'a self, name: &'a str, image: &'a str) -> Vec<&'a str> {
        let options = self.options.iter().map(String::as_str);
        let words = ["run", "-d", "--name", name].into_iter().chain(options);
        words.chain([image]).chain(self.args.iter().map(String::as_str)).collect()
    }
}

/// All that was said of it; of one that was made before that was written down, what its record tells.
fn kept(record: &Record) -> Kept {
    if let Some(asked) = &record.asked {
        let (options, args) = (asked.options.clone(), asked.args.clone());
        return Kept { options, args, folder: Some(asked.folder.clone()) };
    }
    let mut words = Vec::new();
    if record.remove {
        words.push("--rm".to_owned());
    } else if record.life.restart != Restart::No {
        words.extend(["--restart".to_owned(), record.life.restart.to_string()]);
    }
    let is_trusted = |hooks: &Hooks| {
        let has_program = hooks.list.iter().any(|hook| matches!(hook.act, Act::Program(_)));
        has_program || !hooks.allow.words().is_empty()
    };
    // Without it nothing of that would have been there.
    if record.spec.hooks.as_deref().is_some_and(is_trusted) {
        words.push("--as-packaged".to_owned());
    }
    Kept { options: words, ..Kept::default() }
}

/// Of `web@0123456789ab`, without what else people are told of it.
fn digest_of(image: &str) -> &str {
    let image = image.split(' ').next().unwrap_or(image);
    image.split_once('@').map_or(image, |(_, digest)| digest)
}

/// Other containers of the same image: names and where they stand.
fn others(host: &Host) -> spec::Result<Vec<(String, String)>> {
    let own = &host.firing().container;
    // Also where there is no other: whoever has gone has no siblings.
    if !host.is_dry() {
        host.look()?;
    }
    let all = Containers::of(&host.home()).list()?;
    let same = all.iter().filter(|one| one.record().image == own.image && one.id().to_string() != own.id);
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
    // By its digest: another package may have the name by now, and that would be no sibling.
    let image = digest_of(&host.firing().container.image);
    let kept = || -> spec::Result<Kept> {
        if host.is_dry() { Ok(Kept::default()) } else { host.look().map(|own| kept(own.record())) }
    };
    let kept = kept().map_err(|error| failed(lua, &error))?;
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
                    commands.push(host.tsubo(&kept.words(&other, image))?);
                }
                _ => {}
            }
        }
        Ok(commands)
    };
    let commands = commands().map_err(|error| failed(lua, &error))?;
    if host.changes_to("scale", json!(count)) {
        host.then(commands.into_iter().map(|words| Step::new(words).within(kept.folder.clone())));
    }
    Ok(())
}
