//! `tsubo-oci ps`: the processes of a container.

use std::process::Command;

use spec::{Error, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::Container;
use crate::line::{Line, Reach, value};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "ps",
    words: "ID [OPTIONS OF ps(1)...]",
    about: "List the processes of a container, by their numbers on the host",
    flags: &[value("format", Some('f'), "FORM", "table or json")],
    reach: Reach::FirstWord,
    example: "  tsubo-oci ps web\n  tsubo-oci ps --format json web\n  tsubo-oci ps web -o pid,args",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let (id, options) =
        line.words.split_first().ok_or_else(|| Error::user("the id of a container is missing"))?;
    // Before the id, and after it.
    let after = Line::parse(VERB.flags, options, Reach::All).ok().filter(|after| after.words.is_empty());
    let form = after.as_ref().and_then(|after| after.text("format")).or(line.text("format"));
    let container = Container::open(&context.home, id)?;
    let mut pids = container.record.groups.processes();
    if container.record.groups.is_empty() {
        pids.extend(container.init().and(container.record.init).map(|init| init.pid));
    }
    match form.unwrap_or("table") {
        "json" => {
            let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
            say!("[{}]", list.join(","));
        }
        "table" => {
            let options = if after.is_some() { &[][..] } else { options };
            table(&pids, options)?;
        }
        other => return Err(Error::user(format!("--format {other}: there are table and json"))),
    }
    Ok(0)
}

/// Those lines of ps(1) that are about these processes.
fn table(pids: &[i32], options: &[String]) -> Result<()> {
    let usual = ["-ef".to_owned()];
    let options = if options.is_empty() { &usual[..] } else { options };
    let output = Command::new("ps").args(options).output().doing(|| "calling ps(1)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::user(format!("ps(1) says: {}", said.trim_end())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let heads = lines.next().unwrap_or_default();
    let column = heads.split_whitespace().position(|head| head == "PID");
    let column = column.ok_or_else(|| {
        Error::user("ps(1) does not print the column PID").hint("for example: tsubo-oci ps web -o pid,args")
    })?;
    say!("{heads}");
    let is_ours = |line: &&str| {
        line.split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
    };
    lines.filter(is_ours).for_each(|line| say!("{line}"));
    Ok(())
}
