//! Reading a definition: `tsubo.toml`, or `tsubo.luau`, which computes the same table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use spec::definition::Definition;
use spec::hooks::{Act, Hooks};
use spec::{Error, ErrorKind, Result, ResultExt};

/// A definition with what hangs on it.
#[derive(Debug)]
pub struct Defined {
    /// The table.
    pub definition: Definition,
    /// Its hooks, with the texts of their scripts.
    pub hooks: Hooks,
    /// Where its relative paths begin.
    pub folder: PathBuf,
}

/// What `tsubo-hook eval` prints.
#[derive(Debug, Deserialize)]
struct Computed {
    table: Value,
    files: BTreeMap<String, String>,
    facts: String,
}

/// What `tsubo-hook bundle` prints.
#[derive(Debug, Deserialize)]
struct Bundle {
    files: BTreeMap<String, String>,
}

/// Reads the definition at `place`, a file or the folder that it is in; `set` are values for one that
/// computes (`key=value`).
///
/// # Errors
/// Whatever is wrong with it, with file and line; scripts of hooks that do not compile.
pub fn load(place: &Path, set: &[String]) -> Result<Defined> {
    let file = find(place)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let text = std::fs::read_to_string(&file).map_err(|cause| {
        Error::io(format!("reading {}", file.display()), cause)
            .hint("tsubo build --help shows what a definition looks like")
    })?;
    let shown = file.display().to_string();
    let is_computed = file.extension().is_some_and(|extension| extension == "luau");
    let (definition, hooks) = if is_computed {
        computed(&file, &text, &shown, &name, set)?
    } else {
        must_compute(set)?;
        let definition = Definition::parse(&text, &shown)?;
        let mut hooks = definition.hooks.hooks(None, &text).doing(|| format!("reading {shown}"))?;
        bundle(&mut hooks, &folder, &text).doing(|| format!("reading {shown}"))?;
        (definition, hooks)
    };
    hooks.check().doing(|| format!("reading {shown}"))?;
    // Which network its containers have is decided when they are made.
    hooks.list.iter().try_for_each(|hook| lifecycle::hooks::must_come(hook, true))?;
    Ok(Defined { definition, hooks, folder })
}

fn must_compute(set: &[String]) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    Err(Error::user("--set is for definitions that compute")
        .hint("tsubo.luau reads flags.KEY; tsubo.toml does not"))
}

fn find(place: &Path) -> Result<PathBuf> {
    if !place.is_dir() {
        return Ok(place.to_owned());
    }
    let there: Vec<PathBuf> = ["tsubo.toml", "tsubo.luau"]
        .map(|name| place.join(name))
        .into_iter()
        .filter(|file| file.exists())
        .collect();
    match there.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            Err(Error::not_found(format!("there is no tsubo.toml and no tsubo.luau in {}", place.display()))
                .hint("tsubo build --help shows what a definition looks like"))
        }
        _ => Err(Error::user(format!("{} has a tsubo.toml and a tsubo.luau", place.display()))
            .hint("name the one that you mean, as in: tsubo build ./tsubo.luau")),
    }
}

fn computed(file: &Path, text: &str, shown: &str, name: &str, set: &[String]) -> Result<(Definition, Hooks)> {
    let mut words = vec!["eval".to_owned(), file.to_string_lossy().into_owned()];
    words.extend(set.iter().flat_map(|pair| ["--set".to_owned(), pair.clone()]));
    let computed: Computed = asked(&words)?;
    let definition = Definition::computed(&computed.table.to_string(), shown, text)?;
    let mut hooks = definition.hooks.hooks(Some(name), text).doing(|| format!("reading {shown}"))?;
    (hooks.files, hooks.facts) = (computed.files, computed.facts);
    if hooks.is_empty() {
        // Nobody would read them.
        hooks.files.clear();
        hooks.facts.clear();
    }
    Ok((definition, hooks))
}

/// The texts of the scripts that hooks name; each is compiled, and has the functions.
fn bundle(hooks: &mut Hooks, folder: &Path, text: &str) -> Result<()> {
    let script = |act: &Act| match act {
        Act::Script { file, function, .. } => Some(format!("{file}#{function}")),
        Act::Program(_) => None,
    };
    let scripts: Vec<String> = hooks.list.iter().filter_map(|hook| script(&hook.act)).collect();
    if scripts.is_empty() {
        return Ok(());
    }
    let words = ["bundle".to_owned(), folder.to_string_lossy().into_owned()];
    let all: Result<Bundle> = asked(&[&words[..], &scripts].concat());
    let bundle = all.map_err(|error| {
        // Which of them it is about is known when each is looked at by itself.
        for (number, hook) in hooks.list.iter().enumerate() {
            let own = script(&hook.act).map(|own| asked::<Bundle>(&[&words[..], &[own]].concat()));
            if let Some(Err(error)) = own {
                return error.context(format!("{}hook {:?}", spec::hooks::line(text, number), hook.name));
            }
        }
        error
    })?;
    hooks.files = bundle.files;
    Ok(())
}

/// What `tsubo-hook` answers; its errors are its own words.
fn asked<T: DeserializeOwned>(words: &[String]) -> Result<T> {
    let program = lifecycle::hooks::program()?;
    let doing = || format!("executing {}", program.display());
    let output = Command::new(&program).args(words).stdin(Stdio::null()).output().doing(doing)?;
    if !output.status.success() {
        return Err(said(&String::from_utf8_lossy(&output.stderr)));
    }
    let bad = |cause| Error::internal(format!("{} answers no JSON", program.display())).because(cause);
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(bad)?;
    // One that nothing but an alarm could end.
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(Error::user(error.to_owned()));
    }
    serde_json::from_value(answer).map_err(bad)
}

/// `error: …` and `hint: …`, as our programs say it.
fn said(text: &str) -> Error {
    let (mut message, mut hints) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("hint: ") {
            Some(hint) => hints.push(hint.to_owned()),
            None => message.push(line.strip_prefix("error: ").unwrap_or(line).to_owned()),
        }
    }
    hints.into_iter().fold(Error::new(ErrorKind::User, message.join("; ")), Error::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_become_ours() {
        let error = said("error: tsubo.luau:3: no such thing\n  hint: did you mean \"memory\"?\n");
        assert_eq!(
            (error.to_string().as_str(), error.hints()),
            ("tsubo.luau:3: no such thing", &["did you mean \"memory\"?".to_owned()][..])
        );
    }

    #[test]
    fn one_definition_a_folder() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(find(dir.path()).expect_err("none").to_string().contains("no tsubo.toml"));
        std::fs::write(dir.path().join("tsubo.luau"), "").expect("written");
        assert!(find(dir.path()).expect("one").ends_with("tsubo.luau"));
        std::fs::write(dir.path().join("tsubo.toml"), "").expect("written");
        assert!(!find(dir.path()).expect_err("two").hints().is_empty());
    }
}
