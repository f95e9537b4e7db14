//! Scripts of hooks of a `tsubo.toml`: checked when the package is built, and taken along.

use std::collections::BTreeMap;
use std::path::Path;

use script::mlua::Value;
use serde_json::json;
use spec::{Error, Result};

use crate::{eval, reach, scripted};

/// Runs the mode. `files` are `FILE` or `FILE#FUNCTION`.
pub(crate) fn run(directory: &Path, files: &[String]) -> Result<()> {
    let mut all = BTreeMap::new();
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        let (file, function) =
            file.split_once('#').map_or((file.as_str(), None), |(file, name)| (file, Some(name)));
        wanted.entry(file).or_default().extend(function);
    }
    for (file, functions) in wanted {
        all.append(&mut check(directory, file, &functions)?);
    }
    crate::cli::line(&json!({ "files": all }).to_string())
}

/// Loads one as a firing would, with nothing to reach, and looks for its functions.
fn check(directory: &Path, file: &str, functions: &[&str]) -> Result<BTreeMap<String, String>> {
    if !script::modules::is_name(file) {
        return Err(Error::user(format!("{file:?} is no script of the definition's folder"))
            .hint("as in script = \"hooks.luau\": beside the definition, or below it"));
    }
    let text = eval::read_below(directory, file)?;
    let (vm, loaded) = eval::machine(directory, |_| ())?;
    reach::give_played(&vm, Path::new("/var/lib/tsubo"));
    vm.seal()?;
    let main = vm.compile(file, &text)?;
    let Some(Value::Table(table)) = vm.call(main, ())?.pop_front() else {
        return Err(Error::user(format!("{file}: it returns no table of functions"))
            .hint("end it with return { name = function(ctx) … end }"));
    };
    for name in functions {
        scripted::named(&vm, &table, file, name)?;
    }
    loaded.add(file, &text);
    Ok(loaded.files())
}
