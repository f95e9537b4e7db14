//! What the guest tells on its line, and what comes of it.

use std::collections::BTreeMap;

use super::suites::Job;
use crate::test::Outcome;

/// What one line of the guest says.
#[derive(Debug, PartialEq)]
enum Told<'a> {
    Boot(&'a str),
    Text(usize, &'a str),
    Verdict { passed: bool, number: usize, seconds: &'a str },
    Kernel(&'a str),
    End,
}

impl<'a> Told<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbered = || {
            let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((number.parse().ok()?, rest))
        };
        Some(match word {
            "@boot" => Self::Boot(rest),
            "@text" => numbered().map(|(number, text)| Self::Text(number, text))?,
            "@pass" | "@fail" => {
                let (number, seconds) = numbered()?;
                Self::Verdict { passed: word == "@pass", number, seconds }
            }
            "@kernel" => Self::Kernel(rest),
            "@end" => Self::End,
            _ => return None,
        })
    }
}

/// The results so far.
pub(super) struct Results<'a> {
    jobs: &'a [Job],
    texts: BTreeMap<usize, Vec<String>>,
    passed: BTreeMap<usize, bool>,
    /// What the kernel complained about.
    complaints: Vec<String>,
    /// It came to its end by itself.
    ended: bool,
}

impl<'a> Results<'a> {
    pub(super) fn of(jobs: &'a [Job]) -> Self {
        Self { jobs, texts: BTreeMap::new(), passed: BTreeMap::new(), complaints: Vec::new(), ended: false }
    }

    /// Takes a line in; what a person should see of it.
    pub(super) fn take(&mut self, line: &str) -> Option<String> {
        match Told::read(line.trim_end_matches('\r'))? {
            Told::Boot(kernel) => Some(format!("    guest: {kernel}")),
            Told::Text(number, text) => {
                self.texts.entry(number).or_default().push(text.to_owned());
                None
            }
            Told::Verdict { passed, number, seconds } => {
                self.passed.insert(number, passed);
                let seconds: f64 = seconds.parse().unwrap_or_default();
                let word = if passed { "PASS" } else { "FAIL" };
                let (done, all) = (self.passed.len(), self.jobs.len());
                let head =
                    format!("        {word} [{seconds:>8.3}s] (guest {done}/{all}) {}", self.label(number));
                let texts = self.texts.get(&number).filter(|_| !passed);
                Some(texts.into_iter().flatten().fold(head, |text, line| text + "\n    | " + line))
            }
            Told::Kernel(complaint) => {
                self.complaints.push(complaint.to_owned());
                Some(format!("    guest: the kernel complains: {complaint}"))
            }
            Told::End => {
                self.ended = true;
                None
            }
        }
    }

    /// Whether the guest came to its end.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn label(&self, number: usize) -> &str {
        self.jobs.get(number).map_or("?", |job| &job.label)
    }

    /// All of it. A test that never told its end has failed.
    pub(super) fn outcome(&self, seconds: f64) -> Outcome {
        let passed = self.passed.values().filter(|passed| **passed).count();
        let failed: Vec<&str> = (0..self.jobs.len())
            .filter(|n| self.passed.get(n) != Some(&true))
            .map(|n| self.label(n))
            .collect();
        let skipped = self.skipped();
        let mut summary = format!(
            "Guest [{seconds:>8.3}s] {} tests run: {passed} passed, {} failed, {} skipped",
            self.jobs.len(),
            failed.len(),
            skipped.len()
        );
        failed.iter().for_each(|label| summary += &format!("\n  FAIL in the guest: {label}"));
        self.complaints.iter().for_each(|one| summary += &format!("\n  the guest's kernel: {one}"));
        let passed = failed.is_empty() && self.complaints.is_empty() && self.ended;
        Outcome { skipped, summary, passed }
    }

    fn skipped(&self) -> Vec<String> {
        let passed = self.texts.iter().filter(|(number, _)| self.passed.get(number) == Some(&true));
        let line = |number: usize, text: &String| format!("guest {}: {text}", self.label(number));
        passed.flat_map(|(number, texts)| texts.iter().map(move |text| line(*number, text))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(labels: &[&str]) -> Vec<Job> {
        let job = |label: &&str| Job {
            label: (*label).into(),
            name: String::new(),
            binary: "/x".into(),
            package: "/x".into(),
        };
        labels.iter().map(job).collect()
    }

    #[test]
    fn what_is_told_is_added_up() {
        let jobs = jobs(&["one", "two", "three"]);
        let mut results = Results::of(&jobs);
        assert_eq!(results.take("[    1.0] kernel noise"), None);
        results.take("@text 0 SKIPPED: no floppy\r");
        let shown = results.take("@pass 0 1.5\r").expect("a line");
        assert!(shown.contains("PASS [   1.500s] (guest 1/3) one") && !shown.contains("floppy"), "{shown}");
        results.take("@text 1 assertion failed");
        assert!(results.take("@fail 1 2").expect("a line").ends_with("| assertion failed"));
        let outcome = results.outcome(9.0);
        assert!(!outcome.passed && outcome.summary.contains("3 tests run: 1 passed, 2 failed, 1 skipped"));
        assert_eq!(outcome.skipped, ["guest one: SKIPPED: no floppy"]);
    }

    #[test]
    fn a_guest_that_stops_early_or_whose_kernel_complains_has_failed_whatever_passed() {
        let jobs = jobs(&["one"]);
        let mut results = Results::of(&jobs);
        results.take("@pass 0 1");
        assert!(!results.outcome(1.0).passed);
        results.take("@end");
        assert!(results.outcome(1.0).passed);
        results.take("@kernel WARNING: CPU: 0 PID: 1");
        assert!(!results.outcome(1.0).passed);
    }
}
