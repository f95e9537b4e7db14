//! `ctx`: the container that a hook belongs to.

mod acts;
mod limits;
mod stats;

use script::mlua::{Function, Lua, Result, Table, Value};
use script::{refused, value};
use serde_json::json;
use spec::hooks::When;

use crate::reach::Host;

/// Makes it.
pub(crate) fn make(lua: &Lua, host: &Host) -> Result<Table> {
    let ctx = lua.create_table()?;
    let own = &host.firing().container;
    for (key, text) in [("name", &own.name), ("id", &own.id), ("image", &own.image), ("status", &own.status)]
    {
        ctx.raw_set(key, text.as_str())?;
    }
    ctx.raw_set("pid", own.pid)?;
    ctx.raw_set("hook", host.firing().hook.name.as_str())?;
    ctx.raw_set("event", host.firing().hook.when.to_string())?;
    ctx.raw_set("dry", host.is_dry())?;
    ctx.raw_set("detail", value::from_json(lua, &json!(host.firing().detail))?)?;
    ctx.raw_set("state", value::from_json(lua, &json!(host.state()))?)?;
    let meta = lua.create_table()?;
    let (own, seen) = (host.clone(), lua.create_table()?);
    let look = move |lua: &Lua, (_, key): (Table, String)| -> Result<Value> {
        let known: Value = seen.raw_get(key.as_str())?;
        if !known.is_nil() {
            return Ok(known);
        }
        let made = match key.as_str() {
            "stats" => stats::look(lua, &own)?,
            "limits" => Value::Table(limits::table(lua, &own)?),
            "siblings" => acts::siblings(lua, &own)?,
            "veto" => Value::Function(veto(lua, &own)?),
            other => match acts::function(lua, &own, other)? {
                Some(function) => Value::Function(function),
                None => return Ok(Value::Nil),
            },
        };
        seen.raw_set(key, &made)?;
        Ok(made)
    };
    meta.raw_set("__index", lua.create_function(look)?)?;
    let kept = |lua: &Lua, (own, key, value): (Table, String, Value)| match key.as_str() {
        "state" => own.raw_set(key, value),
        _ => Err(refused(
            lua,
            format!("ctx has no field {key:?} that can be set\nhint: what shall last goes into ctx.state"),
        )),
    };
    meta.raw_set("__newindex", lua.create_function(kept)?)?;
    ctx.set_metatable(Some(meta))?;
    Ok(ctx)
}

/// `ctx:veto(reason)`: whatever the script does then, it has said no.
fn veto(lua: &Lua, host: &Host) -> Result<Function> {
    let own = host.clone();
    let veto = move |lua: &Lua, (_, why): (Value, Option<String>)| -> Result<()> {
        if !matches!(own.firing().hook.when, When::Before(_)) {
            let what = format!("a hook {} can prevent nothing any more", own.firing().hook.when);
            return Err(refused(
                lua,
                format!("{what}\nhint: only hooks that come before something have ctx:veto"),
            ));
        }
        let why = why.filter(|why| !why.is_empty()).unwrap_or_else(|| "no reason was given".to_owned());
        own.set_veto(why.clone());
        Err(refused(lua, format!("veto: {why}")))
    };
    lua.create_function(veto)
}
