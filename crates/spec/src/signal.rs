//! Signals by their names, as people and engines write them.

use crate::{Error, Result};

/// By the numbers of x86 and most others (signal(7)).
const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
];

/// The last there is.
const LAST: i32 = 64;

/// `9`, `KILL`, `SIGKILL`, `SIGRTMIN+3`, `SIGRTMAX-1`.
///
/// # Errors
/// What is none.
pub fn parse(text: &str) -> Result<i32> {
    let unknown =
        || Error::user(format!("unknown signal {text:?}")).hint("for example TERM, SIGKILL, RTMIN+3 or 9");
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=LAST).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let word = text.to_ascii_uppercase();
    let word = word.strip_prefix("SIG").unwrap_or(&word);
    if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == word) {
        return Ok(*number);
    }
    let offset = |rest: &str| rest.parse::<i32>().ok().filter(|offset| (0..=LAST - 34).contains(offset));
    let real = match (word.strip_prefix("RTMIN+"), word.strip_prefix("RTMAX-")) {
        (Some(rest), _) => offset(rest).map(|offset| 34 + offset),
        (_, Some(rest)) => offset(rest).map(|offset| LAST - offset),
        _ if word == "RTMAX" => Some(LAST),
        _ => None,
    };
    real.ok_or_else(unknown)
}

/// The short name of a signal, as people write it.
pub fn name(number: i32) -> String {
    let found = NAMES.iter().find(|(_, known)| *known == number);
    match (found, number) {
        (Some((name, _)), _) => (*name).to_owned(),
        (None, 35..=LAST) => format!("RTMIN+{}", number - 34),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("0", 0),
            ("64", 64),
            ("SIGRTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("RTMAX", 64),
            ("WINCH", 28),
        ] {
            assert_eq!(parse(text).expect(text), number);
        }
        for text in ["", "65", "-1", "SIG", "NOTHING", "SIGRTMIN+99", "9x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
