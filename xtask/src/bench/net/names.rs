//! The resolver of a network: how long a container waits for the address of another.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::starts::NETWORK;
use super::world::Inside;
use super::{Home, Table};
use crate::bench::row;
use crate::bench::samples::Samples;
use crate::shell::{self, Result};

const QUERIES: u16 = 1000;

pub(super) fn measure(home: &Home) -> Result<Table> {
    for name in ["asks", "asked"] {
        home.state.quiet(&["run", "-d", "--name", name, NETWORK[0], NETWORK[1], "idle", "/bin/idle"])?;
    }
    let known = home.state.json(&["network", "inspect", "tsubo"])?;
    let gateway = find(&known, "gateway").and_then(|text| text.as_str()?.parse::<IpAddr>().ok());
    let gateway = gateway.ok_or_else(|| format!("no gateway in {known}"))?;
    let container = home.state.json(&["inspect", "asks"])?;
    let pid = container["state"]["pid"].as_u64().ok_or("no process")?;
    let inside = Inside::of(&pid.to_string())?;
    let samples = ask(gateway, "asked")?;
    drop(inside);
    home.state.quiet(&["rm", "-f", "asks", "asked"])?;
    let [half, most, worst] = [0.5, 0.99, 1.0].map(|share| format!("{:.3}", samples.quantile(share)));
    Ok(vec![
        row(["a name, in milliseconds", "queries", "median", "99 %", "slowest", "goal"]),
        row(["tsubo", &QUERIES.to_string(), &half, &most, &worst, "1"]),
    ])
}

/// One query after the other, over one socket.
fn ask(server: IpAddr, name: &str) -> Result<Samples> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((server, 53)).map_err(|e| format!("{server}: {e}"))?;
    let mut samples = Samples::default();
    let mut times = Vec::with_capacity(QUERIES.into());
    for id in 0..QUERIES {
        shell::unless_interrupted()?;
        let (query, mut answer) = (query(id, name), [0; 512]);
        let begun = Instant::now();
        socket.send(&query)?;
        let length = socket.recv(&mut answer).map_err(|e| format!("{server} does not answer: {e}"))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        must_be_found(id, &answer[..length])?;
    }
    samples.extend(times);
    Ok(samples)
}

/// A question for an address of version 4.
fn query(id: u16, name: &str) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut bytes = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    bytes.extend(name.bytes());
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Ours, without an error, and with an answer.
fn must_be_found(id: u16, answer: &[u8]) -> Result {
    match answer {
        [high, low, _, code, _, _, more, count, ..]
            if [*high, *low] == id.to_be_bytes() && code & 15 == 0 && (*more, *count) > (0, 0) =>
        {
            Ok(())
        }
        _ => Err(format!("the resolver's answer to a name that is there: {answer:02x?}").into()),
    }
}

/// The first value of this key, at any depth.
pub(super) fn find<'a>(value: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
    use serde_json::Value;
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key))),
        Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_its_answers() {
        assert_eq!(query(258, "ab"), *b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x02ab\0\0\x01\0\x01");
        assert!(must_be_found(258, b"\x01\x02\x81\x80\0\x01\0\x01\0\0\0\0").is_ok());
        assert!(must_be_found(258, b"\x01\x02\x81\x83\0\x01\0\0\0\0\0\0").is_err());
        assert!(must_be_found(1, b"\x01\x02").is_err());
    }
}
