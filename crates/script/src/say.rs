//! What scripts say: `log(…)`, `log.warn(…)`, `print(…)`; kept, with bounds, for whoever asked.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, Result, Table, Value, Variadic};

use crate::Vm;

/// So much is kept of what one script says.
const BYTES: usize = 64 << 10;

/// The longest line.
const LINE: usize = 4 << 10;

/// The lines of one script.
#[derive(Debug, Clone, Default)]
pub struct Said(Rc<RefCell<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    bytes: usize,
}

impl Said {
    /// Adds what was said; what is beyond the bounds is left out, and that is said once.
    pub fn add(&self, text: &str) {
        let mut own = self.0.borrow_mut();
        if own.bytes > BYTES {
            return;
        }
        for line in text.lines() {
            let clean = |c: char| if c.is_control() && c != '\t' { '?' } else { c };
            let line: String = line.chars().map(clean).take(LINE).collect();
            own.bytes += line.len() + 1;
            if own.bytes > BYTES {
                own.lines.push("… it says more than is kept".to_owned());
                return;
            }
            own.lines.push(line);
        }
    }

    /// All of it; what comes then has its own bounds.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.borrow_mut()).lines
    }
}

/// Gives `log` and `print`.
pub fn give(vm: &Vm, said: &Said) {
    let own = said.clone();
    vm.give_lazily("log", move |lua| log(lua, &own));
    let own = said.clone();
    vm.give_lazily("print", move |lua| lua.create_function(saying(&own, "")));
}

fn log(lua: &Lua, said: &Said) -> Result<Table> {
    let log = lua.create_table()?;
    for (name, before) in [("info", ""), ("warn", "warning: "), ("error", "error: ")] {
        log.raw_set(name, lua.create_function(saying(said, before))?)?;
    }
    let own = said.clone();
    let called = move |_: &Lua, (_, values): (Table, Variadic<Value>)| {
        own.add(&words(&values)?);
        Ok(())
    };
    let meta = lua.create_table()?;
    meta.raw_set("__call", lua.create_function(called)?)?;
    log.set_metatable(Some(meta))?;
    Ok(log)
}

/// Adds what it is called with.
fn saying(said: &Said, before: &'static str) -> impl Fn(&Lua, Variadic<Value>) -> Result<()> + use<> {
    let said = said.clone();
    move |_: &Lua, values: Variadic<Value>| {
        said.add(&format!("{before}{}", words(&values)?));
        Ok(())
    }
}

fn words(values: &[Value]) -> Result<String> {
    let mut all = String::new();
    for value in values {
        if !all.is_empty() {
            all.push(' ');
        }
        // A table is shown as the data that it is, where it is plain.
        match (value, crate::value::to_json(value, "it", true)) {
            (Value::Table(_), Ok(json)) => all.push_str(&json.to_string()),
            (Value::Error(error), _) => all.push_str(&crate::Mistake::of(error).text()),
            _ => all.push_str(&value.to_string()?),
        }
        if all.len() > LINE {
            break;
        }
    }
    Ok(all)
}
