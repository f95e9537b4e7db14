//! The files of a group, wherever in its hierarchies they are.

use std::fs;
use std::path::PathBuf;

use super::{Psi, PsiData};

/// The directories of a group.
pub(super) struct Files(Vec<PathBuf>);

impl Files {
    pub(super) fn new(directories: impl Iterator<Item = PathBuf>) -> Self {
        Self(directories.collect())
    }

    /// The text of a file, if one of the hierarchies has it.
    pub(super) fn text(&self, file: &str) -> Option<String> {
        self.0.iter().find_map(|directory| fs::read_to_string(directory.join(file)).ok())
    }

    /// All texts of a name that several hierarchies have (`cpu.stat`).
    pub(super) fn texts(&self, file: &str) -> Vec<String> {
        self.0.iter().filter_map(|directory| fs::read_to_string(directory.join(file)).ok()).collect()
    }

    /// The number in a file; 0 without one, or where it says `max`.
    pub(super) fn number(&self, file: &str) -> u64 {
        self.maybe(file).unwrap_or(0)
    }

    pub(super) fn maybe(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    /// The number in the first of these files that there is.
    pub(super) fn first(&self, files: &[&str]) -> u64 {
        files.iter().find_map(|file| self.maybe(file)).unwrap_or(0)
    }

    pub(super) fn first_or(&self, file: &str, other: impl FnOnce() -> u64) -> u64 {
        self.maybe(file).unwrap_or_else(other)
    }

    /// A limit: the largest number where there is none.
    pub(super) fn limit(&self, files: &[&str]) -> u64 {
        let text = files.iter().find_map(|file| self.text(file));
        text.map_or(0, |text| text.trim().parse().unwrap_or(u64::MAX))
    }

    /// The number after a key in a file of lines.
    pub(super) fn key(&self, file: &str, key: &str) -> u64 {
        self.text(file).and_then(|text| number_of(&text, key)).unwrap_or(0)
    }

    /// What stands between a beginning and one of several ends in the names of files.
    pub(super) fn named(&self, start: &str, ends: &[&str]) -> Vec<(String, PathBuf)> {
        let entries = self.0.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        let found = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix(start)?;
            let middle = ends.iter().find_map(|end| rest.strip_suffix(end))?;
            Some((middle.to_owned(), entry.path()))
        });
        found.collect()
    }

    /// Pressure, where the kernel tells it.
    pub(super) fn pressure(&self, file: &str) -> Option<Psi> {
        let text = self.text(file)?;
        let line = |start: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(start));
            line.map(data).unwrap_or_default()
        };
        Some(Psi { some: line("some "), full: line("full ") })
    }
}

/// The number after a key in lines of keys and numbers.
pub(super) fn number_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// `avg10=0.00 avg60=0.00 avg300=0.00 total=0`
fn data(line: &str) -> PsiData {
    let mut data = PsiData::default();
    for word in line.split(' ') {
        match word.split_once('=') {
            Some(("avg10", value)) => data.avg10 = value.parse().unwrap_or(0.0),
            Some(("avg60", value)) => data.avg60 = value.parse().unwrap_or(0.0),
            Some(("avg300", value)) => data.avg300 = value.parse().unwrap_or(0.0),
            Some(("total", value)) => data.total = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    data
}
