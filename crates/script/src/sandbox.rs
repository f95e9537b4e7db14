//! What a script has of the language.

use mlua::{Lua, LuaOptions, Result, StdLib, Value};

use crate::mistake::{Mistake, Raised};
use crate::vm::compile_once;

/// What could load code, look into other functions, or make what has no bounds.
const TAKEN: [&str; 11] = [
    "require",
    "loadstring",
    "load",
    "dofile",
    "getfenv",
    "setfenv",
    "collectgarbage",
    "gcinfo",
    "newproxy",
    "debug",
    "print",
];

/// Of the library `os` only what tells the time is there.
const TIMES: [&str; 4] = ["time", "date", "clock", "difftime"];

/// Errors of ours are objects: whoever catches one gets its text, as of any other. What is no text says nothing of
/// where it was raised, so that is noted.
const CATCHING: &str = "local catch, spell, fail, note = ...
local function plain(ok, why, ...)
    if not ok and type(why) == 'userdata' then
        return ok, spell(why)
    end
    return ok, why, ...
end
return function(...)
    return plain(catch(...))
end, function(why, level)
    if type(why) ~= 'string' and type(why) ~= 'number' then
        note(why)
    end
    fail(why, if type(level) == 'number' and level > 0 then level + 1 else level or 2)
end";

/// A new machine without what is taken; its globals can still be set.
pub(crate) fn bare(raised: &Raised) -> Result<Lua> {
    let libs = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::OS
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::BUFFER;
    // What panics is a defect of ours: a script must not go on after it.
    let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(false))?;
    let globals = lua.globals();
    for name in TAKEN {
        globals.raw_set(name, Value::Nil)?;
    }
    let spell = lua.create_function(|_, why: Value| match &why {
        Value::Error(error) => Ok(Mistake::of(error).text()),
        other => other.to_string(),
    })?;
    let (catch, fail): (Value, Value) = (globals.raw_get("pcall")?, globals.raw_get("error")?);
    let raised = raised.clone();
    let note = lua.create_function(move |lua, why: Value| raised.note(lua, &why))?;
    let made = compile_once(&lua, "tsubo:catch", CATCHING)?;
    let (caught, failing) = made.call::<(Value, Value)>((catch, spell, fail, note))?;
    globals.raw_set("pcall", caught)?;
    globals.raw_set("error", failing)?;
    let os: mlua::Table = globals.get("os")?;
    for pair in os.clone().pairs::<String, Value>() {
        let (name, _) = pair?;
        if !TIMES.contains(&name.as_str()) {
            os.raw_set(name, Value::Nil)?;
        }
    }
    Ok(lua)
}
