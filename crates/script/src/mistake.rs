//! What went wrong in a script, with the file and the line.

use mlua::{Error, Lua};

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
