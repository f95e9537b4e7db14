//! `tsubo-hook repl`: line after line, in one machine.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use script::mlua::Value;
use script::{Mistake, Vm, value};
use spec::{Error, Result};

use crate::{eval, reach};

/// Runs the mode.
pub(crate) fn run() -> Result<()> {
    let said = std::cell::RefCell::new(None);
    let (vm, _) = eval::machine(Path::new("."), |own| *said.borrow_mut() = Some(own))?;
    let said = said.into_inner().unwrap_or_default();
    // Whoever types takes his time; what a line may take is counted from the end of what came before.
    sys::deadline::disarm();
    reach::give_played(&vm, Path::new("/var/lib/tsubo"));
    vm.seal()?;
    let is_asked = std::io::stdin().is_terminal();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if is_asked {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(b"> ").and_then(|()| out.flush());
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let line = line.map_err(|cause| Error::io("reading a line", cause))?;
        let shown = evaluate(&vm, &line);
        for text in said.take() {
            crate::cli::line(&text)?;
        }
        match shown {
            Ok(text) if text.is_empty() => {}
            Ok(text) => crate::cli::line(&text)?,
            Err(mistake) => crate::cli::line(&format!("error: {}", mistake.text()))?,
        }
    }
}

/// As an expression, if it is one.
fn evaluate(vm: &Vm, line: &str) -> std::result::Result<String, Mistake> {
    vm.renew(std::time::Duration::from_secs(10));
    let function = vm.compile("line", &format!("return {line}")).or_else(|_| vm.compile("line", line))?;
    let values = vm.call(function, ())?;
    let show = |one: &Value| match (one, value::to_json(one, "it", true)) {
        (Value::Table(_), Ok(json)) => json.to_string(),
        _ => one.to_string().unwrap_or_default(),
    };
    Ok(values.iter().map(show).collect::<Vec<_>>().join("\t"))
}
