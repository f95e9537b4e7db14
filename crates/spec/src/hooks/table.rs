//! Hooks as a definition says them: `[[hooks.hook]]` and `[hooks.allow]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Act, Allow, Hook, Hooks, LEAST_MEMORY, LONGEST, MEMORY, MOST_MEMORY, TIMEOUT, is_name, milliseconds,
};
use crate::limits::Size;
use crate::resources::Limit;
use crate::{Error, Result, ResultExt};

/// The table `[hooks]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HooksTable {
    /// What they may reach beyond their own container.
    pub allow: Allow,
    /// The hooks; those of one moment are done in this order.
    pub hook: Vec<HookTable>,
}

/// One of `[[hooks.hook]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HookTable {
    /// `before start`, `after stop`, `after 30s`, `every 1m`, `every 1m jitter 5s`, `signal USR1`, `memory pressure 20%`,
    /// `pids at limit`, `cpu throttled 10%`, `disk 80%`, `health`, `idle 5m`.
    pub when: String,
    /// What it is called. Default: its moment and a number.
    pub name: Option<String>,
    /// A program of the host with its arguments; it gets the state on its input, as JSON.
    pub run: Vec<String>,
    /// A script beside the definition, which returns a table of functions.
    pub script: Option<String>,
    /// Which of them.
    pub function: Option<String>,
    /// How long it may take, as in `10s`. Default: 10s.
    pub timeout: Option<String>,
    /// `warn` (default), or `abort`: what it comes before is not done if it fails.
    pub on_error: Option<String>,
    /// How much memory a script may take, as in `32M`. Default: 32M.
    pub memory: Option<String>,
}

impl HooksTable {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The hooks of it; `definition` is the file's name where that computes its hooks itself, `text` the
    /// definition's own, in which the line of a mistake is looked for. The texts of scripts are added by whoever reads files.
    ///
    /// # Errors
    /// A moment that is none; a hook that says both or neither of `run` and `script`; two of one name.
    pub fn hooks(&self, definition: Option<&str>, text: &str) -> Result<Hooks> {
        let mut counts = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut list = Vec::new();
        for (number, one) in self.hook.iter().enumerate() {
            let hook = one.hook(&mut counts, definition);
            let hook =
                hook.doing(|| format!("{}hook {} of the definition", line(text, number), number + 1))?;
            if !names.insert(hook.name.clone()) {
                return Err(Error::user(format!(
                    "{}two hooks are called {:?}",
                    line(text, number),
                    hook.name
                ))
                .hint("give each a name of its own: name = \"…\""));
            }
            list.push(hook);
        }
        self.allow.check().doing(|| format!("{}[hooks.allow]", line_of(text, "[hooks.allow]", 0)))?;
        Ok(Hooks { list, allow: self.allow.clone(), ..Hooks::default() })
    }
}

/// Where the table of this hook begins, if it is written so: the beginning of a message.
pub fn line(text: &str, number: usize) -> String {
    line_of(text, "[[hooks.hook]]", number)
}

fn line_of(text: &str, head: &str, number: usize) -> String {
    let mut heads = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(head));
    heads.nth(number).map_or_else(String::new, |(line, _)| format!("line {}: ", line + 1))
}

impl HookTable {
    fn hook(&self, counts: &mut BTreeMap<String, u32>, definition: Option<&str>) -> Result<Hook> {
        let when: super::When = self.when.parse()?;
        let count = counts.entry(when.to_string()).or_default();
        *count += 1;
        let name = self.name.clone().unwrap_or_else(|| format!("{when} #{count}"));
        if !is_name(&name) {
            return Err(Error::user(format!("{name:?} is no name of a hook"))
                .hint("1 to 128 characters, none of which is a control character"));
        }
        let timeout = self.timeout.as_deref().map_or(Ok(TIMEOUT), milliseconds)?;
        if !(1..=LONGEST).contains(&timeout) {
            return Err(Error::user(format!("a hook may not take {timeout} ms")).hint("from 1ms to 1h"));
        }
        let memory = match self.memory.as_deref().map(str::parse::<Size>).transpose()? {
            None => MEMORY,
            Some(Size(Limit::At(bytes))) => bytes,
            Some(Size(Limit::Max)) => u64::MAX,
        };
        if !(LEAST_MEMORY..=MOST_MEMORY).contains(&memory) {
            return Err(
                Error::user(format!("the memory of a hook cannot be {memory} bytes")).hint("from 1M to 1G")
            );
        }
        Ok(Hook {
            act: self.act(&name, definition)?,
            name,
            when,
            timeout,
            on_error: self.on_error.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
            memory,
        })
    }

    fn act(&self, name: &str, definition: Option<&str>) -> Result<Act> {
        match (&self.script, &self.function, self.run.first()) {
            (Some(file), Some(function), None) if !file.is_empty() => Ok(Act::Script {
                file: file.clone(),
                function: function.clone(),
                definition: definition == Some(file),
            }),
            (None, None, Some(program)) if Path::new(program).is_absolute() => Ok(Act::Program(self.run.clone())),
            (None, None, Some(program)) => Err(Error::user(format!("{program:?} is no absolute path"))
                .hint("a hook is run by the keeper, which has no working directory: run = [\"/usr/bin/logger\", \"started\"]")),
            _ => Err(Error::user(format!("hook {name:?} says not, or not only, what is done"))
                .hint("either run = [\"/program\", \"argument\"], or script = \"hooks.luau\" and function = \"name\"")),
        }
    }
}

impl Allow {
    /// # Errors
    /// What could mean something else than whoever wrote it thinks.
    fn check(&self) -> Result<()> {
        for url in &self.http {
            let rest =
                url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
            // Without the slash `https://example.com` would allow `https://example.com.evil.org` too.
            let escaped = ["%2e", "%2f", "%5c", "%25", "%3b", "/../", "/./", "..;"];
            let lower = rest.to_ascii_lowercase();
            if let Some(bad) = escaped.iter().find(|bad| lower.contains(*bad)) {
                return Err(Error::user(format!(
                    "hooks.allow.http: {url:?} can never be asked for: it has {bad}"
                ))
                .hint("servers read that in several ways: say the path plainly"));
            }
            if !rest.contains('/') || rest.starts_with('/') || rest.contains('@') {
                return Err(Error::user(format!("hooks.allow.http: {url:?} is no beginning of URLs"))
                    .hint("with the slash after the host: https://example.com/"));
            }
        }
        let is_word = |text: &String| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-*".contains(c))
                && !text.contains("..")
        };
        let is_place = |text: &String| {
            text.parse::<std::net::SocketAddr>().is_ok()
                || text
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let words = [("env", &self.env), ("cgroup", &self.cgroup), ("sysctl", &self.sysctl)];
        for (key, set) in words {
            if let Some(bad) = set.iter().find(|text| !is_word(text)) {
                return Err(Error::user(format!("hooks.allow.{key}: {bad:?} can never be meant"))
                    .hint("names only, as in env = [\"TOKEN\"], cgroup = [\"memory.high\"], sysctl = [\"net.core.somaxconn\"]"));
            }
        }
        if let Some(bad) = self.metrics.iter().find(|text| !is_place(text)) {
            return Err(Error::user(format!("hooks.allow.metrics: {bad:?} is no address"))
                .hint("with the port: metrics = [\"127.0.0.1:8125\"]"));
        }
        let paths = self.read.iter().chain(&self.write).chain(&self.run).chain(&self.ca);
        for path in paths {
            let is_plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
            if !path.is_absolute() || !is_plain {
                return Err(Error::user(format!("hooks.allow: {} is no absolute path", path.display()))
                    .hint("without .. in it"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(when: &str, run: &[&str]) -> HookTable {
        let run = run.iter().map(|word| (*word).to_owned()).collect();
        HookTable { when: when.to_owned(), run, ..HookTable::default() }
    }

    #[test]
    fn several_of_one_moment_stay_in_their_order_with_names_of_their_own() {
        let table = HooksTable {
            hook: vec![one("before start", &["/a"]), one("every 1s", &["/b"]), one("before start", &["/c"])],
            ..HooksTable::default()
        };
        let hooks = table.hooks(None, "").expect("hooks");
        let names: Vec<&str> = hooks.list.iter().map(|hook| hook.name.as_str()).collect();
        assert_eq!(names, ["before start #1", "every 1s #1", "before start #2"]);
        assert_eq!(hooks.at(&"before start".parse().expect("a moment")).count(), 2);
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        let bad = [
            one("before lunch", &["/a"]),
            one("after start", &[]),
            one("after start", &["true"]),
            HookTable { script: Some("a.luau".into()), ..one("after start", &[]) },
            HookTable {
                script: Some("a.luau".into()),
                function: Some("f".into()),
                ..one("after start", &["/a"])
            },
            HookTable { timeout: Some("2h".into()), ..one("after start", &["/a"]) },
            HookTable { on_error: Some("cry".into()), ..one("after start", &["/a"]) },
            HookTable { memory: Some("1K".into()), ..one("after start", &["/a"]) },
        ];
        for hook in bad {
            let table = HooksTable { hook: vec![hook.clone()], ..HooksTable::default() };
            let error = table.hooks(None, "").expect_err("nonsense");
            assert!(!error.hints().is_empty(), "{hook:?}: {}", error.chain());
        }
        for url in [
            "https://example.com",
            "ftp://a/",
            "https:///x",
            "http://a@b/",
            "http://a/%252e/",
            "http://a/..;/",
        ] {
            let allow = Allow { http: vec![url.into()], ..Allow::default() };
            assert!(HooksTable { allow, ..HooksTable::default() }.hooks(None, "").is_err(), "{url}");
        }
        let set = |text: &str| std::collections::BTreeSet::from([text.to_owned()]);
        for allow in [
            Allow { cgroup: set("../x"), ..Allow::default() },
            Allow { env: set("A=B"), ..Allow::default() },
            Allow { metrics: set("foo"), ..Allow::default() },
        ] {
            assert!(
                HooksTable { allow: allow.clone(), ..HooksTable::default() }.hooks(None, "").is_err(),
                "{allow:?}"
            );
        }
    }
}
