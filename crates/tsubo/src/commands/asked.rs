//! What was said to `tsubo run`, for containers that a hook makes like the one that it belongs to.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};
use lifecycle::Asked;
use spec::hooks::Hooks;
use spec::{Error, Result, ResultExt};

use super::run::Args;

/// What is said anew of each, or is nothing to one that runs in the background.
const OTHERS: [&str; 10] =
    ["root", "name", "detach", "interactive", "tty", "detach_keys", "sig_proxy", "explain", "image", "args"];

/// What was said; None where no hook may make others like it: to look at it again takes longer than a start should.
///
/// # Errors
/// Options that are no text; no current folder.
pub fn of(args: &Args, hooks: &Hooks) -> Result<Option<Asked>> {
    if !(args.isolation.as_packaged && hooks.allow.containers && !hooks.is_empty()) {
        return Ok(None);
    }
    let folder = std::env::current_dir().doing(|| "asking for the current folder")?;
    let options = options(args, std::env::args_os())?;
    Ok(Some(Asked { options, args: args.args.clone(), folder }))
}

fn options(args: &Args, words: impl IntoIterator<Item = OsString>) -> Result<Vec<String>> {
    let mut program = crate::cli::Cli::command();
    let mut matches = program
        .try_get_matches_from_mut(words)
        .map_err(|cause| Error::internal("the command line is understood only once").because(cause))?;
    let Some((verb, own)) = matches.remove_subcommand() else { return Ok(Vec::new()) };
    let verb = program.find_subcommand(&verb);
    let mut options = Vec::new();
    for arg in verb.into_iter().flat_map(clap::Command::get_arguments) {
        add(&mut options, arg, &own, args)?;
    }
    Ok(options)
}

fn add(options: &mut Vec<String>, arg: &Arg, matches: &ArgMatches, args: &Args) -> Result<()> {
    let id = arg.get_id().as_str();
    let is_said = matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(long) = arg.get_long().filter(|_| is_said && !OTHERS.contains(&id)) else { return Ok(()) };
    if id == "env" {
        // A name alone has the value that it has now.
        options.extend(args.env.iter().map(|(name, value)| format!("--{long}={name}={value}")));
        return Ok(());
    }
    if !arg.get_action().takes_values() {
        options.push(format!("--{long}"));
        return Ok(());
    }
    let text = |value: &OsStr| {
        let text = value.to_str().map(|value| format!("--{long}={value}"));
        text.ok_or_else(|| Error::user(format!("--{long}: {} is no text", value.to_string_lossy())))
    };
    for value in matches.get_raw(id).into_iter().flatten() {
        options.push(text(value)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str], env: &[(&str, &str)]) -> Vec<String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let args = Args { env, ..Args::default() };
        options(&args, words.iter().map(OsString::from)).expect("options")
    }

    #[test]
    fn what_was_said_is_said_again_but_for_what_is_each_ones_own() {
        let words = [
            "tsubo",
            "--root",
            "/r",
            "run",
            "-dit",
            "--name",
            "one",
            "-eA=b c",
            "-e",
            "HOME",
            "-v",
            "/a:/b:ro",
            "-v/c:/d",
            "--rm",
            "-u0",
            "--limit",
            "cpus=0.5",
            "--limit=pids=9",
            "--as-packaged",
            "web",
            "x",
            "--rm",
        ];
        let mut all = said(&words, &[("A", "b c"), ("HOME", "/root")]);
        all.sort();
        assert_eq!(
            all,
            [
                "--as-packaged",
                "--env=A=b c",
                "--env=HOME=/root",
                "--limit=cpus=0.5",
                "--limit=pids=9",
                "--rm",
                "--user=0",
                "--volume=/a:/b:ro",
                "--volume=/c:/d",
            ]
        );
        assert_eq!(said(&["tsubo", "run", "-d", "web"], &[]), Vec::<String>::new());
    }
}
