//! A small root to develop in: a shell and the usual tools of this host with their libraries. Tests
//! that are about one matter use it, since over the host's own root everything takes longer.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{House, succeed};

const TOOLS: [&str; 31] = [
    "sh", "cat", "ls", "cp", "mv", "rm", "ln", "mkdir", "mktemp", "chmod", "chown", "touch", "stat",
    "readlink", "head", "sleep", "env", "id", "true", "false", "mknod", "sort", "wc", "pwd", "grep", "seq",
    "sync", "rmdir", "mount", "uname", "stty",
];

/// Makes the small root as `base` in the house's folder.
pub fn small(house: &House) -> PathBuf {
    with(house, &[])
}

/// The same with more programs of the host.
pub fn with(house: &House, programs: &[&str]) -> PathBuf {
    let base = house.path("base");
    skeleton(&base);
    for tool in TOOLS.iter().chain(programs) {
        let path = find(tool);
        bring(&base, &path, &format!("/usr/bin/{}", name_of(tool)));
    }
    base
}

fn skeleton(base: &Path) {
    for dir in [
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "usr/sbin",
        "etc",
        "srv",
        "var/lib",
        "root",
        "proc",
        "sys",
        "dev",
        "run",
    ] {
        std::fs::create_dir_all(base.join(dir)).expect("mkdir");
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{name}"), base.join(name)).expect("symlink");
    }
    for dir in ["tmp", "var/tmp"] {
        std::fs::create_dir_all(base.join(dir)).expect("mkdir");
        super::mode(&base.join(dir), 0o1777);
    }
    std::fs::write(base.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nann:x:1234:1234::/srv:/bin/sh\n")
        .expect("passwd");
    std::fs::write(base.join("etc/group"), "root:x:0:\nann:x:1234:\nclub:x:4321:ann\n").expect("group");
}

fn find(tool: &str) -> PathBuf {
    if tool.starts_with('/') {
        return tool.into();
    }
    let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let found = dirs.iter().map(|dir| Path::new(dir).join(tool)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{tool} is not on this host"))
}

fn name_of(tool: &str) -> &str {
    tool.rsplit('/').next().unwrap_or(tool)
}

/// Copies a program of the host to `to` in the base, with the libraries that it needs.
pub fn bring(base: &Path, program: &Path, to: &str) {
    copy(program, &base.join(to.trim_start_matches('/')));
    let Ok(listed) = libraries(program) else { return };
    let text = String::from_utf8_lossy(&listed.stdout);
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let there = base.join(library.trim_start_matches('/'));
        if !there.exists() {
            copy(Path::new(library), &there);
        }
    }
}

/// As ldd(1) does it in the end, whose shell would take longer than all else here.
fn libraries(program: &Path) -> std::io::Result<std::process::Output> {
    let asked = Command::new("/lib64/ld-linux-x86-64.so.2").arg("--list").arg(program).output();
    asked.or_else(|_| Command::new("ldd").arg(program).output())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("mkdir");
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}

/// Compiles a C program into `src`; the file's name is `name`.
pub fn compile(house: &House, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let code = house.path(&format!("{name}.c"));
    std::fs::write(&code, source).expect("write");
    let out = house.path("src").join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-w", "-o"]).arg(&out).arg(&code).args(flags);
    succeed(gcc);
    out
}
