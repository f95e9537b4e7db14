//! A command line by a table of its options: one table for what is understood and for the help.
//!
//! As engines write it: options before or after the id, `--name value` and `--name=value`, with one
//! dash or two, switches also as `--name=false`. A parser that describes itself as it goes would take
//! longer than everything else that a start does.

use spec::{Error, Result};

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its name.
    pub(crate) long: &'static str,
    /// A letter for it.
    pub(crate) short: Option<char>,
    /// What its value is; None for a switch.
    pub(crate) value: Option<&'static str>,
    /// What it does.
    pub(crate) help: &'static str,
}

/// A switch.
pub(crate) const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help }
}

/// An option with a value.
pub(crate) const fn value(
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short, value: Some(value), help }
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Line {
    given: Vec<(&'static str, String)>,
    /// Everything that is no option.
    pub(crate) words: Vec<String>,
}

/// How far options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere.
    All,
    /// Up to the first word: the rest is another command line.
    FirstWord,
    /// Up to the second word, which begins a command.
    SecondWord,
}

impl Line {
    /// Reads words by these options.
    ///
    /// # Errors
    /// Options that there are not, and values that are missing.
    pub(crate) fn parse(flags: &[Flag], args: &[String], reach: Reach) -> Result<Self> {
        let mut line = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                line.words.extend(rest.cloned());
                break;
            }
            if arg.len() > 1 && arg.starts_with('-') {
                line.option(flags, arg, &mut rest)?;
                continue;
            }
            line.words.push(arg.clone());
            let ends = match reach {
                Reach::All => false,
                Reach::FirstWord => true,
                Reach::SecondWord => line.words.len() == 2,
            };
            if ends {
                line.words.extend(rest.cloned());
                break;
            }
        }
        Ok(line)
    }

    fn option<'a>(
        &mut self,
        flags: &[Flag],
        arg: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let (name, joined) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg, None),
        };
        let Some(flag) = find(flags, name) else { return self.cluster(flags, arg, rest) };
        let text = match (flag.value, joined) {
            (None, None) => "true".to_owned(),
            (None, Some(word)) => truth(arg, word)?.to_string(),
            (Some(_), Some(text)) => text.to_owned(),
            (Some(_), None) => rest.next().ok_or_else(|| missing(flag))?.clone(),
        };
        self.given.push((flag.long, text));
        Ok(())
    }

    /// `-dt` for `-d -t`; the last may have a value.
    fn cluster<'a>(
        &mut self,
        flags: &[Flag],
        arg: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let unknown =
            || Error::user(format!("there is no option {arg}")).hint("--help lists those there are");
        let letters = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-') && !rest.contains('='));
        let letters: Vec<char> = letters.ok_or_else(unknown)?.chars().collect();
        for (index, letter) in letters.iter().enumerate() {
            let flag = flags.iter().find(|flag| flag.short == Some(*letter)).ok_or_else(unknown)?;
            let text = match flag.value {
                None => "true".to_owned(),
                Some(_) if index + 1 == letters.len() => rest.next().ok_or_else(|| missing(flag))?.clone(),
                Some(_) => return Err(unknown()),
            };
            self.given.push((flag.long, text));
        }
        Ok(())
    }

    /// Whether a switch is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The value that was given last.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Every value.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given.iter().filter(move |(given, _)| *given == name).map(|(_, text)| text.as_str())
    }

    /// A number.
    ///
    /// # Errors
    /// What is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let number = |text: &str| {
            text.parse().map_err(|_| Error::user(format!("--{name}: {text:?} is no number for it")))
        };
        self.text(name).map(number).transpose()
    }

    /// The container's id, and nothing else.
    ///
    /// # Errors
    /// None, or more.
    pub(crate) fn only_id(&self) -> Result<&str> {
        match self.words.as_slice() {
            [id] => Ok(id),
            [] => Err(Error::user("the id of a container is missing")),
            [_, more, ..] => Err(Error::user(format!("{more:?} is one word too many"))),
        }
    }

    /// Nothing but options.
    ///
    /// # Errors
    /// Words.
    pub(crate) fn no_words(&self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Error::user(format!("{word:?} is one word too many"))),
        }
    }
}

fn find<'a>(flags: &'a [Flag], name: &str) -> Option<&'a Flag> {
    let long = name.strip_prefix("--").or_else(|| name.strip_prefix('-'))?;
    let is_letter = |flag: &Flag| {
        let mut letters = long.chars();
        !name.starts_with("--") && letters.next() == flag.short && letters.next().is_none()
    };
    flags.iter().find(|flag| flag.long == long || is_letter(flag))
}

fn truth(arg: &str, word: &str) -> Result<bool> {
    match word {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::user(format!("{arg}: this is true or false"))),
    }
}

fn missing(flag: &Flag) -> Error {
    Error::user(format!("--{} needs a value: {}", flag.long, flag.value.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        switch("detach", Some('d'), ""),
        switch("tty", Some('t'), ""),
        value("bundle", Some('b'), "DIR", ""),
        value("env", Some('e'), "NAME=VALUE", ""),
    ];

    fn parse(reach: Reach, args: &[&str]) -> Result<Line> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Line::parse(&FLAGS, &args, reach)
    }

    #[test]
    fn options_stand_before_and_after_the_id() {
        for args in [
            &["--bundle", "/b", "-d", "web"][..],
            &["web", "--bundle=/b", "--detach"],
            &["-b", "/b", "web", "-d=true"],
            &["-bundle", "/b", "--detach=1", "--", "web"],
            &["-db", "/b", "web"],
        ] {
            let line = parse(Reach::All, args).expect("a line");
            assert!(line.on("detach") && !line.on("tty"), "{args:?}");
            assert_eq!((line.text("bundle"), line.only_id().expect("one")), (Some("/b"), "web"));
        }
        assert!(!parse(Reach::All, &["--detach=false"]).expect("a line").on("detach"));
    }

    #[test]
    fn a_commands_own_options_are_left_to_it() {
        let line = parse(Reach::SecondWord, &["-e", "A=b=c", "-e", "D", "web", "-t", "ls", "-d", "--", "-b"]);
        let line = line.expect("a line");
        assert_eq!(line.words, ["web", "ls", "-d", "--", "-b"]);
        assert_eq!(line.all("env").collect::<Vec<_>>(), ["A=b=c", "D"]);
        assert!(line.on("tty") && !line.on("detach"));
        let line = parse(Reach::FirstWord, &["-d", "create", "-t"]).expect("a line");
        assert_eq!(line.words, ["create", "-t"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for args in [&["--nothing"][..], &["-x"], &["--bundle"], &["-bd"], &["--tty=perhaps"], &["-dx"]] {
            assert!(parse(Reach::All, args).is_err(), "{args:?}");
        }
        assert!(parse(Reach::All, &["a", "b"]).expect("a line").only_id().is_err());
    }
}
