//! The interpreter that a script names in its first line.

use std::io::Read;

use spec::RootPath;

use super::scene::Scene;

/// The kernel reads no more of a file to find out how to execute it (BINPRM_BUF_SIZE).
const FIRST_BYTES: u64 = 256;

/// The program that runs the script at `path`; behind `env` the one that env looks up. None if it
/// is no script, or its interpreter is not in the base.
pub(super) fn interpreter(scene: &Scene<'_>, path: &RootPath) -> Option<RootPath> {
    let mut head = Vec::new();
    scene.tree.open(path).ok()?.take(FIRST_BYTES).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let program = words.next().filter(|program| program.starts_with('/'))?;
    let mut behind_env = || words.find(|word| !word.starts_with('-') && !word.contains('='));
    let named = RootPath::normalise(program.as_bytes()).filter(|program| scene.tree.real(program).is_some());
    if program.ends_with("/env") {
        return behind_env().and_then(|name| scene.program(name)).or(named);
    }
    named
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, assert_files};

    #[test]
    fn scripts_bring_their_interpreter() {
        let root = Sample::new("script");
        root.program("/usr/bin/dash", "x");
        root.link("/usr/bin/sh", "dash");
        root.program("/usr/bin/env", "x");
        root.program("/usr/bin/tool", "x");
        root.program("/a", "#! /usr/bin/sh -e\n");
        root.program("/b", "#!/usr/bin/env -S tool --flag\n");
        root.program("/c", "#!relative\n");
        let used = [("/a", Use::Executed), ("/b", Use::Executed), ("/c", Use::Executed)];
        let cut = root.cut(Level::Exact, &used);
        assert_files(&cut, &["/", "/a", "/b", "/c", "/usr/bin/dash", "/usr/bin/sh", "/usr/bin/tool"]);
    }
}
