//! What went wrong in a script, with the file and the line.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Error, Lua, Value};

use crate::value;

/// How deep the stack is searched for a line of a script.
const DEEP: usize = 32;

/// The failure of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// `FILE:LINE: what`.
    Error(String),
    /// It took longer than it may: where it was, as far as that is known.
    Overdue(Option<String>),
}

impl Mistake {
    pub(crate) fn of(error: &Error) -> Self {
        Self::Error(text(error))
    }

    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Error(text) => text.clone(),
            Self::Overdue(Some(place)) => format!("{place}: the script took too long"),
            Self::Overdue(None) => "the script took too long".to_owned(),
        }
    }
}

/// The last thing that a script has raised that is no text: what is told of it at the end would be an address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raised(Rc<RefCell<Option<(String, String)>>>);

impl Raised {
    /// Remembers it, with the line that is running.
    pub(crate) fn note(&self, lua: &Lua, why: &Value) -> mlua::Result<()> {
        let what = match why {
            Value::Nil => "it fails, and says nothing of why: error(nil)".to_owned(),
            Value::Table(table) if table.metatable().is_none() => match value::to_json(why, "it", true) {
                Ok(json) => format!("it fails with a table: {}", first_part(&json.to_string())),
                Err(_) => "it fails with a table, which is no plain data".to_owned(),
            },
            other => first_part(&other.to_string()?),
        };
        let told = here(lua).map_or(what.clone(), |place| format!("{place}: {what}"));
        *self.0.borrow_mut() = Some((first_part(&why.to_string()?), told));
        Ok(())
    }

    /// What is to be told instead.
    pub(crate) fn told(&self, text: String) -> String {
        match &*self.0.borrow() {
            Some((raw, told)) if *raw == text => told.clone(),
            _ => text,
        }
    }
}

impl From<Mistake> for spec::Error {
    fn from(mistake: Mistake) -> Self {
        let text = mistake.text();
        match text.split_once("\nhint: ") {
            Some((what, hint)) => Self::user(what).hint(hint),
            None => Self::user(text),
        }
    }
}

/// `FILE:LINE` of the script that is running, if one is.
pub fn here(lua: &Lua) -> Option<String> {
    for level in 0..DEEP {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source().short_src.map(|name| name.into_owned());
            source.zip(frame.current_line())
        })?;
        if let Some((file, line)) = place.filter(|(file, _)| is_a_file(file)) {
            return Some(format!("{file}:{line}"));
        }
    }
    None
}

/// Not of C, and not ours.
fn is_a_file(name: &str) -> bool {
    name != "[C]" && !name.starts_with("tsubo:")
}

/// An error of ours, at the line that called us. What follows `hint: ` on a line of its own is the way out.
pub fn refused(lua: &Lua, what: impl std::fmt::Display) -> Error {
    match here(lua) {
        Some(place) => Error::runtime(format!("{place}: {what}")),
        None => Error::runtime(what.to_string()),
    }
}

/// The message, without the stack, and with a line if any is known.
fn text(error: &Error) -> String {
    match error {
        Error::SyntaxError { message, .. } => first_part(message),
        Error::MemoryError(_) => "the script takes more memory than it may".to_owned(),
        Error::CallbackError { traceback, cause } => {
            let inner = text(cause);
            match traceback.lines().find_map(line_of) {
                Some(place) if !has_place(&inner) => format!("{place}: {inner}"),
                _ => inner,
            }
        }
        Error::WithContext { context, cause } => format!("{context}: {}", text(cause)),
        Error::RuntimeError(message) => first_part(message),
        other => first_part(&other.to_string()),
    }
}

/// What comes before the stack.
fn first_part(message: &str) -> String {
    let message = message.split("\nstack traceback:").next().unwrap_or(message);
    let mut short: String =
        message.trim().strip_prefix("runtime error: ").unwrap_or(message.trim()).to_owned();
    if short.len() > 4096 {
        short = short.chars().take(1024).collect();
        short.push('…');
    }
    short
}

/// Of a line of a stack: `FILE:LINE`.
fn line_of(line: &str) -> Option<String> {
    let line = line.trim();
    let (file, rest) = line.split_once(':')?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (is_a_file(file) && !file.contains(' ') && !number.is_empty()).then(|| format!("{file}:{number}"))
}

/// Whether it begins with `FILE:LINE:`.
fn has_place(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (_, line) = (parts.next(), parts.next());
    line.is_some_and(|line| !line.is_empty() && line.chars().all(|c| c.is_ascii_digit()))
        && parts.next().is_some()
}
