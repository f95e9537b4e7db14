//! What the compiler does not say about source files: one that no module names, and `unsafe`
//! outside the one crate (and the test programs) that may have it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Result;

/// Looks through `crates/` and `xtask/` below `top`.
pub(crate) fn faults(top: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for dir in ["crates", "xtask"] {
        collect(&top.join(dir), &mut files)?;
    }
    let mut faults = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file)?;
        let shown = file.strip_prefix(top).unwrap_or(file);
        if !may_be_unsafe(shown) && text.lines().any(is_unsafe) {
            faults.push(format!("{}: unsafe code belongs in crates/sys", shown.display()));
        }
        if !is_named(file) {
            faults.push(format!("{}: no module names this file", shown.display()));
        }
    }
    Ok(faults)
}

/// The kernel's floor, and test programs that make processes which no safe wrapper would; clippy
/// wants a SAFETY note for each block there too.
fn may_be_unsafe(file: &Path) -> bool {
    file.starts_with("crates/sys") || file.components().nth(2).is_some_and(|part| part.as_os_str() == "tests")
}

/// Every source below a directory.
pub(crate) fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A block, function, trait or impl that is unsafe, or a lint that lets one in; comments and
/// strings that speak of it do not count.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    let opens = |rest: &str| {
        let rest = rest.trim_start();
        rest.starts_with('{')
            || ["fn ", "impl ", "impl<", "extern ", "trait "].iter().any(|w| rest.starts_with(w))
    };
    let after = code.split("unsafe").skip(1).any(|rest| rest.starts_with(' ') && opens(rest));
    after && !code.contains('"') || code.contains("allow(unsafe_code)") && !code.contains('"')
}

/// Whether the file is a root of a crate, or a `mod` line of its parent names it.
fn is_named(file: &Path) -> bool {
    let (Some(dir), Some(stem)) = (file.parent(), file.file_stem().and_then(|s| s.to_str())) else {
        return true;
    };
    let dir_name = dir.file_name().unwrap_or_default();
    let below_tests = dir.parent().is_some_and(|d| d.ends_with("tests") || d.ends_with("src/bin"));
    let root = matches!(stem, "lib" | "main") && dir_name == "src" || stem == "main" && below_tests;
    // Cargo finds these by itself: build scripts, programs, examples, benches, test binaries.
    let found = stem == "build" && dir.join("Cargo.toml").exists()
        || ["bin", "examples", "benches", "tests"].iter().any(|d| dir_name == *d);
    if root || found {
        return true;
    }
    let (name, home) =
        if stem == "mod" { (dir_name.to_str().unwrap_or_default(), dir.parent()) } else { (stem, Some(dir)) };
    home.is_some_and(|home| parents(home).iter().any(|parent| names(parent, name)))
}

/// The files that may hold the `mod` line of a module in `dir`.
fn parents(dir: &Path) -> Vec<PathBuf> {
    let roots = ["lib.rs", "main.rs", "mod.rs"].map(|f| dir.join(f));
    roots.into_iter().chain([dir.with_extension("rs")]).filter(|p| p.is_file()).collect()
}

fn names(parent: &Path, module: &str) -> bool {
    let text = fs::read_to_string(parent).unwrap_or_default();
    let (line, path) = (format!("mod {module};"), format!("{module}.rs\""));
    text.lines().any(|l| l.trim_end().ends_with(&line) || l.contains("#[path") && l.contains(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_told_from_talk_about_it() {
        for code in ["    unsafe { x() }", "pub unsafe fn f() {", "#![allow(unsafe_code)]"] {
            assert!(is_unsafe(code), "{code}");
        }
        for code in
            ["// unsafe { }", "//! all `unsafe`: here", "unsafe_code = \"deny\"", "#![forbid(unsafe_code)]"]
        {
            assert!(!is_unsafe(code), "{code}");
        }
    }

    #[test]
    fn a_forgotten_file_is_found() {
        let dir = std::env::temp_dir().join(format!("x-sources-{}", std::process::id()));
        fs::create_dir_all(dir.join("src/a")).expect("directory");
        fs::write(dir.join("src/lib.rs"), "pub(crate) mod a;\n").expect("lib");
        fs::write(dir.join("src/a.rs"), "mod b;\n").expect("a");
        let named =
            ["src/lib.rs", "src/a.rs", "src/a/b.rs", "tests/all/main.rs"].map(|f| is_named(&dir.join(f)));
        let forgotten = is_named(&dir.join("src/c.rs"));
        let _ = fs::remove_dir_all(&dir);
        assert_eq!(named, [true; 4]);
        assert!(!forgotten);
    }
}
