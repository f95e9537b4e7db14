//! `metrics.emit("web.queue", 5, { type = "g" })`: figures to a statsd, by UDP.

use std::net::{SocketAddr, UdpSocket};

use script::mlua::{Lua, Result, Table};
use script::refused;
use serde_json::json;

use super::{Host, not_allowed};

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    let emit = move |lua: &Lua, (name, number, options): (String, f64, Option<Table>)| {
        let option =
            |key: &str| options.as_ref().map_or(Ok(None), |options| options.get::<Option<String>>(key));
        let kind = option("type")?.unwrap_or_else(|| "g".to_owned());
        let to = match option("to")? {
            Some(to) => to,
            None => own.allow().metrics.first().cloned().unwrap_or_else(|| "127.0.0.1:8125".to_owned()),
        };
        if !own.allow().metrics.contains(&to) {
            return Err(not_allowed(lua, format!("sending figures to {to}"), "metrics", &to));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if name.is_empty() || name.len() > 200 || !name.chars().all(is_plain) || !number.is_finite() {
            return Err(refused(lua, format!("{name:?} is no name of a figure, or {number} is none")));
        }
        if !["g", "c", "ms", "h", "s"].contains(&kind.as_str()) {
            return Err(refused(lua, format!("{kind:?} is no type of a figure: g, c, ms, h or s")));
        }
        let line = format!("{name}:{number}|{kind}");
        if own.changes_to("metrics", json!({ "to": to, "line": line })) {
            send(&to, &line).map_err(|cause| refused(lua, format!("sending figures to {to}: {cause}")))?;
        }
        Ok(())
    };
    table.raw_set("emit", lua.create_function(emit)?)?;
    Ok(table)
}

fn send(to: &str, line: &str) -> std::io::Result<()> {
    let to: SocketAddr = to
        .parse()
        .map_err(|_| std::io::Error::other("it is no address with a port, as in 127.0.0.1:8125"))?;
    let own: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    UdpSocket::bind(own)?.send_to(line.as_bytes(), to).map(drop)
}
