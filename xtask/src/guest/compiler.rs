//! A compiler for the guest: tests make small programs in C. Only the parts that those need come along.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs;
use crate::house;
use crate::shell::{self, Result};

/// What gcc calls, by its own names for it.
const PROGRAMS: [&str; 4] = ["cc1", "collect2", "as", "ld"];

/// What is linked.
const FILES: &str = "crt1.o crti.o crtn.o rcrt1.o Scrt1.o crtbegin.o crtbeginS.o crtbeginT.o crtend.o crtendS.o \
    libgcc.a libgcc_eh.a libpthread.a libgcc_s.so libgcc_s.so.1 libc.a libc.so libc.so.6 libc_nonshared.a liblto_plugin.so";

/// Brings it into `root`, if this host has one.
pub(super) fn bring(root: &Path) -> Result {
    if !shell::has("gcc") {
        return Ok(());
    }
    programs::bring(root, Path::new("/usr/bin/gcc"), Path::new("/usr/bin/gcc"))?;
    for name in PROGRAMS {
        let program = ask(&format!("-print-prog-name={name}"))?;
        // One that is found in PATH is named without a folder.
        let program = if program.is_absolute() { program } else { Path::new("/usr/bin").join(program) };
        programs::bring(root, &program, &program)?;
    }
    for name in FILES.split_whitespace() {
        let file = ask(&format!("-print-file-name={name}"))?;
        if file.is_absolute() {
            programs::bring(root, &file, &file)?;
        }
    }
    headers()?.iter().try_for_each(|header| programs::copy(header, root, header))
}

fn ask(question: &str) -> Result<PathBuf> {
    let said = shell::read(Command::new("gcc").arg(question))?;
    let path = PathBuf::from(said.trim());
    // gcc's own paths go up and down again.
    Ok(if path.is_absolute() { lexical(&path) } else { path })
}

/// The path without `..`; a link at its end stays one.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut found, part| {
        match part {
            std::path::Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
        found
    })
}

/// Every header that a program of our tests includes, compiled as they are.
fn headers() -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    collect(&house::top().join("crates"), &mut sources)?;
    let mut found = Vec::new();
    for source in &sources {
        let rule = shell::read(Command::new("gcc").args(["-O1", "-M"]).arg(source))?;
        let words = rule.split_whitespace().map(Path::new).filter(|path| path.starts_with("/usr"));
        found.extend(words.map(lexical));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(dir: &Path, sources: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_goes_up_is_straightened() {
        assert_eq!(lexical(Path::new("/usr/lib/gcc/x/12/../../../x/crt1.o")), Path::new("/usr/lib/x/crt1.o"));
    }
}
