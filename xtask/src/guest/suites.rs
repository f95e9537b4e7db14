//! Which tests run in the guest: those of what its kernel does differently. It is slow there, so what
//! only computes, or was seen to be the same on every kernel, stays with the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::Message;

use crate::house;
use crate::shell::{self, Result};

/// A test program of a package, and which of its tests are wanted: those whose name begins with one of
/// `only` (all, where it is empty) and with none of `but`.
struct Suite {
    package: &'static str,
    target: &'static str,
    only: &'static [&'static str],
    but: &'static [&'static str],
}

/// Tests of quantity and of speed, for which an emulated processor is no place.
const SLOW: [&str; 6] = [
    "attached::ten_look_on",
    "life::a_hundred_at_once",
    "life::how_long",
    "logs::",
    "together::clients_that_do_not_read",
    "together::whoever_looks",
];

const SUITES: &[Suite] = &[
    Suite {
        package: "tsubo",
        target: "it",
        only: &[
            "guest::",
            "rootless::",
            "life::created",
            "limits::",
            "limits_words::",
            "counts::",
            "own_files::a_",
            "own_files::fresh",
            "own_files::traps",
            "own_files::volumes_hold",
            "oddities::attack",
            "figures::",
        ],
        // It packs whole roots, which takes a minute here; what its kernel has to do with it the others show.
        but: &["rootless::an_ordinary_user_packs"],
    },
    Suite { package: "tsubo-audit", target: "audit", only: &["guest::"], but: &[] },
    Suite { package: "tsubo-cgroup", target: "it", only: &[], but: &[] },
    Suite { package: "tsubo-cgroup", target: "place", only: &[], but: &[] },
    Suite { package: "tsubo-cgroup", target: "systemd", only: &[], but: &[] },
    Suite { package: "tsubo-cgroup", target: "tsubo_cgroup", only: &["freeze::"], but: &[] },
    Suite { package: "tsubo-disk", target: "it", only: &["quotas::"], but: &[] },
    // Interfaces that few kernels have all of.
    Suite {
        package: "tsubo-net",
        target: "segments",
        only: &["macvlan", "ipvlan", "tagged", "a_bridge"],
        but: &[],
    },
    Suite { package: "tsubo-oci", target: "it", only: &["guest::"], but: &[] },
    Suite { package: "tsubo-oci", target: "engines", only: &["guest::"], but: &[] },
    Suite { package: "tsubod", target: "it", only: &["guest::"], but: &[] },
    Suite {
        package: "tsubo-runtime",
        target: "it",
        only: &[],
        but: &["life::how_long", "bundles::ten_thousand_mounts"],
    },
    Suite { package: "tsubo-keeper", target: "it", only: &[], but: &SLOW },
    Suite {
        package: "tsubo-lifecycle",
        target: "tsubo_lifecycle",
        only: &["containers::", "pinned::", "rootless::"],
        but: &[],
    },
];

/// Tests that nothing may run beside, because they set the clock, or measure what a neighbour still gets.
const ALONE: [&str; 2] = ["guest::clock::", "guest::an_audit_"];

/// In the name of a test, or of its program: it wants systemd for the first process.
const BY_SYSTEMD: &str = "systemd";

/// When a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Beside others.
    Together,
    /// Beside nobody.
    Alone,
    /// After the others, when systemd has become the first process.
    BySystemd,
}

/// Tests that are ignored on a host, because they are the guest's only.
const OWN: &str = "guest::";

/// One test.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) label: String,
    pub(super) name: String,
    pub(super) binary: PathBuf,
    /// The folder of its package, where it runs.
    pub(super) package: PathBuf,
}

impl Job {
    pub(super) fn turn(&self) -> Turn {
        match &self.label {
            label if label.contains(BY_SYSTEMD) => Turn::BySystemd,
            _ if ALONE.iter().any(|start| self.name.starts_with(start)) => Turn::Alone,
            _ => Turn::Together,
        }
    }
}

/// Builds the test programs and lists what is wanted of them; with `words`, whatever has one of
/// them in its name.
pub(super) fn find(words: &[String]) -> Result<Vec<Job>> {
    // Of all packages, as the tests of the host were built: see `test::programs`.
    let mut build = house::cargo_linting(&["test", "--workspace", "--no-run", "--quiet"])?;
    build.arg("--message-format=json-render-diagnostics");
    let messages = shell::read(&mut build)?;
    let mut jobs = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let (Some(binary), true) = (artifact.executable, artifact.profile.test) else { continue };
        let package = artifact.manifest_path.parent().ok_or("a manifest without a folder")?;
        let name = |suite: &&Suite| {
            Path::new(package).ends_with(suite.folder()) && suite.target == artifact.target.name
        };
        if let Some(suite) = SUITES.iter().find(name) {
            jobs.extend(suite.jobs(binary.as_ref(), package.as_ref(), words)?);
        }
    }
    Ok(jobs)
}

impl Suite {
    fn folder(&self) -> &str {
        self.package.trim_start_matches("tsubo-")
    }

    fn jobs(&self, binary: &Path, package: &Path, words: &[String]) -> Result<Vec<Job>> {
        let list = |more: &[&str]| {
            shell::read(
                Command::new(binary).args(["--list", "--format", "terse"]).args(more).current_dir(package),
            )
        };
        let (all, ignored) = (list(&[])?, list(&["--ignored"])?);
        let ignored: Vec<&str> = names(&ignored).collect();
        let runs = |name: &&str| !ignored.contains(name) || name.starts_with(OWN);
        let wanted = |name: &&str| match words {
            [] => self.wants(name),
            words => words.iter().any(|word| name.contains(word.as_str())),
        };
        let job = |name: &str| Job {
            label: format!("{}::{} {name}", self.package, self.target),
            name: name.to_owned(),
            binary: binary.to_owned(),
            package: package.to_owned(),
        };
        Ok(names(&all).filter(runs).filter(wanted).map(job).collect())
    }

    fn wants(&self, name: &str) -> bool {
        let begins = |list: &[&str]| list.iter().any(|start| name.starts_with(start));
        (self.only.is_empty() || begins(self.only)) && !begins(self.but)
    }
}

fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.strip_suffix(": test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_takes_what_it_wants() {
        let suite =
            Suite { package: "tsubo-x", target: "it", only: &["life::", "own::"], but: &["life::slow"] };
        assert!(suite.wants("life::a") && suite.wants("own::a"));
        assert!(!suite.wants("life::slow_one") && !suite.wants("other::a"));
        assert_eq!(suite.folder(), "x");
    }
}
