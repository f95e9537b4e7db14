//! Errors: what happened, why, and what to do next.

use std::io::Write;

use anstyle::{AnsiColor, Style};

const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Shows an error on stderr.
pub fn show(error: &spec::Error) {
    report("", error);
}

/// Shows what is wrong with the value of an argument.
pub fn show_usage(argument: &str, error: &spec::Error) {
    report(&format!("{argument}: "), error);
}

fn report(prefix: &str, error: &spec::Error) {
    let mut out = anstream::stderr().lock();
    // Nobody may be there to read it.
    let _ = writeln!(out, "{RED}error:{RED:#} {prefix}{}", printable(&error.chain()));
    for hint in error.hints() {
        let _ = writeln!(out, "{CYAN}  hint:{CYAN:#} {}", printable(hint).replace('\n', "\n        "));
    }
}

/// Shows a text that begins with `error:`; what the user typed is in it.
pub fn show_plain(text: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(anstream::stderr().lock(), "{}", printable(text).trim_end());
}

/// Shows something that does not stop the work but should be known.
pub fn warn(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{YELLOW}warning:{YELLOW:#} {}", printable(text));
}

/// Names and last lines of services come from elsewhere: their control characters must not reach
/// the terminal.
pub fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(super::printable("a\x1b[31mb\n"), "a\\u{1b}[31mb\n");
    }
}
