//! Blocks that are called later: each with the nearest moment of ours.

use std::collections::BTreeMap;

use spec::hooks::HookTable;

use super::super::record::{Hook, number, said, shown};
use super::{Mapping, said_text};

/// The file that the skeletons are in.
pub(in super::super) const SCRIPT: &str = "hooks.luau";

/// A hook that is to be written anew.
#[derive(Debug)]
pub(in super::super) struct Skeleton {
    /// The function that it becomes.
    pub(in super::super) function: String,
    /// As Haconiwa's users know it.
    pub(in super::super) was: String,
    /// Our moment.
    pub(in super::super) when: String,
    /// What is different about that.
    pub(in super::super) differs: &'static str,
    /// Where it was.
    pub(in super::super) line: Option<u64>,
    /// Its text in Ruby.
    pub(in super::super) source: Option<String>,
}

/// Points of Haconiwa's, our moments, and what is different.
const POINTS: [(&str, &str, &str); 16] = [
    ("setup", "before create", ""),
    ("before_fork", "before start", ""),
    ("immediately_after_fork_on_parent", "before start", "the process is not there yet"),
    (
        "after_fork",
        "before start",
        "it ran in the new process; hooks run outside, and ctx:exec does something inside once it has started",
    ),
    ("after_network_created", "before network", ""),
    ("after_network_initialized", "after network", ""),
    ("before_chroot", "before start", "it ran in the new process, as the host's root; hooks run outside"),
    (
        "after_chroot",
        "before start",
        "it ran in the new process; hooks run outside, and ctx:exec does something inside once it has started",
    ),
    ("before_start_wait", "after start", ""),
    ("teardown_container", "before cleanup", ""),
    ("teardown", "after cleanup", ""),
    ("after_reload", "after update", ""),
    ("after_failure", "after failure", ""),
    (
        "system_failure",
        "after failure",
        "of a supervisor that fails itself nobody is told: the next command of tsubo mends what it left",
    ),
    ("before_restore", "before start", "containers are not saved and restored with CRIU"),
    ("after_restore", "after start", "containers are not saved and restored with CRIU"),
];

impl Mapping<'_> {
    /// The hooks; their moments are put into the definition.
    pub(super) fn hooks(&mut self) -> Vec<Skeleton> {
        let mut all = Vec::new();
        let mut points = BTreeMap::new();
        for hook in &self.from.hooks {
            if hook.kind == "general" && points.insert(shown(&hook.on), ()).is_some() {
                self.note_at(hook.line, format!("a second block for {}: Haconiwa does only the last, silently; here both are done, in order", shown(&hook.on)));
            }
            if let Some(skeleton) = self.skeleton(hook) {
                all.push(skeleton);
            }
        }
        named_apart(&mut all);
        let mut names = BTreeMap::new();
        for skeleton in &all {
            self.to.hooks.hook.push(table(skeleton, &mut names, &self.origin.name));
            if !skeleton.differs.is_empty() {
                self.note_at(skeleton.line, format!("{}: {}", skeleton.was, skeleton.differs));
            }
        }
        if !all.is_empty() {
            self.note(format!(
                "the hooks are skeletons: {SCRIPT} has the Ruby text of each, to be written in Luau"
            ));
        }
        all
    }

    fn skeleton(&mut self, hook: &Hook) -> Option<Skeleton> {
        let on = shown(&hook.on);
        let (function, was, when, differs) = match hook.kind.as_str() {
            "general" => {
                let point = POINTS.iter().find(|(known, _, _)| *known == on);
                let Some((_, when, differs)) = point else {
                    self.note_at(hook.line, format!("config.add_general_hook {on:?}: no such point"));
                    return None;
                };
                (on.clone(), format!("add_general_hook :{on}"), (*when).to_owned(), *differs)
            }
            "signal" => {
                let short = on.trim_start_matches("SIG").to_owned();
                (
                    format!("signal_{}", identifier(&short)),
                    format!("add_signal_handler :{on}"),
                    format!("signal {short}"),
                    "",
                )
            }
            "timer" => self.timer(hook)?,
            "readiness" => self.readiness(hook),
            _ => short(hook),
        };
        if let Err(error) = when.parse::<spec::hooks::When>() {
            self.note_at(hook.line, format!("{was}: {error}"));
            return None;
        }
        Some(Skeleton { function, was, when, differs, line: hook.line, source: hook.source.clone() })
    }

    fn timer(&mut self, hook: &Hook) -> Option<(String, String, String, &'static str)> {
        let scales = [("msec", 1), ("sec", 1000), ("min", 60_000), ("hour", 3_600_000)];
        let get = |key: &str| hook.options.get(key).and_then(number);
        let first = scales.iter().find_map(|(key, scale)| Some(get(key)?.saturating_mul(*scale)));
        let interval = get("interval_msec").filter(|interval| *interval > 0);
        let options = hook.options.iter().map(|(key, value)| format!("{key}: {}", shown(value)));
        let was = format!("add_async_hook({})", options.collect::<Vec<_>>().join(", "));
        if get("limit_count").is_some() {
            self.note_at(
                hook.line,
                format!(
                    "{was}: nothing counts how often; ctx.state can, and the hook does nothing from then on"
                ),
            );
        }
        match (first, interval) {
            (_, Some(interval)) => {
                let often = interval.max(100);
                if first != Some(interval) {
                    self.note_at(hook.line, format!("{was}: the first time comes after one interval"));
                }
                if often != interval {
                    self.note_at(hook.line, format!("{was}: every 100ms at most"));
                }
                Some(("every".to_owned(), was, format!("every {often}ms"), ""))
            }
            (Some(first), None) => Some(("timer".to_owned(), was, format!("after {}ms", first.max(0)), "")),
            (None, None) => {
                self.note_at(hook.line, format!("{was}: when?"));
                None
            }
        }
    }

    /// That it listens is asked by the keeper itself.
    fn readiness(&mut self, hook: &Hook) -> (String, String, String, &'static str) {
        let port = hook.options.get("port").or_else(|| hook.options.get("readiness_port")).and_then(number);
        match port.and_then(|port| u16::try_from(port).ok()) {
            Some(port) => self.to.ready = Some(format!("tcp:{port}")),
            None => self.note_at(hook.line, "add_readiness_hook has no port: say ready = \"tcp:PORT\""),
        }
        let timeout =
            hook.options.get("timeout").and_then(number).and_then(|timeout| u64::try_from(timeout).ok());
        self.to.ready_timeout = timeout.filter(|timeout| (1..=86_400).contains(timeout));
        let differs = "it was asked again and again; now it is done once, when the port answers";
        ("ready".to_owned(), "add_readiness_hook".to_owned(), "after ready".to_owned(), differs)
    }
}

/// Memory pressure as levels, and no memory left.
fn short(hook: &Hook) -> (String, String, String, &'static str) {
    let kind = said(&hook.on).unwrap_or_default();
    if kind == "oom" {
        return ("oom".to_owned(), "add_cgroup_hook type: oom".to_owned(), "after oom".to_owned(), "");
    }
    let level = hook.options.get("level").and_then(said_text).unwrap_or_else(|| "critical".to_owned());
    let share = match level.as_str() {
        "low" => 5,
        "medium" => 20,
        _ => 50,
    };
    let was = format!("add_cgroup_hook type: {kind}, level: {level}");
    let differs = "levels of version 1 become the share of time in which something waits for memory (low 5%, medium 20%, critical 50%)";
    ("memory_pressure".to_owned(), was, format!("memory pressure {share}%"), differs)
}

/// What can be part of a function's name.
fn identifier(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Functions of one file have different names.
fn named_apart(all: &mut [Skeleton]) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for skeleton in all {
        let count = counts.entry(skeleton.function.clone()).or_default();
        *count += 1;
        if *count > 1 {
            skeleton.function = format!("{}_{count}", skeleton.function);
        }
    }
}

fn table(skeleton: &Skeleton, names: &mut BTreeMap<String, u32>, file: &str) -> HookTable {
    let place = skeleton.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let name: String = format!("{} of {place}", skeleton.function).chars().take(120).collect();
    let count = names.entry(name.clone()).or_default();
    *count += 1;
    HookTable {
        when: skeleton
            .when
            .parse::<spec::hooks::When>()
            .map_or_else(|_| skeleton.when.clone(), |when| when.to_string()),
        name: Some(if *count > 1 { format!("{name} ({count})") } else { name }),
        script: Some(SCRIPT.to_owned()),
        function: Some(skeleton.function.clone()),
        ..HookTable::default()
    }
}
