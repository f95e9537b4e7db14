//! Hooks that are programs: the state on their input, as hooks of OCI have it.

use std::time::Instant;

use serde_json::{Value, json};
use spec::hooks::{Firing, OnError, Outcome, Verdict, When};

use crate::processes::{self, Run};

/// So much of what it says is kept.
const KEPT: usize = 16 << 10;

/// Runs it.
pub(crate) fn fire(firing: &Firing, argv: &[String], deadline: Instant) -> Outcome {
    let input = state(firing).to_string();
    let mut env = processes::plain_environment();
    let told = [("TSUBO_HOOK_NAME", &firing.hook.name), ("TSUBO_CONTAINER", &firing.container.name)];
    env.extend(told.map(|(key, value)| (key.to_owned(), value.clone())));
    let allowed = firing.allow.env.iter();
    env.extend(allowed.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));
    if firing.dry {
        let change = spec::hooks::Change { what: "run".to_owned(), to: json!(argv) };
        return Outcome { changes: vec![change], ..Outcome::default() };
    }
    let run = Run { argv, env, input: input.as_bytes(), deadline, kept: KEPT };
    let ended = processes::run(&run);
    processes::end_all();
    match ended {
        Err(error) => Outcome { verdict: Verdict::Failed(error.chain()), ..Outcome::default() },
        Ok(ended) => {
            let last = last_line(&ended.error).or_else(|| last_line(&ended.output));
            let log = lines(&ended.output).chain(lines(&ended.error)).collect();
            Outcome { verdict: verdict(firing, ended.code, last), log, ..Outcome::default() }
        }
    }
}

fn verdict(firing: &Firing, code: Option<i32>, last: Option<String>) -> Verdict {
    let prevents = matches!(firing.hook.when, When::Before(_)) && firing.hook.on_error == OnError::Abort;
    match code {
        Some(0) => Verdict::Done,
        None => Verdict::Overdue(format!("{} took longer than {} ms", program(firing), firing.hook.timeout)),
        Some(code) if prevents => Verdict::Veto(last.unwrap_or_else(|| format!("exit code {code}"))),
        Some(code) => Verdict::Failed(match last {
            Some(last) => format!("exit code {code}: {last}"),
            None => format!("exit code {code}"),
        }),
    }
}

fn program(firing: &Firing) -> &str {
    match &firing.hook.act {
        spec::hooks::Act::Program(argv) => argv.first().map_or("", String::as_str),
        spec::hooks::Act::Script { file, .. } => file,
    }
}

/// As in the runtime specification, and what of this firing that does not say.
fn state(firing: &Firing) -> Value {
    let own = &firing.container;
    let status = if own.status.starts_with("running") { "running" } else { own.status.as_str() };
    json!({
        "ociVersion": "1.2.0",
        "id": own.id,
        "status": status,
        "pid": own.pid.unwrap_or(0),
        "bundle": own.lib.join("containers").join(&own.name),
        "annotations": { "name": own.name, "image": own.image },
        "tsubo": {
            "container": own,
            "hook": { "name": firing.hook.name, "when": firing.hook.when, "timeout": firing.hook.timeout },
            "detail": firing.detail,
            "state": firing.state,
        },
    })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> + use<> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let clean = |line: &str| {
        line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect::<String>()
    };
    text.lines().map(clean).collect::<Vec<_>>().into_iter()
}

fn last_line(bytes: &[u8]) -> Option<String> {
    lines(bytes).filter(|line| !line.trim().is_empty()).last()
}
