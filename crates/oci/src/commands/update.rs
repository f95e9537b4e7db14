//! `tsubo-oci update`: other limits for a container that runs.

use std::io::Read;

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};
use spec::oci::Status;
use spec::{Error, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::{Container, Lock, missing, not_running};
use crate::line::{Flag, Line, Reach, value};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "update",
    words: "ID",
    about: "Change the limits of a container: all that are named, or none",
    flags: &FLAGS,
    reach: Reach::All,
    example: "  tsubo-oci update --memory 256m web\n  tsubo-oci update --resources - web < resources.json",
    run,
};

const FLAGS: [Flag; 17] = [
    value(
        "resources",
        Some('r'),
        "FILE",
        "the limits as in linux.resources of a bundle; - is standard input",
    ),
    value("blkio-weight", None, "N", "share of transfers of block devices, 10 to 1000"),
    value("cpu-period", None, "US", "period of the processor quota"),
    value("cpu-quota", None, "US", "processor time in a period; -1 is no limit"),
    value("cpu-burst", None, "US", "processor time that may be saved for later"),
    value("cpu-share", None, "N", "share of processor time, 1024 where nothing is said"),
    value("cpu-rt-period", None, "US", "real-time period (version 1)"),
    value("cpu-rt-runtime", None, "US", "real-time scheduling in it (version 1)"),
    value("cpuset-cpus", None, "LIST", "processors, as in 0-3,8"),
    value("cpuset-mems", None, "LIST", "memory nodes"),
    value("cpu-idle", None, "0|1", "only time that nobody else wants"),
    value("memory", None, "BYTES", "memory, also as 512k, 256m or 1g; -1 is no limit"),
    value("memory-reservation", None, "BYTES", "memory that is left to it where there is enough"),
    value("memory-swap", None, "BYTES", "memory and swap together; -1 is no limit"),
    value("pids-limit", None, "N", "tasks; -1 is no limit"),
    value("l3-cache-schema", None, "TEXT", "not supported: refused"),
    value("mem-bw-schema", None, "TEXT", "not supported: refused"),
];

/// Options that are numbers, and where they belong in the document.
const NUMBERS: [(&str, &str, &str); 8] = [
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
];

/// Options that are lists.
const LISTS: [(&str, &str); 2] = [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")];

/// Options that are amounts of memory.
const AMOUNTS: [(&str, &str); 3] =
    [("memory", "limit"), ("memory-reservation", "reservation"), ("memory-swap", "swap")];

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    let written = match line.text("resources").filter(|path| !path.is_empty()) {
        Some(path) => text(path)?,
        None => by_options(line)?.to_string(),
    };
    let written: LinuxResources = serde_json::from_str(&written)
        .map_err(|cause| Error::user("reading the resources").because(cause))?;
    let resources = spec::oci::resources::resources(&written)?;
    let _lock = Lock::take(&container.place)?.ok_or_else(|| missing(&container.id))?;
    if container.status()? == Status::Stopped {
        return Err(not_running());
    }
    container.record.groups.update(container.id.as_str(), &resources).map(|()| 0)
}

fn text(path: &str) -> Result<String> {
    if path != "-" {
        return std::fs::read_to_string(path).doing(|| format!("reading {path}"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).doing(|| "reading the resources from standard input")?;
    Ok(text)
}

fn by_options(line: &Line) -> Result<Value> {
    for name in ["l3-cache-schema", "mem-bw-schema"] {
        if line.text(name).is_some_and(|text| !text.is_empty()) {
            return Err(Error::unsupported(format!(
                "--{name}: shares of caches and of memory bandwidth are not set"
            ))
            .hint("write them to the resctrl file system"));
        }
    }
    let mut parts: Map<String, Value> = Map::new();
    let mut put = |part: &str, name: &str, value: Value| {
        parts.entry(part).or_insert_with(|| json!({}))[name] = value;
    };
    for (option, part, name) in NUMBERS {
        if let Some(number) = line.number::<i64>(option)? {
            put(part, name, json!(number));
        }
    }
    for (option, name) in LISTS {
        if let Some(list) = line.text(option).filter(|list| !list.is_empty()) {
            put("cpu", name, json!(list));
        }
    }
    for (option, name) in AMOUNTS {
        if let Some(amount) = line.text(option) {
            put("memory", name, json!(bytes(option, amount)?));
        }
    }
    if let Some(number) = line.number::<i64>("pids-limit")? {
        put("pids", "limit", json!(number));
    }
    Ok(Value::Object(parts))
}

fn bytes(option: &str, text: &str) -> Result<i64> {
    let wrong =
        || Error::user(format!("--{option} {text}: it is no amount")).hint("for example 268435456 or 256m");
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, shift) = match lower.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let shift = "kmgt".find(unit).ok_or_else(wrong)?;
            (&lower[..at], 10 * (shift as u32 + 1))
        }
        _ => (lower, 0),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, wanted) in
            [("-1", -1), ("1024", 1024), ("2k", 2048), ("256m", 256 << 20), ("1GB", 1 << 30)]
        {
            assert_eq!(bytes("memory", text).expect(text), wanted);
        }
        for text in ["", "m", "1x", "1.5g", "99999999999t"] {
            assert!(bytes("memory", text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_become_the_document() {
        let args: Vec<String> =
            ["--memory=1m", "--cpu-quota", "-1", "--cpuset-cpus", "0", "web"].map(str::to_owned).to_vec();
        let line = Line::parse(&FLAGS, &args, Reach::All).expect("a line");
        let document = by_options(&line).expect("options");
        assert_eq!(
            document,
            json!({ "memory": { "limit": 1_048_576 }, "cpu": { "quota": -1, "cpus": "0" } })
        );
    }
}
