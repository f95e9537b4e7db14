//! `tsubo-hook policy`: a function of a script that is asked again and again, a question as JSON on each line
//! of input, an answer on each of output. What it keeps between two questions it keeps in its own variables.

use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use script::mlua::{Function, Value};
use script::{Mistake, Vm, definition, say, value};
use serde_json::{Number, Value as Json, json};
use spec::{Error, Result};

use crate::{cli, eval, facts, scripted};

/// What it is called where nobody says another name.
const USUAL: &str = "policy";

/// So long it may think.
const TIME: Duration = Duration::from_millis(500);

/// The state directory whose disk is asked for: what a definition knows of the host, it knows too.
const STATE: &str = "/var/lib/tsubo";

/// Runs the mode until its input ends.
pub(crate) fn run(script: &str) -> Result<()> {
    let (file, name) = script.rsplit_once('#').unwrap_or((script, USUAL));
    let said = std::cell::RefCell::new(say::Said::default());
    let (vm, function) = load(Path::new(file), name, |own| *said.borrow_mut() = own)?;
    // From here on it waits for most of its life; what one answer may take is bounded each time.
    sys::deadline::disarm();
    let said = said.into_inner();
    // It can be asked: whoever listens need not wait for the first question to learn of a mistake.
    cli::line(&json!({ "ready": true, "log": said.take() }).to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|cause| Error::io("reading a question", cause))?;
        let answer = ask(&vm, &function, &line);
        let mut answer =
            answer.unwrap_or_else(|mistake| json!({ "instances": null, "error": mistake.text() }));
        let lines = said.take();
        if !lines.is_empty() {
            answer["log"] = json!(lines);
        }
        cli::line(&answer.to_string())?;
    }
    Ok(())
}

/// The function, with all that a definition sees: it computes, and reaches nothing.
fn load(file: &Path, name: &str, said: impl Fn(say::Said)) -> Result<(Vm, Function)> {
    let (shown, text) = (eval::name_of(file)?, eval::read(file)?);
    let (vm, _) = eval::machine(file.parent().unwrap_or(Path::new(".")), said)?;
    definition::give_facts(&vm, &facts::all(Path::new(STATE), &[]))?;
    vm.seal()?;
    let main = vm.compile(&shown, &text)?;
    let function = match vm.call(main, ())?.pop_front() {
        Some(Value::Function(function)) if name == USUAL => function,
        Some(Value::Table(table)) => scripted::named(&vm, &table, &shown, name)?,
        _ => {
            return Err(Error::user(format!("{shown}: it returns no policy"))
                .hint(format!("end it with return {{ {name} = function(seen) return seen.wanted end }}")));
        }
    };
    Ok((vm, function))
}

/// One answer: a number is one of instances.
fn ask(vm: &Vm, function: &Function, line: &str) -> std::result::Result<Json, Mistake> {
    vm.renew(TIME);
    let question: Json =
        serde_json::from_str(line).map_err(|error| Mistake::Error(format!("the question: {error}")))?;
    let question = value::from_json(vm.lua(), &question).map_err(|error| vm.mistake(&error))?;
    let answer = vm.call(function.clone(), question)?.pop_front().unwrap_or(Value::Nil);
    let answer = value::to_json(&answer, "its answer", true).map_err(|error| vm.mistake(&error))?;
    match answer {
        Json::Number(number) => Ok(json!({ "instances": whole(&number) })),
        // Its rule has nothing to say just now.
        Json::Null => Ok(json!({ "instances": null })),
        Json::Object(mut table) => {
            if let Some(Json::Number(number)) = table.get("instances") {
                let number = whole(number);
                table.insert("instances".to_owned(), number);
            }
            Ok(Json::Object(table))
        }
        other => Err(Mistake::Error(format!("its answer is {other}: a number, or {{ instances = … }}"))),
    }
}

/// Two and a half instances are three.
fn whole(number: &Number) -> Json {
    number.as_f64().map_or(Json::Null, |number| json!(number.ceil().clamp(0.0, f64::from(u32::MAX)) as u32))
}
