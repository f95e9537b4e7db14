//! The files that are written, for people to go on with.

use spec::definition::Definition;
use spec::{Error, Result};

use super::words::{HookSkeleton, Note, Origin};

/// The keys in the order in which a definition is read; tables come last.
const ORDER: [&str; 21] = [
    "name",
    "base",
    "see",
    "copy",
    "build",
    "command",
    "user",
    "workdir",
    "stop_signal",
    "ready",
    "ready_timeout",
    "exercises",
    "inside",
    "volumes",
    "closure",
    "keep",
    "drop",
    "audit",
    "output",
    "environment",
    "isolation",
];
const LAST: [&str; 2] = ["limits", "hooks"];

/// The text of `tsubo.toml`; what is not the same comes first.
pub(super) fn definition(definition: &Definition, notes: &[Note], origin: &Origin) -> Result<String> {
    let bad = |cause: toml::ser::Error| Error::internal("writing TOML").because(cause);
    let mut table = toml::Table::try_from(definition).map_err(bad)?;
    if let Some(hooks) = table.get_mut("hooks").and_then(toml::Value::as_table_mut) {
        hooks.remove("allow");
    }
    if let Some(limits) = table.get_mut("limits").and_then(toml::Value::as_table_mut) {
        plain_numbers(limits);
    }
    let mut out = format!("# From {} by tsubo import-haco. tsubo build makes it.\n", printable(&origin.name));
    let mut notes: Vec<&Note> = notes.iter().collect();
    notes.sort();
    if !notes.is_empty() {
        out.push_str("#\n# What is not the same here:\n");
    }
    for note in notes {
        let place = note.line.map_or_else(String::new, |line| format!("line {line}: "));
        out.push_str(&format!("# - {place}{}\n", printable(&note.text)));
    }
    out.push('\n');
    for key in ORDER.into_iter().chain(LAST) {
        let Some(value) = table.remove(key).and_then(without_empty) else { continue };
        let part = toml::Table::from_iter([(key.to_owned(), value)]);
        let text = toml::to_string_pretty(&part).map_err(bad)?;
        if text.starts_with('[') {
            out.push('\n');
        }
        out.push_str(&text);
    }
    Ok(out)
}

/// As people write them: `cpus = 0.5`.
fn plain_numbers(limits: &mut toml::Table) {
    for key in ["cpus", "cpu_burst", "pids"] {
        let Some(place) = limits.get_mut(key) else { continue };
        let text = place.as_str().unwrap_or_default();
        let whole = text.parse().map(toml::Value::Integer).ok();
        let number = whole.or_else(|| text.parse().map(toml::Value::Float).ok());
        *place = number.unwrap_or_else(|| place.clone());
    }
}

/// Nothing for what says nothing.
fn without_empty(value: toml::Value) -> Option<toml::Value> {
    match value {
        toml::Value::Array(list) => {
            let list: Vec<_> = list.into_iter().filter_map(without_empty).collect();
            (!list.is_empty()).then_some(toml::Value::Array(list))
        }
        toml::Value::Table(table) => {
            let table: toml::Table =
                table.into_iter().filter_map(|(key, value)| Some((key, without_empty(value)?))).collect();
            (!table.is_empty()).then_some(toml::Value::Table(table))
        }
        other => Some(other),
    }
}

/// The text of `hooks.luau`: a function for each hook, with what it was.
pub(super) fn hooks(hooks: &[HookSkeleton], definition: &Definition, origin: &Origin) -> String {
    let file = printable(&origin.name);
    let mut out = format!(
        "-- The hooks of {}, from {file} by tsubo import-haco: still to be written in Luau.\n\
         -- ctx is the container (tsubo script types has all of it); what a hook reaches beyond it is said in [hooks.allow].\n\
         local hooks = {{}}\n",
        definition.name
    );
    for hook in hooks {
        let place = hook.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        out.push_str(&format!("\n-- {place}: {}; now {}\n", printable(&hook.was), hook.when));
        if !hook.differs.is_empty() {
            out.push_str(&format!("-- ({})\n", hook.differs));
        }
        for line in hook.source.iter().flat_map(|source| source.lines()) {
            // The space keeps `[[` from beginning a long comment.
            out.push_str(&format!("--   {}\n", printable_line(line)));
        }
        out.push_str(&format!(
            "function hooks.{}(ctx)\n    log.warn(\"{} is not written yet\")\nend\n",
            hook.function, hook.function
        ));
    }
    out.push_str("\nreturn hooks\n");
    out
}

/// On one line of a comment, and not too long.
fn printable(text: &str) -> String {
    let clean = printable_line(text);
    if clean.chars().count() <= 400 { clean } else { clean.chars().take(399).chain(['…']).collect() }
}

fn printable_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay_comments() {
        let long = "x".repeat(1000) + "\nname = \"evil\"";
        assert!(!printable(&long).contains('\n') && printable(&long).chars().count() == 400);
        assert_eq!(printable("a\r\n\u{0}b\u{1b}[0m"), "a   b [0m");
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let table: toml::Table = "a = []\nb = 1\n[c]\nd = []\n[e]\nf = false\n".parse().expect("toml");
        let left = without_empty(toml::Value::Table(table)).expect("something").to_string();
        assert!(!left.contains('a') || left.contains("false"), "{left}");
        assert!(left.contains("b = 1") && !left.contains('d'), "{left}");
    }
}
