//! tsubo itself, from a package of the same program, installed.

use super::{Ground, Runtime, Words};
use crate::bench::State;
use crate::shell::{self, Result};

/// An installed image with the static program.
pub(crate) struct Tsubo<'a> {
    state: &'a State,
}

impl<'a> Tsubo<'a> {
    /// Made as a person makes one.
    pub(crate) fn install(state: &'a State, ground: &Ground) -> Result<Self> {
        let package = state.file("idle.tsubo");
        let (root, package) = (ground.root.to_string_lossy(), package.to_string_lossy());
        state.quiet(&["dev", "idle", "--from", &root, "--", "/bin/idle", "true"])?;
        state.quiet(&["test", "idle", "--ready", "0.2", "--", "/bin/idle"])?;
        state.quiet(&["pack", "idle", "-o", &package])?;
        state.quiet(&["install", &package])?;
        Ok(Self { state })
    }

    pub(crate) fn runtime(&self) -> Runtime {
        let named = |words: &[&str]| self.line(&[words, &["t{}"]].concat());
        let verb = |name: &str, line: Words| has_verb(self.state, name).then_some(line);
        Runtime {
            name: "tsubo run --rm".into(),
            run: self.run(&["--rm"], &["true"]),
            detach: Some(self.run(&["-d", "--name", "t{}"], &[])),
            echo: Some(self.run(&["-d", "-i", "--name", "t{}"], &["echo"])),
            create: verb("create", self.line(&["create", "--name", "t{}", "idle", "/bin/idle"])),
            start: verb("start", named(&["start"])),
            remove: Some(named(&["rm", "-f"])),
            exec: Some(self.line(&["exec", "t{}", "/bin/idle", "say"])),
            attach: verb("attach", named(&["attach"])),
            ..Runtime::default()
        }
    }

    /// `tsubo run OPTIONS… idle /bin/idle ARGS…`
    pub(crate) fn run(&self, options: &[&str], args: &[&str]) -> Words {
        self.line(&[&["run"], options, &["idle", "/bin/idle"], args].concat())
    }

    fn line(&self, words: &[&str]) -> Words {
        let command = self.state.tsubo(words);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|w| w.to_string_lossy().into_owned()).collect()
    }
}

/// Whether this tsubo knows a verb; that it does not is said.
fn has_verb(state: &State, verb: &str) -> bool {
    let help = shell::read(&mut state.tsubo(&["--help"])).unwrap_or_default();
    let has = help.lines().any(|l| l.strip_prefix("  ").is_some_and(|l| l.split(' ').next() == Some(verb)));
    if !has {
        println!("SKIPPED: tsubo {verb}: this tsubo has no such verb");
    }
    has
}

/// Whether `tsubo run` knows an option.
pub(crate) fn has_flag(state: &State, flag: &str) -> bool {
    let help = shell::read(&mut state.tsubo(&["run", "--help"])).unwrap_or_default();
    let flag = flag.split('=').next().unwrap_or(flag);
    help.split([' ', ',', '\n']).any(|word| word == flag)
}
