//! `tsubo-hook test`: the functions `test_…` of scripts, with a container that is only played.

use std::path::{Path, PathBuf};

use script::Mistake;
use script::mlua::{Function, Table, Value};
use spec::{Error, Result};

use crate::{cli, eval, reach};

/// What a test gets instead of a container, in Luau.
const PLAYED: &str = include_str!("../../script/lib/played.luau");

/// Runs the mode: each test in a machine of its own.
pub(crate) fn run(files: &[PathBuf]) -> Result<()> {
    let mut failed = 0;
    for file in files {
        let names = names(file)?;
        if names.is_empty() {
            return Err(Error::user(format!("{} has no test", file.display()))
                .hint("it returns a table with functions called test_…"));
        }
        for name in names {
            match one(file, &name) {
                Ok(()) => cli::line(&format!("ok      {name}"))?,
                Err(error) => {
                    failed += 1;
                    cli::line(&format!("FAILED  {name}: {}", error.chain()))?;
                }
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Error::failed(format!("{failed} tests failed"))) }
}

fn names(file: &Path) -> Result<Vec<String>> {
    let (_vm, table, _) = load(file)?;
    let mut names: Vec<String> = table
        .pairs::<String, Value>()
        .flatten()
        .filter(|(name, value)| name.starts_with("test_") && value.is_function())
        .map(|(name, _)| name)
        .collect();
    names.sort();
    Ok(names)
}

/// A test is called with what makes played containers.
fn one(file: &Path, name: &str) -> Result<()> {
    let (vm, table, play) = load(file)?;
    let test: Function = table.get(name).map_err(|error| Error::from(vm.mistake(&error)))?;
    vm.call(test, play)?;
    Ok(())
}

fn load(file: &Path) -> Result<(script::Vm, Table, Table)> {
    let (name, text) = (eval::name_of(file)?, eval::read(file)?);
    let (vm, _) = eval::machine(file.parent().unwrap_or(Path::new(".")), |_| ())?;
    reach::give_played(&vm, Path::new("/var/lib/tsubo"));
    let wrong = |mistake: Mistake| Error::from(mistake);
    let play = vm.compile("tsubo:played", PLAYED).and_then(|main| vm.call(main, ())).map_err(wrong)?;
    let Some(Value::Table(play)) = play.into_iter().next() else {
        return Err(Error::internal("what plays containers is no table"));
    };
    let open: Table = play.get("globals").map_err(|error| Error::from(vm.mistake(&error)))?;
    for pair in open.pairs::<String, Value>() {
        let (name, value) = pair.map_err(|error| Error::from(vm.mistake(&error)))?;
        vm.give(&name, value)?;
    }
    vm.seal()?;
    let main = vm.compile(&name, &text)?;
    match vm.call(main, ())?.pop_front() {
        Some(Value::Table(table)) => Ok((vm, table, play)),
        _ => Err(Error::user(format!("{name}: it returns no table"))
            .hint("end it with return { test_… = function(play) … end }")),
    }
}
