//! Definitions that compute: `tsubo.container("web")`, its fields, its hooks.

use std::collections::BTreeMap;

use mlua::{Function, Lua, MultiValue, Table, Value};
use serde_json::{Map, Value as Json, json};
use spec::hooks::When;

use crate::mistake::Mistake;
use crate::value;
use crate::vm::{Vm, compile_once};

/// What of the file `tsubo` is, in Luau.
const PRELUDE: &str = include_str!("../lib/definition.luau");

/// So many tables are looked through: one may be in another a thousand times.
const LOOKS: u32 = 100_000;

/// One that was evaluated.
#[derive(Debug)]
pub struct Evaluated {
    /// As `tsubo.toml` would say it.
    pub table: Json,
    /// The functions of its hooks, by the hooks' names.
    pub functions: BTreeMap<String, Function>,
}

/// The facts that a definition is computed from: `host` and `flags`, as JSON of both.
///
/// # Errors
/// Text that is not that; no memory.
pub fn give_facts(vm: &Vm, facts: &str) -> Result<(), Mistake> {
    let facts: Json = if facts.is_empty() {
        json!({})
    } else {
        serde_json::from_str(facts)
            .map_err(|cause| Mistake::Error(format!("the facts are damaged: {cause}")))?
    };
    let give = |name: &str| -> mlua::Result<()> {
        let own = facts.get(name).cloned().unwrap_or_else(|| json!({}));
        vm.lua().globals().raw_set(name, frozen(vm.lua(), &own)?)
    };
    give("host").and_then(|()| give("flags")).map_err(|error| Mistake::of(&error))
}

/// Data that cannot be changed.
fn frozen(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    let value = value::from_json(lua, json)?;
    freeze(&value);
    Ok(value)
}

fn freeze(value: &Value) {
    let Value::Table(table) = value else { return };
    for (_, inner) in table.pairs::<Value, Value>().flatten() {
        freeze(&inner);
    }
    table.set_readonly(true);
}

/// Evaluates the text of a definition. The machine must have all that it may reach, and is sealed here.
///
/// # Errors
/// A mistake in it, with its file and line.
pub fn evaluate(vm: &Vm, file: &str, text: &str) -> Result<Evaluated, Mistake> {
    let (hooks, containers, auto) = give_tsubo(vm).map_err(|error| Mistake::of(&error))?;
    vm.seal()?;
    let main = vm.compile(file, text)?;
    let mut returned = vm.call(main, ())?;
    let root = the_container(returned.pop_front(), &containers, file)?;
    let read = || -> mlua::Result<Evaluated> {
        let mut table = fields(&root, &auto)?;
        let functions = add_hooks(&mut table, &hooks, file)?;
        Ok(Evaluated { table: Json::Object(table), functions })
    };
    read().map_err(|error| match vm.mistake(&error) {
        Mistake::Error(text) => Mistake::Error(format!("{file}: {text}")),
        overdue => overdue,
    })
}

fn give_tsubo(vm: &Vm) -> mlua::Result<(Table, Table, Table)> {
    let lua = vm.lua();
    let moment = lua.create_function(|_, text: String| {
        Ok(match text.parse::<When>() {
            Ok(when) => (Some(when.to_string()), None),
            Err(error) => (None, Some(spelt(&error))),
        })
    })?;
    let prelude = compile_once(lua, "tsubo:definition", PRELUDE)?;
    let (tsubo, hooks, containers, auto) =
        prelude.call::<(Table, Table, Table, Table)>((moment, "\nhint: "))?;
    lua.globals().raw_set("tsubo", tsubo)?;
    Ok((hooks, containers, auto))
}

/// An error of ours in the words of a script's.
fn spelt(error: &spec::Error) -> String {
    let hints: String = error.hints().iter().map(|hint| format!("\nhint: {hint}")).collect();
    format!("{}{hints}", error.chain())
}

/// What was returned; or the only container that was made, where nothing was.
fn the_container(returned: Option<Value>, containers: &Table, file: &str) -> Result<Table, Mistake> {
    let wrong = |what: &str| Mistake::Error(format!("{file}: {what}\nhint: end it with return c"));
    match returned {
        Some(Value::Table(table)) => Ok(table),
        None | Some(Value::Nil) => match containers.raw_len() {
            1 => containers.raw_get(1).map_err(|error| Mistake::of(&error)),
            0 => Err(wrong("it returns no table, and makes no container")),
            _ => Err(wrong("it makes several containers, and returns none of them")),
        },
        Some(other) => Err(wrong(&format!("it returns a {}, not a table", other.type_name()))),
    }
}

/// The fields of a container: tables that were only looked into are left out.
fn fields(root: &Table, auto: &Table) -> mlua::Result<Map<String, Json>> {
    prune(root, auto, 0, &mut LOOKS.clone())?;
    let mut map = Map::new();
    for pair in root.pairs::<Value, Value>() {
        let (key, inner) = pair?;
        let name = key.to_string()?;
        let json = value::to_json(&inner, &name, false)?;
        map.insert(name, json);
    }
    Ok(map)
}

fn prune(table: &Table, auto: &Table, depth: u32, looks: &mut u32) -> mlua::Result<bool> {
    *looks = looks
        .checked_sub(1)
        .ok_or_else(|| mlua::Error::runtime("the container has too many tables in tables"))?;
    let mut is_empty = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, inner) = pair?;
        let goes = match &inner {
            Value::Table(inner) if depth < 32 => {
                prune(inner, auto, depth + 1, looks)? && inner.metatable().is_some_and(|meta| meta == *auto)
            }
            _ => false,
        };
        if goes {
            table.raw_set(key, Value::Nil)?;
        } else {
            is_empty = false;
        }
    }
    Ok(is_empty)
}

/// Hooks that were registered come after those that the table says.
fn add_hooks(
    table: &mut Map<String, Json>,
    hooks: &Table,
    file: &str,
) -> mlua::Result<BTreeMap<String, Function>> {
    let mut functions = BTreeMap::new();
    let mut entries = Vec::new();
    for hook in hooks.sequence_values::<Table>() {
        let hook = hook?;
        let name: String = hook.raw_get("name")?;
        functions.insert(name.clone(), callable(hook.raw_get("fn")?)?);
        let mut entry = Map::new();
        entry.insert("script".to_owned(), json!(file));
        entry.insert("function".to_owned(), json!(name));
        for key in ["name", "when", "timeout", "on_error", "memory"] {
            if let Some(text) = hook.raw_get::<Option<String>>(key)? {
                entry.insert(key.to_owned(), json!(text));
            }
        }
        entries.push(Json::Object(entry));
    }
    if entries.is_empty() {
        return Ok(functions);
    }
    let own = table.entry("hooks").or_insert_with(|| json!({}));
    if own.as_array().is_some_and(Vec::is_empty) {
        *own = json!({});
    }
    let Some(own) = own.as_object_mut() else { return Err(mlua::Error::runtime("hooks is no table")) };
    match own.entry("hook").or_insert_with(|| json!([])) {
        Json::Array(list) => list.extend(entries),
        _ => return Err(mlua::Error::runtime("hooks.hook is no list")),
    }
    Ok(functions)
}

/// A function, or what behaves like one.
fn callable(value: Value) -> mlua::Result<Function> {
    match value {
        Value::Function(function) => Ok(function),
        Value::Table(table) => match table.metatable().map(|meta| meta.raw_get("__call")).transpose()? {
            Some(Value::Function(call)) => call.bind(table),
            _ => Err(mlua::Error::runtime("a hook is no function")),
        },
        other => Err(mlua::Error::runtime(format!("a hook is a {}, not a function", other.type_name()))),
    }
}

/// What a call has returned, as data.
///
/// # Errors
/// What is no plain data.
pub fn data(values: MultiValue) -> Result<Json, Mistake> {
    let first = values.into_iter().next().unwrap_or(Value::Nil);
    value::to_json(&first, "what it returns", true).map_err(|error| Mistake::of(&error))
}
