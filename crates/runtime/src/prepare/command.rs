//! The command: its arguments, its environment, and the files where it may be.

use std::ffi::CString;

use spec::{Error, Result};
use sys::process::Strings;

use super::{Op, c_string};

/// Where a command is looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn execute(argv: &[String], env: &[String]) -> Result<Op> {
    let command = argv.first().filter(|command| !command.is_empty());
    let command = command.ok_or_else(|| Error::user("no command to execute in the container"))?;
    Ok(Op::Execute {
        candidates: candidates(command, env)?,
        argv: Strings::new(c_strings(argv)?),
        env: Strings::new(c_strings(env)?),
    })
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text.as_bytes())).collect()
}

fn candidates(command: &str, env: &[String]) -> Result<Vec<CString>> {
    if command.contains('/') {
        return Ok(vec![c_string(command.as_bytes())?]);
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let directories = path.split(':').map(|directory| if directory.is_empty() { "." } else { directory });
    directories.map(|directory| c_string(format!("{directory}/{command}").as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(command: &str, env: &[&str]) -> Vec<String> {
        let env: Vec<_> = env.iter().map(ToString::to_string).collect();
        let candidates = candidates(command, &env).expect("no NUL");
        candidates.into_iter().map(|path| path.into_string().expect("text")).collect()
    }

    #[test]
    fn a_slash_means_this_file() {
        assert_eq!(found("./run", &["PATH=/bin"]), ["./run"]);
    }

    #[test]
    fn the_containers_own_path_decides() {
        assert_eq!(found("sh", &["A=b", "PATH=/x::/y"]), ["/x/sh", "./sh", "/y/sh"]);
        assert_eq!(found("sh", &[]).len(), 6);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(execute(&[], &[]).is_err());
        assert!(execute(&[String::new()], &[]).is_err());
        assert!(execute(&["a\0b".into()], &[]).is_err());
    }
}
