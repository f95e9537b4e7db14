//! The command line of a start that says nothing out of the ordinary: to describe every flag to the
//! parser takes longer than anything else that a start does.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::commands::run::Args;

/// Understands `tsubo [--root DIR] run [--rm] [-d] [-i] [-t] [--name NAME] IMAGE [WORDS…]`; None for
/// all that is more, or less, than that.
pub fn parse(args: &[OsString]) -> Option<(Option<PathBuf>, Args)> {
    let words: Option<Vec<&str>> = args.iter().skip(1).map(|arg| arg.to_str()).collect();
    let words = words.filter(|words| !words.contains(&"--"))?;
    match words.as_slice() {
        ["run", rest @ ..] => Some((None, start(rest)?)),
        ["--root", root, "run", rest @ ..] if is_plain(root) => Some((Some(root.into()), start(rest)?)),
        _ => None,
    }
}

fn start(mut words: &[&str]) -> Option<Args> {
    let mut args = Args::default();
    loop {
        let seen;
        (seen, words) = match words {
            ["--rm", rest @ ..] => (&mut args.rm, rest),
            ["-d" | "--detach", rest @ ..] => (&mut args.detach, rest),
            ["-i" | "--interactive", rest @ ..] => (&mut args.interactive, rest),
            ["-t" | "--tty", rest @ ..] => (&mut args.tty, rest),
            ["-n" | "--name", name, rest @ ..] if args.name.is_none() && is_plain(name) => {
                args.name = Some(name.parse().ok()?);
                words = rest;
                continue;
            }
            [image, rest @ ..] if is_plain(image) && rest.first().is_none_or(|word| is_plain(word)) => {
                args.image = (*image).to_owned();
                args.args = rest.iter().map(|word| (*word).to_owned()).collect();
                return Some(args);
            }
            _ => return None,
        };
        if std::mem::replace(seen, true) {
            return None;
        }
    }
}

/// Neither empty nor a flag.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('-')
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn whole(args: &[OsString]) -> Option<(Option<PathBuf>, String)> {
        let cli = Cli::try_parse_from(args).ok()?;
        let Some(Verb::Run(run)) = cli.verb else { return None };
        Some((cli.root, format!("{run:?}")))
    }

    #[test]
    fn what_is_understood_means_what_it_means_to_the_whole_parser() {
        let words =
            ["--rm", "-d", "-i", "-t", "-it", "-n", "--name", "a", "b", "--help", "--init", "--", "-", ""];
        let mut understood = 0;
        for first in [&[][..], &["--root", "/r"], &["--root"]] {
            for a in words {
                for b in words {
                    for c in words {
                        for d in words {
                            let line = [&["tsubo"], first, &["run", a, b, c, d]].concat();
                            let line: Vec<OsString> = line.into_iter().map(OsString::from).collect();
                            let Some((root, args)) = parse(&line) else { continue };
                            understood += 1;
                            assert_eq!(Some((root, format!("{args:?}"))), whole(&line), "{line:?}");
                        }
                    }
                }
            }
        }
        assert!(understood > 500, "{understood}");
    }
}
