//! `ctx.limits`: read, and set as `tsubo update` does.

use lifecycle::{Files, Record, Update};
use script::mlua::{Lua, Result, Table, Value};
use script::{refused, value};
use serde_json::{Value as Json, json};
use spec::container::Spec;
use spec::limits::{Limits, Size};
use spec::resources::{Limit, Resources};

use crate::reach::{Host, failed, not_said};

/// Those that are numbers of which more is more: they can be compared with what the container began with.
const COMPARED: [&str; 8] = ["memory", "memory_high", "swap", "cpus", "pids", "disk", "inodes", "logs"];

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let (table, meta) = (lua.create_table()?, lua.create_table()?);
    let own = host.clone();
    let get = move |lua: &Lua, (_, key): (Table, String)| {
        let now = own.container().map_err(|error| failed(lua, &error))?;
        // What this hook has set, and what another has set meanwhile.
        Ok(read(own.look().as_ref().unwrap_or(now).record(), word(&key)))
    };
    meta.raw_set("__index", lua.create_function(get)?)?;
    let own = host.clone();
    let set = move |lua: &Lua, (_, key, to): (Table, String, Value)| set(lua, &own, word(&key), &to);
    meta.raw_set("__newindex", lua.create_function(set)?)?;
    table.set_metatable(Some(meta))?;
    Ok(table)
}

/// `cpu` is what many say.
fn word(key: &str) -> &str {
    if key == "cpu" { "cpus" } else { key }
}

/// A limit as a number; None where there is none.
fn read(record: &Record, key: &str) -> Option<f64> {
    let spec: &Spec = &record.spec;
    let first = |of: fn(&Resources) -> Option<Limit>| {
        of(&spec.resources).or_else(|| of(&spec.wishes)).and_then(Limit::number)
    };
    let number = |of: fn(&Resources) -> Option<u64>| of(&spec.resources).or_else(|| of(&spec.wishes));
    let found = match key {
        "memory" => first(|all| all.memory.max),
        "memory_high" => first(|all| all.memory.high),
        "memory_low" => first(|all| all.memory.low),
        "swap" => first(|all| all.memory.swap),
        "pids" => first(|all| all.pids),
        "cpu_weight" => number(|all| all.cpu.weight),
        "disk" => Some(spec.room.bytes).filter(|bytes| *bytes > 0),
        "inodes" => Some(spec.room.inodes).filter(|count| *count > 0),
        "logs" => spec.logs,
        "cpus" => {
            let period = number(|all| all.cpu.period).unwrap_or(100_000);
            return first(|all| all.cpu.quota).map(|quota| quota as f64 / period as f64);
        }
        _ => None,
    };
    found.map(|number| number as f64)
}

fn set(lua: &Lua, host: &Host, key: &str, to: &Value) -> Result<()> {
    let wrong = |error: &spec::Error| failed(lua, error);
    let json = whole(key, value::to_json(to, &format!("limits.{key}"), true)?);
    let limits: Limits = serde_json::from_value(json!({ key: json }))
        .map_err(|cause| refused(lua, format!("limits.{key} cannot be {json}: {cause}")))?;
    let container = host.container().map_err(|error| wrong(&error))?;
    must_fit(lua, host, key, &json, read(container.record(), key))?;
    let update = Update {
        files: Files::of(&limits).map_err(|error| wrong(&error))?,
        resources: limits.resources(lifecycle::disk_of::path).map_err(|error| wrong(&error))?,
        ..Update::default()
    };
    if !host.changes_to(&format!("limits.{key}"), json) {
        return Ok(());
    }
    container.update(|_| (), &update).map_err(|error| wrong(&error))
}

/// Bytes and counts are whole, also where a script has computed them.
fn whole(key: &str, json: Json) -> Json {
    match json.as_f64() {
        Some(number) if key != "cpus" && key != "cpu_burst" && number >= 0.0 => json!(number as u64),
        _ => json,
    }
}

/// Without `limits = true` a hook gives no more than the container had before hooks first changed it.
fn must_fit(lua: &Lua, host: &Host, key: &str, json: &Json, now: Option<f64>) -> Result<()> {
    if host.allow().limits {
        return Ok(());
    }
    if !COMPARED.contains(&key) {
        return Err(not_said(lua, format!("setting limits.{key}"), "limits"));
    }
    let kept = host.kept_of(&format!("limits.{key}"));
    // No limit is kept as a word.
    let first = match &kept {
        Some(Json::Number(number)) => number.as_f64(),
        Some(_) => None,
        None => now,
    };
    // What nobody has said of these is a default that is no number in the record, and no lack of a limit.
    if first.is_none() && matches!(key, "disk" | "inodes" | "logs") {
        return Err(not_said(lua, format!("setting limits.{key}, which was left to its default,"), "limits"));
    }
    // Whoever has given more since then was no hook.
    let most = first.zip(now).map(|(first, now)| first.max(now));
    let wanted = number(json);
    if most.is_some_and(|most| wanted.is_none_or(|wanted| wanted > most)) {
        let most = most.unwrap_or_default();
        return Err(not_said(
            lua,
            format!("setting limits.{key} to {json}, beyond the {most} of its start,"),
            "limits",
        ));
    }
    if kept.is_none() {
        host.keep(&format!("limits.{key}"), first.map_or_else(|| json!("none"), |number| json!(number)));
    }
    Ok(())
}

/// None is no limit.
fn number(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.parse::<Size>() {
            Ok(Size(limit)) => limit.number().map(|bytes| bytes as f64),
            Err(_) => text.parse().ok(),
        },
        _ => None,
    }
}
