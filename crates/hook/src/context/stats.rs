//! `ctx.stats`: figures of the container, read when they are first looked at.

use cgroup::figures::{Figures, Meter, Pressure};
use script::mlua::{Lua, Result, Table, Value};
use script::value;
use serde_json::{Value as Json, json};

use crate::reach::{Host, failed};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

pub(super) fn look(lua: &Lua, host: &Host) -> Result<Value> {
    let state = host.running().map_err(|error| failed(lua, &error))?;
    let (figures, peak) = match &state.group {
        Some(group) => (Meter::of(group).read(), group.peak()),
        None => (Figures::default(), cgroup::Peak::default()),
    };
    let started = state.started as f64 / 1000.0;
    let value = value::from_json(lua, &json(&figures, peak, state.restarts, started))?;
    if let Value::Table(table) = &value {
        rest(lua, host, table)?;
    }
    Ok(value)
}

fn json(figures: &Figures, peak: cgroup::Peak, restarts: u32, started: f64) -> Json {
    let seconds = |time: Option<u64>| time.map(|time| time as f64 / SECOND);
    let pressure = |pressure: &Option<Pressure>| {
        pressure.as_ref().and_then(|own| serde_json::to_value(own).ok()).unwrap_or_else(|| {
            let none = json!({ "avg10": 0, "avg60": 0, "avg300": 0 });
            json!({ "some": none, "full": none })
        })
    };
    let (cpu, memory) = (&figures.cpu, &figures.memory);
    json!({
        "restarts": restarts,
        "started": started,
        "memory": {
            "current": memory.usage, "working_set": memory.working_set, "limit": memory.limit, "peak": peak.memory,
            "anonymous": memory.anonymous, "cache": memory.cache, "swap": memory.swap, "oom_kills": memory.oom_kills,
            "pressure": pressure(&figures.pressure.memory),
        },
        "cpu": {
            "seconds": seconds(cpu.usage), "user": seconds(cpu.user), "system": seconds(cpu.system), "limit": cpu.limit,
            "periods": cpu.periods, "throttled_periods": cpu.throttled_periods, "throttled": seconds(cpu.throttled),
            "pressure": pressure(&figures.pressure.cpu),
        },
        "pids": { "current": figures.pids.current, "limit": figures.pids.limit, "peak": peak.tasks },
        "io": {
            "read": figures.io.as_ref().map(|all| all.iter().map(|one| one.read_bytes).sum::<u64>()),
            "written": figures.io.as_ref().map(|all| all.iter().map(|one| one.written_bytes).sum::<u64>()),
            "pressure": pressure(&figures.pressure.io),
        },
    })
}

/// What takes a look at more than its control groups: its file systems and its network.
fn rest(lua: &Lua, host: &Host, stats: &Table) -> Result<()> {
    let meta = lua.create_table()?;
    let own = host.clone();
    let look = move |lua: &Lua, (table, key): (Table, String)| -> Result<Value> {
        if key != "disk" && key != "network" {
            return Ok(Value::Nil);
        }
        let name = own.look().map_err(|error| failed(lua, &error))?.name().to_string();
        let survey = lifecycle::figures::Survey::of(&own.home()).look(&|one, _, _| one.as_str() == name);
        let snapshot = survey.map_err(|error| failed(lua, &error))?;
        let found = snapshot.containers.iter().find(|one| one.name.as_str() == name);
        let all = found.and_then(|one| serde_json::to_value(one).ok()).unwrap_or_default();
        table.raw_set("disk", value::from_json(lua, all.get("file_systems").unwrap_or(&json!([])))?)?;
        table.raw_set("network", value::from_json(lua, all.get("network").unwrap_or(&json!({})))?)?;
        table.raw_get(key)
    };
    meta.raw_set("__index", lua.create_function(look)?)?;
    stats.set_metatable(Some(meta))?;
    Ok(())
}
