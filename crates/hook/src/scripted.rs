//! Hooks that are functions of scripts.

use std::collections::BTreeMap;

use script::mlua::{Function, Table, Value};
use script::{Bounds, Mistake, Vm, definition, library, modules, say};
use serde_json::Value as Json;
use spec::hooks::{Act, Outcome, Verdict};

use crate::context;
use crate::reach::{self, Host, OURS};

/// So much may be kept from one firing to the next, as JSON.
const STATE_BYTES: usize = 64 << 10;

/// Does it: what came of it, with what it said and changed.
pub(crate) fn fire(host: &Host) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.verdict = match done(host) {
        Ok(state) => {
            outcome.state = state;
            Verdict::Done
        }
        Err(Mistake::Error(why)) => Verdict::Failed(one_line(&why)),
        Err(mistake) => Verdict::Overdue(format!("{} ({} ms)", mistake.text(), host.firing().hook.timeout)),
    };
    // Whatever became of it then: it has said no.
    if let Some(why) = host.veto() {
        outcome.verdict = Verdict::Veto(why);
    }
    outcome.state.append(&mut host.kept());
    outcome.log = host.said().take();
    outcome.changes = host.changes();
    outcome
}

fn one_line(text: &str) -> String {
    text.replace("\nhint: ", "; ").replace('\n', " ")
}

fn done(host: &Host) -> Result<BTreeMap<String, Json>, Mistake> {
    let firing = host.firing();
    let vm = Vm::new(Bounds { memory: firing.hook.memory, deadline: host.deadline() })?;
    let lua = vm.lua();
    let files = firing.files.clone();
    let find = move |name: &str| {
        let file = modules::file_of(name);
        Ok(files.get(&file).map(|text| (file, text.clone())).or_else(|| library::find(name)))
    };
    say::give(&vm, host.said());
    modules::give(lua, Box::new(find)).map_err(|error| vm.mistake(&error))?;
    reach::give(&vm, host);
    let function = function(&vm, host)?;
    let ctx = context::make(lua, host).map_err(|error| vm.mistake(&error))?;
    vm.call(function, &ctx)?;
    state(&vm, &ctx, host)
}

/// The function that the hook names.
fn function(vm: &Vm, host: &Host) -> Result<Function, Mistake> {
    let firing = host.firing();
    let Act::Script { file, function, definition } = &firing.hook.act else {
        return Err(Mistake::Error("this hook is no script".to_owned()));
    };
    let Some(text) = firing.files.get(file) else {
        return Err(Mistake::Error(format!("{file}: its text is not there\nhint: build the package anew")));
    };
    definition::give_facts(vm, &firing.facts)?;
    if *definition {
        let mut functions = definition::evaluate(vm, file, text)?.functions;
        return functions.remove(function).ok_or_else(|| {
            Mistake::Error(format!("{file}: evaluated again, it has no hook called {function:?}\nhint: what it registers must depend on host and flags only"))
        });
    }
    reach::give_live_host(vm, host);
    vm.seal()?;
    let main = vm.compile(file, text)?;
    match vm.call(main, ())?.pop_front() {
        Some(Value::Table(table)) => named(vm, &table, file, function),
        _ => Err(Mistake::Error(format!(
            "{file}: it returns no table of functions\nhint: end it with return {{ {function} = … }}"
        ))),
    }
}

/// A field of what a script returns.
pub(crate) fn named(vm: &Vm, table: &Table, file: &str, name: &str) -> Result<Function, Mistake> {
    match table.get::<Value>(name).map_err(|error| vm.mistake(&error))? {
        Value::Function(function) => Ok(function),
        _ => Err(Mistake::Error(format!("{file}: what it returns has no function {name:?}"))),
    }
}

/// What `ctx.state` has become: keys that changed, and null for those that are gone.
fn state(vm: &Vm, ctx: &Table, host: &Host) -> Result<BTreeMap<String, Json>, Mistake> {
    let file = match &host.firing().hook.act {
        Act::Script { file, .. } => file.clone(),
        Act::Program(_) => String::new(),
    };
    let wrong = |what: String| Mistake::Error(format!("{file}: {what}"));
    let value: Value = ctx.raw_get("state").map_err(|error| vm.mistake(&error))?;
    let json =
        script::value::to_json(&value, "ctx.state", true).map_err(|error| match vm.mistake(&error) {
            Mistake::Error(text) => wrong(text),
            overdue => overdue,
        })?;
    let Json::Object(now) = json else { return Err(wrong("ctx.state is no table with names".to_owned())) };
    if let Some(key) = now.keys().find(|key| key.starts_with(OURS)) {
        return Err(wrong(format!(
            "ctx.state has the key {key:?}, and names that begin with {OURS:?} are not a script's"
        )));
    }
    let sizes = now.iter().map(|(key, value)| (key, value.to_string().len() + key.len() + 4));
    let total: usize = sizes.clone().map(|(_, size)| size).sum();
    if let Some((key, size)) = sizes.max_by_key(|(_, size)| *size).filter(|_| total > STATE_BYTES) {
        return Err(wrong(format!(
            "ctx.state is {total} bytes, of which ctx.state.{key} is {size}: 64 KiB can be kept"
        )));
    }
    let before = host.state();
    let gone = before.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), Json::Null));
    let mut changed: BTreeMap<String, Json> = gone.collect();
    changed.extend(now.into_iter().filter(|(key, value)| before.get(key) != Some(value)));
    Ok(changed)
}
