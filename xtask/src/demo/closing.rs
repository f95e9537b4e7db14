//! The closing table: before and after.

use std::time::Duration;

use serde_json::Value;

use crate::table;

const WIDTH: usize = 40;

/// A development container has Docker's.
const DEVELOPMENT_CAPABILITIES: u64 = 14;

/// From the command to the first answer.
pub(crate) struct Starts {
    /// In the full development container.
    pub(crate) full: Duration,
    /// From the installed package.
    pub(crate) packed: Duration,
}

/// Bytes, files, distribution packages, start time, and the saving as a bar.
pub(crate) fn table(contents: &Value, starts: &Starts) -> String {
    let number = |key: &str| contents[key].as_u64().unwrap_or_default();
    let packages = contents["distribution_packages"].as_array().map_or(0, Vec::len) as u64;
    let needed = contents["spec"]["policy"]["capabilities"].as_array().map(Vec::len);
    let capabilities = needed.map_or(DEVELOPMENT_CAPABILITIES, |needed| needed as u64);
    let count = |what: &str, before: u64, after: u64| {
        line(what, before.to_string(), after.to_string(), after as f64 / before.max(1) as f64)
    };
    let (before, after) = (number("base_bytes"), number("bytes"));
    let [full, packed] = [starts.full, starts.packed].map(|d| d.as_secs_f64() * 1e3);
    let rows = vec![
        ["", "full root", "web.tsubo", "of it"].map(str::to_owned).to_vec(),
        line("bytes", table::bytes(before), table::bytes(after), after as f64 / before.max(1) as f64),
        line(
            "bytes, compressed",
            String::new(),
            table::bytes(number("packed_bytes")),
            number("packed_bytes") as f64 / before.max(1) as f64,
        ),
        count("files", number("base_files"), number("files")),
        count("distribution packages", number("base_packages"), packages),
        count("capabilities", DEVELOPMENT_CAPABILITIES, capabilities),
        line("start to first answer", format!("{full:.1} ms"), format!("{packed:.1} ms"), packed / full),
    ];
    let saved = 1.0 - after as f64 / before.max(1) as f64;
    let bar = table::paint("32", &table::bar(saved, WIDTH));
    format!("{}\n\nsaved  {bar}  {:.1} % of the bytes", table::columns(&rows), 100.0 * saved)
}

fn line(what: &str, before: String, after: String, share: f64) -> Vec<String> {
    vec![what.to_owned(), before, after, format!("{:.1} %", 100.0 * share)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saving_is_a_bar() {
        let contents = serde_json::json!({
            "bytes": 10_000_000, "base_bytes": 1_000_000_000, "packed_bytes": 4_000_000, "files": 100,
            "base_files": 40_000, "distribution_packages": [{}, {}], "base_packages": 300,
            "spec": { "policy": { "capabilities": ["CAP_CHOWN"] } },
        });
        let starts = Starts { full: Duration::from_millis(50), packed: Duration::from_millis(5) };
        let text = table(&contents, &starts);
        assert!(text.contains("10.0 MB") && text.contains("99.0 % of the bytes"), "{text}");
        assert!(text.contains("7.1 %"), "one capability of fourteen: {text}");
    }
}
