//! `ctx.stats`: figures of the container, read when they are first looked at.

use cgroup::Group;
use cgroup::figures::{Kind, Meter};
use script::mlua::{Lua, Result, Table, Value};
use script::value;
use serde_json::{Value as Json, json};

use crate::reach::{Host, failed};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// Its tables of figures of the control groups.
const KINDS: [(&str, Kind); 4] =
    [("memory", Kind::Memory), ("cpu", Kind::Cpu), ("pids", Kind::Pids), ("io", Kind::Io)];

/// Its other fields.
const OTHERS: [&str; 4] = ["restarts", "started", "disk", "network"];

pub(super) fn look(lua: &Lua, host: &Host) -> Result<Value> {
    let state = host.running().map_err(|error| failed(lua, &error))?;
    let stats = lua.create_table()?;
    stats.raw_set("restarts", state.restarts)?;
    stats.raw_set("started", state.started as f64 / 1000.0)?;
    let asked = Asked::by(host.firing().files.values().map(String::as_str));
    let group = state.group.unwrap_or_default();
    if !asked.by_name {
        for (name, kind) in KINDS {
            stats.raw_set(name, value::from_json(lua, &figures(&group, kind, true))?)?;
        }
    }
    rest(lua, host, &stats, group, asked)?;
    Ok(Value::Table(stats))
}

/// What scripts look at, as their texts tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    /// Each time a field is named: what is not named need not be there.
    by_name: bool,
    pressure: bool,
}

impl Asked {
    fn by<'a>(mut texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let pressure = texts.clone().any(|text| text.contains("pressure"));
        let by_name = texts.all(|text| text.split("stats").skip(1).all(begins_with_field));
        Self { by_name, pressure: pressure || !by_name }
    }
}

/// What comes behind `stats` names one of its fields, and where that is a table, one of that.
fn begins_with_field(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix('.') else { return false };
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, rest) = rest.split_at(end);
    let is_kind = KINDS.iter().any(|(name, _)| *name == word);
    OTHERS.contains(&word) || (is_kind && rest.starts_with('.'))
}

fn seconds(time: Option<u64>) -> Option<f64> {
    time.map(|time| time as f64 / SECOND)
}

fn figures(group: &Group, kind: Kind, with_pressure: bool) -> Json {
    let meter = Meter::of_one(group, kind);
    let mut told = match kind {
        Kind::Memory => {
            let memory = meter.memory();
            json!({
                "current": memory.usage, "working_set": memory.working_set, "limit": memory.limit,
                "peak": group.peak_memory(), "anonymous": memory.anonymous, "cache": memory.cache,
                "swap": memory.swap, "oom_kills": memory.oom_kills,
            })
        }
        Kind::Cpu => {
            let cpu = meter.cpu();
            json!({
                "seconds": seconds(cpu.usage), "user": seconds(cpu.user), "system": seconds(cpu.system),
                "limit": cpu.limit, "periods": cpu.periods, "throttled_periods": cpu.throttled_periods,
                "throttled": seconds(cpu.throttled),
            })
        }
        Kind::Pids => {
            let pids = meter.pids();
            json!({ "current": pids.current, "limit": pids.limit, "peak": group.peak_tasks() })
        }
        Kind::Io => {
            let io = meter.io();
            json!({
                "read": io.as_ref().map(|all| all.iter().map(|one| one.read_bytes).sum::<u64>()),
                "written": io.as_ref().map(|all| all.iter().map(|one| one.written_bytes).sum::<u64>()),
            })
        }
    };
    if with_pressure && kind != Kind::Pids {
        told["pressure"] = pressure(&meter, kind);
    }
    told
}

fn pressure(meter: &Meter, kind: Kind) -> Json {
    let told = meter.pressure(kind).and_then(|own| serde_json::to_value(own).ok());
    told.unwrap_or_else(|| {
        let none = json!({ "avg10": 0, "avg60": 0, "avg300": 0 });
        json!({ "some": none, "full": none })
    })
}

/// What is read only when it is looked at: of its control groups where each figure is named, and its file systems
/// and its network, which take a look at more.
fn rest(lua: &Lua, host: &Host, stats: &Table, group: Group, asked: Asked) -> Result<()> {
    let meta = lua.create_table()?;
    let own = host.clone();
    let look = move |lua: &Lua, (table, key): (Table, String)| -> Result<Value> {
        if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == key) {
            table.raw_set(key.as_str(), value::from_json(lua, &figures(&group, *kind, asked.pressure))?)?;
        } else if key == "disk" || key == "network" {
            survey(lua, &own, &table)?;
        }
        table.raw_get(key)
    };
    meta.raw_set("__index", lua.create_function(look)?)?;
    stats.set_metatable(Some(meta))
}

fn survey(lua: &Lua, host: &Host, stats: &Table) -> Result<()> {
    let name = host.look().map_err(|error| failed(lua, &error))?.name().to_string();
    let survey = lifecycle::figures::Survey::of(&host.home()).look(&|one, _, _| one.as_str() == name);
    let snapshot = survey.map_err(|error| failed(lua, &error))?;
    let found = snapshot.containers.iter().find(|one| one.name.as_str() == name);
    let all = found.and_then(|one| serde_json::to_value(one).ok()).unwrap_or_default();
    stats.raw_set("disk", value::from_json(lua, all.get("file_systems").unwrap_or(&json!([])))?)?;
    stats.raw_set("network", value::from_json(lua, all.get("network").unwrap_or(&json!({})))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> (bool, bool) {
        let asked = Asked::by([text].into_iter());
        (asked.by_name, asked.pressure)
    }

    #[test]
    fn what_is_not_named_may_be_looked_at_too() {
        assert_eq!(asked("return 1"), (true, false));
        assert_eq!(asked("if ctx.stats.memory.current > 1 and ctx.stats.cpu.seconds then"), (true, false));
        assert_eq!(asked("ctx.stats.memory.pressure.some.avg10, ctx.stats.started"), (true, true));
        for whole in [
            "log(ctx.stats)",
            "for k in pairs(ctx.stats) do",
            "local s = ctx.stats",
            "local m = ctx.stats.memory\n",
            "ctx[\"stats\"]",
            "ctx.stats.memoryx.y",
            "ctx.stats.memory.current ctx.stats",
        ] {
            assert_eq!(asked(whole), (false, true), "{whole}");
        }
    }
}
