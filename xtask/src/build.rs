//! `./x build`: static release programs into `dist/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::house::{self, PACKAGES, PROGRAMS, SCRIPTED};
use crate::shell::{self, Result};
use crate::table;

/// Builds and says what came out.
pub(crate) fn run(_args: &[String]) -> Result {
    let dist = release()?;
    scripted(&dist)?;
    for program in PROGRAMS.into_iter().chain([SCRIPTED.0]) {
        let size = fs::metadata(dist.join(program))?.len();
        println!("{:<24} {:>10}  static", format!("dist/{program}"), table::bytes(size));
    }
    println!("export PATH={}:$PATH", dist.display());
    Ok(())
}

/// Builds the release programs, puts them into `dist/`, and returns that directory.
pub(crate) fn release() -> Result<PathBuf> {
    let packages: Vec<&str> = PACKAGES.iter().flat_map(|p| ["-p", p]).collect();
    shell::run(house::cargo(&["build", "--release"])?.args(packages))?;
    let dist = house::top().join("dist");
    fs::create_dir_all(&dist)?;
    for program in PROGRAMS {
        publish(&house::built("release")?.join(program), &dist.join(program))?;
    }
    Ok(dist)
}

/// The one with the scripting engine, which takes longer to build than all the rest.
fn scripted(dist: &Path) -> Result {
    let (program, profile) = SCRIPTED;
    let mut build = house::cargo(&["build", "--profile", profile, "-p", program])?;
    // Without what only looks for defects of the engine itself, as it is meant to be built for use.
    shell::run(build.env("LUAU_CXXFLAGS", "-DNDEBUG"))?;
    publish(&house::built(profile)?.join(program), &dist.join(program))
}

/// Copies beside the destination and renames: a keeper may be running from the old file.
fn publish(from: &Path, to: &Path) -> Result {
    if wants_interpreter(&fs::read(from)?) {
        return Err(format!("{} is not static", from.display()).into());
    }
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).map_err(|e| format!("{}: {e}", fresh.display()))?;
    Ok(fs::rename(&fresh, to)?)
}

/// Whether a 64-bit little-endian ELF file has a PT_INTERP header, so needs a dynamic linker.
fn wants_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| -> usize {
        let field = elf.get(at..at + bytes).unwrap_or_default();
        field.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, entry, entries) = (number(32, 8), number(54, 2), number(56, 2));
    (0..entries).any(|i| number(table + i * entry, 4) == PT_INTERP as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_none() {
        let shell = fs::read("/bin/sh").expect("every host has a shell");
        assert!(wants_interpreter(&shell), "the distribution's shell is dynamic");
        assert!(!wants_interpreter(b"\x7fELF"), "a stump has no headers");
    }
}
