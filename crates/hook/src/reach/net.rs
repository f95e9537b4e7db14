//! `net.addresses()`, `net.devices()`: the container's network, as the kernel lists it for its first process.

use std::net::{Ipv4Addr, Ipv6Addr};

use script::mlua::{Lua, Result, Table, Value};
use script::value;
use serde_json::{Value as Json, json};
use spec::ResultExt;

use super::{Host, failed, not_said};

/// Looks at the network of a process.
type Look = fn(i32) -> spec::Result<Json>;

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let parts: [(&str, Look); 2] = [("addresses", addresses), ("devices", devices)];
    for (name, look) in parts {
        let own = host.clone();
        let tell = move |lua: &Lua, ()| -> Result<Value> {
            if !own.allow().net {
                return Err(not_said(lua, format!("net.{name}()"), "net"));
            }
            let found = own.running().and_then(|state| look(state.first.pid));
            value::from_json(lua, &found.map_err(|error| failed(lua, &error))?)
        };
        table.raw_set(name, lua.create_function(tell)?)?;
    }
    Ok(table)
}

fn read(pid: i32, name: &str) -> spec::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/net/{name}"))
        .doing(|| format!("reading the container's {name}"))
}

fn addresses(pid: i32) -> spec::Result<Json> {
    let mut all: Vec<String> = four(&read(pid, "fib_trie")?).iter().map(ToString::to_string).collect();
    // There is no such file where there is no version 6.
    all.extend(six(&read(pid, "if_inet6").unwrap_or_default()).iter().map(ToString::to_string));
    Ok(json!(all))
}

/// Those of the table of local addresses.
fn four(trie: &str) -> Vec<Ipv4Addr> {
    let (mut last, mut found) = (None, Vec::new());
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|address| !found.contains(address)));
        }
    }
    found
}

fn six(list: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    list.lines().filter_map(address).map(Ipv6Addr::from).collect()
}

fn devices(pid: i32) -> spec::Result<Json> {
    let text = read(pid, "dev")?;
    let device = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Some(json!({ "name": name.trim(), "received": counts.first()?, "sent": counts.get(8)? }))
    };
    Ok(text.lines().skip(2).filter_map(device).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_seen() {
        assert!(
            four(&std::fs::read_to_string("/proc/self/net/fib_trie").expect("list"))
                .contains(&Ipv4Addr::LOCALHOST)
        );
        assert_eq!(six("00000000000000000000000000000001 01 80 10 80       lo\n"), [Ipv6Addr::LOCALHOST]);
    }
}
