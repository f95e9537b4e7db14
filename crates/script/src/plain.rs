//! What every script has: sizes, `json`, `time`.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mlua::{Lua, Result, Table, Value};

use crate::interrupt::Watch;
use crate::mistake::refused;
use crate::shelf::Shelf;
use crate::value;

/// The largest text that is made or understood.
const JSON_BYTES: usize = 4 << 20;

/// Gives them.
pub(crate) fn give(lua: &Lua, shelf: &Shelf, watch: &Rc<Watch>) -> Result<()> {
    let globals = lua.globals();
    for (name, size) in [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)] {
        globals.raw_set(name, size as f64)?;
    }
    shelf.put("json", Box::new(|lua| json(lua).map(Value::Table)));
    let (start, watch) = (Instant::now(), watch.clone());
    shelf.put("time", Box::new(move |lua| time(lua, start, watch.clone()).map(Value::Table)));
    Ok(())
}

fn json(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let encode = |lua: &Lua, value: Value| {
        let json =
            value::to_json(&value, "the value", true).map_err(|error| refused(lua, message(&error)))?;
        Ok(json.to_string())
    };
    let decode = |lua: &Lua, text: mlua::LuaString| {
        let bytes = text.as_bytes();
        if bytes.len() > JSON_BYTES {
            return Err(refused(lua, "the text is longer than 4 MiB"));
        }
        let json =
            serde_json::from_slice(&bytes).map_err(|cause| refused(lua, format!("no JSON: {cause}")))?;
        value::from_json(lua, &json)
    };
    let array = |lua: &Lua, list: Option<Table>| {
        let list = list.map_or_else(|| lua.create_table(), Ok)?;
        value::mark_list(lua, &list)?;
        Ok(list)
    };
    table.raw_set("encode", lua.create_function(encode)?)?;
    table.raw_set("decode", lua.create_function(decode)?)?;
    table.raw_set("array", lua.create_function(array)?)?;
    table.raw_set("null", Value::NULL)?;
    Ok(table)
}

fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

fn time(lua: &Lua, start: Instant, watch: Rc<Watch>) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("now", lua.create_function(|_, ()| Ok(now()))?)?;
    table.raw_set("monotonic", lua.create_function(move |_, ()| Ok(start.elapsed().as_secs_f64()))?)?;
    table.raw_set("iso", lua.create_function(|_, at: Option<f64>| Ok(iso(at.unwrap_or_else(now))))?)?;
    let sleep = move |lua: &Lua, seconds: f64| {
        if !(0.0..=3600.0).contains(&seconds) {
            return Err(refused(lua, format!("{seconds} is no time to sleep: from 0 to 3600 seconds")));
        }
        let left = watch.deadline().saturating_duration_since(Instant::now());
        let wanted = Duration::from_secs_f64(seconds);
        std::thread::sleep(wanted.min(left));
        if wanted > left { Err(refused(lua, "its time is over while it sleeps")) } else { Ok(()) }
    };
    table.raw_set("sleep", lua.create_function(sleep)?)?;
    Ok(table)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A moment in UTC, as in `2026-11-22T03:00:00Z`.
fn iso(at: f64) -> String {
    let at = at.clamp(0.0, 253_402_300_799.0) as u64;
    let (days, second) = (at / 86_400, at % 86_400);
    // Years begin in March here, so that the day that some have more comes last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(iso(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_400.0), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_795_312_799.0), "2026-11-22T01:59:59Z");
    }
}
