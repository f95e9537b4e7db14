//! `KEY=VALUE` on the command line, for every key of the table.

use super::Limits;
use crate::Result;

/// One limit as a layer, as in `memory=256M` or `io_read={ "/" = "10M" }`.
///
/// # Errors
/// An unknown key, with the nearest known one; a value that the key does not take.
pub fn set(text: &str) -> Result<Limits> {
    crate::isolation::setting(text, "memory=256M or cpus=0.5", Limits::parse)
}

impl Limits {
    /// Understands the text of a file that is one such table.
    ///
    /// # Errors
    /// Bad TOML; an unknown key, with the nearest known one.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        crate::definition::parse_table(text, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_tables() {
        assert_eq!(set("memory=256M").expect("text").memory.expect("said").to_string(), "256M");
        assert_eq!(set("cpus=0.5").expect("number").cpus.expect("said").to_string(), "0.5");
        assert_eq!(set("cpuset=0-1").expect("text").cpuset.as_deref(), Some("0-1"));
        assert_eq!(set("io_read={ \"/\" = \"1M\" }").expect("table").io_read.len(), 1);
        assert_eq!(set("hugepages.2MB=64M").expect("table").hugepages["2MB"].to_string(), "64M");
        assert_eq!(set("best_effort=true").expect("yes").best_effort, Some(true));
    }

    #[test]
    fn a_wrong_key_names_the_nearest() {
        let error = set("memry=1G").expect_err("unknown");
        assert!(error.hints()[0].contains("\"memory\""), "{error:?}");
        for bad in ["memory", "memory=much", "cpus=-1x", "pids=1.5", "group=../x", "cpu_weight=heavy"] {
            assert!(set(bad).is_err(), "{bad}");
        }
    }
}
