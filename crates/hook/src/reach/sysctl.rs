//! `sysctl.get("net.core.somaxconn")`, `sysctl.set(…)`: kernel parameters of the container's own namespaces.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use script::mlua::{Lua, Result, Table};
use script::refused;
use serde_json::json;
use spec::{Error, ResultExt};

use super::{Host, failed, not_allowed};

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    let get = move |lua: &Lua, name: String| {
        let path = path(lua, &name)?;
        let text = inside(&own, &name, || std::fs::read_to_string(&path).doing(|| format!("reading {name}")));
        text.map(|text| text.trim().to_owned()).map_err(|error| failed(lua, &error))
    };
    table.raw_set("get", lua.create_function(get)?)?;
    let own = host.clone();
    let set = move |lua: &Lua, (name, text): (String, String)| {
        let path = path(lua, &name)?;
        if !own.allow().sysctl.contains(&name) {
            return Err(not_allowed(lua, format!("setting {name}"), "sysctl", &name));
        }
        if !own.changes_to(&format!("sysctl.{name}"), json!(text)) {
            return Ok(());
        }
        let set = inside(&own, &name, || {
            std::fs::write(&path, &text).doing(|| format!("setting {name} to {text:?}"))
        });
        set.map_err(|error| failed(lua, &error))
    };
    table.raw_set("set", lua.create_function(set)?)?;
    Ok(table)
}

fn path(lua: &Lua, name: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let parts: Vec<&str> = name.split('.').collect();
    if parts.iter().any(|part| part.is_empty() || !part.chars().all(is_plain)) {
        return Err(refused(
            lua,
            format!("{name:?} is no name of a kernel parameter\nhint: as in net.core.somaxconn"),
        ));
    }
    Ok(format!("/proc/sys/{}", parts.join("/")))
}

/// The namespace that a parameter belongs to; others are the host's.
fn kind(name: &str) -> spec::Result<(&'static str, LinkNameSpaceType)> {
    let is_of_ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "kernel.auto_msgmni", "fs.mqueue."];
    if name.starts_with("net.") {
        Ok(("net", LinkNameSpaceType::Network))
    } else if is_of_ipc.iter().any(|start| name.starts_with(start)) {
        Ok(("ipc", LinkNameSpaceType::InterProcessCommunication))
    } else if matches!(name, "kernel.hostname" | "kernel.domainname") {
        Ok(("uts", LinkNameSpaceType::HostNameAndNISDomainName))
    } else {
        Err(Error::unsupported(format!("{name} belongs to the whole host, not to a container")))
    }
}

/// Does something in the container's namespace, and comes back: the kernel shows each process its own.
fn inside<T>(host: &Host, name: &str, work: impl FnOnce() -> spec::Result<T>) -> spec::Result<T> {
    let (file, kind) = kind(name)?;
    let state = host.running()?;
    let held = state.first.open().ok_or_else(|| Error::conflict("the container has just ended"))?;
    let own = File::open(format!("/proc/self/ns/{file}")).doing(|| "opening our own namespace")?;
    let theirs =
        File::open(format!("/proc/{}/ns/{file}", state.first.pid)).doing(|| "opening its namespace")?;
    drop(held);
    let number = |file: &File| rustix::fs::fstat(file).map(|stat| stat.st_ino).unwrap_or_default();
    if number(&own) == number(&theirs) {
        return Err(Error::unsupported(format!(
            "{name} is the host's: the container has no {file} namespace of its own"
        )));
    }
    enter(&theirs, kind)?;
    let done = work();
    enter(&own, kind)?;
    done
}

fn enter(namespace: &File, kind: LinkNameSpaceType) -> spec::Result<()> {
    let entered = move_into_link_name_space(namespace.as_fd(), Some(kind));
    entered.map_err(|errno| Error::io("entering a namespace", errno.into()))
}
