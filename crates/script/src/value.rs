//! Plain data, in and out: what JSON can say, and nothing else.

use std::cell::Cell;

use mlua::{Error, Lua, Result, Table, Value};
use serde_json::{Map, Number, Value as Json};

/// Tables in tables; one that contains itself ends here too.
const DEEP: usize = 64;

/// So many values may be in one, and so many bytes of text: a table may be in another a thousand times.
const VALUES: usize = 100_000;
const BYTES: usize = 16 << 20;

/// So much of where something is is told.
const PLACE: usize = 200;

/// Whole numbers beyond this are not exact any more.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The field of a metatable that says: this is a list, even when it is empty.
const LIST: &str = "__tsubo_list";

/// A value of a script as JSON; `name` is what it is called in errors. An empty table is a list unless
/// `json.array` was not said of it and `objects` is true.
///
/// # Errors
/// What JSON cannot say, by its place: a function, a number that is none, a table of both kinds.
pub fn to_json(value: &Value, name: &str, objects: bool) -> Result<Json> {
    Walk { objects, values: Cell::new(VALUES), bytes: Cell::new(BYTES) }.json(value, name, 0)
}

struct Walk {
    objects: bool,
    /// How many more may come.
    values: Cell<usize>,
    bytes: Cell<usize>,
}

impl Walk {
    fn json(&self, value: &Value, name: &str, depth: usize) -> Result<Json> {
        let bad = |what: &str| Err(Error::runtime(format!("{name} is {what}, which cannot be kept or sent")));
        take(&self.values, 1)
            .ok_or_else(|| Error::runtime(format!("{name} is one of more than {VALUES} values")))?;
        match value {
            Value::Nil => Ok(Json::Null),
            value if value.is_null() => Ok(Json::Null),
            Value::Boolean(is) => Ok(Json::Bool(*is)),
            Value::Integer(number) => Ok(Json::Number((*number).into())),
            Value::Number(number) => {
                self.number(*number).map_or_else(|| bad("no number (NaN or infinite)"), Ok)
            }
            Value::String(text) => match text.to_str() {
                Ok(text) => self.text(&text, name).map(Json::String),
                Err(_) => bad("a text that is not UTF-8"),
            },
            Value::Table(_) if depth >= DEEP => bad("too many tables deep, or contains itself"),
            Value::Table(table) => self.table(table, name, depth),
            other => bad(&format!("a {}", other.type_name())),
        }
    }

    fn text(&self, text: &str, name: &str) -> Result<String> {
        let has_room = take(&self.bytes, text.len()).is_some();
        has_room.then(|| text.to_owned()).ok_or_else(|| {
            Error::runtime(format!("{name} is the end of what is said at once: {} MiB of text", BYTES >> 20))
        })
    }

    fn number(&self, number: f64) -> Option<Json> {
        if number.fract() == 0.0 && number.abs() < EXACT {
            return Some(Json::Number((number as i64).into()));
        }
        Number::from_f64(number).map(Json::Number)
    }

    fn table(&self, table: &Table, name: &str, depth: usize) -> Result<Json> {
        let length = table.raw_len();
        let said = table.metatable().is_some_and(|meta| meta.raw_get::<bool>(LIST).unwrap_or(false));
        if length > 0 || said {
            return self.list(table, name, depth, length);
        }
        let mut map = Map::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let Value::String(key) = key else {
                return Err(Error::runtime(format!(
                    "{name} has a key that is no text: {}",
                    key.to_string()?
                )));
            };
            let key =
                key.to_str().map_err(|_| Error::runtime(format!("{name} has a key that is not UTF-8")))?;
            let key = self.text(&key, name)?;
            let value = self.json(&value, &place(name, &format!(".{key}")), depth + 1)?;
            map.insert(key, value);
        }
        if map.is_empty() && !self.objects { Ok(Json::Array(Vec::new())) } else { Ok(Json::Object(map)) }
    }

    fn list(&self, table: &Table, name: &str, depth: usize, length: usize) -> Result<Json> {
        let mut list = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !is_index(&key, list.len() + 1) {
                let what = format!("{name} is a list of {length} that also has the key {}", key.to_string()?);
                return Err(Error::runtime(what));
            }
            list.push(self.json(&value, &place(name, &format!("[{}]", list.len() + 1)), depth + 1)?);
        }
        Ok(Json::Array(list))
    }
}

fn take(budget: &Cell<usize>, count: usize) -> Option<()> {
    budget.get().checked_sub(count).map(|left| budget.set(left))
}

/// Where something is, as long as that can be read.
fn place(name: &str, more: &str) -> String {
    if name.ends_with('…') {
        name.to_owned()
    } else if name.len() + more.len() > PLACE {
        format!("{name}…")
    } else {
        format!("{name}{more}")
    }
}

fn is_index(key: &Value, wanted: usize) -> bool {
    match key {
        Value::Integer(index) => usize::try_from(*index) == Ok(wanted),
        Value::Number(index) => *index == wanted as f64,
        _ => false,
    }
}

/// JSON as a value of a script; what is null is not there.
///
/// # Errors
/// When there is no memory.
pub fn from_json(lua: &Lua, json: &Json) -> Result<Value> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(is) => Value::Boolean(*is),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for (index, value) in list.iter().enumerate() {
                table.raw_set(index + 1, from_json(lua, value)?)?;
            }
            Value::Table(table)
        }
        Json::Object(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (key, value) in map {
                table.raw_set(key.as_str(), from_json(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

/// Marks a table as a list, also where it is empty.
pub(crate) fn mark_list(lua: &Lua, table: &Table) -> Result<()> {
    let meta = lua.create_table()?;
    meta.raw_set(LIST, true)?;
    table.set_metatable(Some(meta))
}
