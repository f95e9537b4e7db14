//! `cgroup.read("memory.events")`, `cgroup.write("memory.high", "64M")`: the container's own control groups.

use std::io::{Read, Write};
use std::path::PathBuf;

use script::mlua::{Lua, Result, Table};
use script::refused;
use serde_json::json;

use super::{Host, failed, not_allowed};

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    let read = move |lua: &Lua, name: String| {
        let path = file(lua, &own, &name)?;
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut text));
        read.map_err(|cause| refused(lua, format!("reading {name}: {cause}")))?;
        Ok(text)
    };
    table.raw_set("read", lua.create_function(read)?)?;
    let own = host.clone();
    let write = move |lua: &Lua, (name, text): (String, String)| {
        if !own.allow().cgroup.contains(&name) {
            return Err(not_allowed(lua, format!("writing {name}"), "cgroup", &name));
        }
        if !own.changes_to(&format!("cgroup.{name}"), json!(text)) {
            return Ok(());
        }
        let path = file(lua, &own, &name)?;
        let written = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| refused(lua, format!("writing {text:?} to {name}: {cause}")))
    };
    table.raw_set("write", lua.create_function(write)?)?;
    Ok(table)
}

fn file(lua: &Lua, host: &Host, name: &str) -> Result<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(refused(lua, format!("{name:?} is no file of a control group")));
    }
    let group = host.running().map_err(|error| failed(lua, &error))?.group;
    let found = group.and_then(|group| group.file(name));
    found.ok_or_else(|| refused(lua, format!("the container's control groups have no file {name}")))
}
