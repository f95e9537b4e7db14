//! An exact package answers whatever its service asked as the base did, refusals included.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::base::{compile, small};
use crate::support::{House, have, mode, shell};

const FILES: &str = "statx access-x access-not-x faccessat2 proc-root proc-cwd dir/by-fd by-fd-up up-and-down double \
    trailing below-file stat-below-file exclusive symlink directory-wanted dir/beneath dir/in-root inotify statfs \
    getxattr getxattr-none listxattr chdir-file chdir-dir/inside fchdir/inside mapped rmdir-file rename-from link-from \
    link-to no-socket bind-file not-executable no-format jail/etc/conf secret closed/inside read-only secret-access \
    secret-exec";
const DIRS: &str = "write-dir mkdir inotify-dir unlink-dir rename-dir exec-dir";
const LINKS: [(&str, &str); 9] = [
    ("exclusive-link", "nowhere"),
    ("loop", "loop"),
    ("stat-loop", "stat-loop"),
    ("dangling", "/no/where"),
    ("dangling-stat", "../no/where"),
    ("no-follow", "mapped"),
    ("path-no-follow", "anywhere"),
    ("no-symlinks", "mapped"),
    ("chdir-link", "chdir-dir"),
];

fn furnish(base: &Path) {
    let q = base.join("srv/q");
    for dir in DIRS.split_whitespace() {
        std::fs::create_dir_all(q.join(dir)).expect("mkdir");
    }
    for file in FILES.split_whitespace() {
        let path = q.join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&path, format!("text of {file}")).expect("write");
    }
    for (link, to) in LINKS {
        symlink(to, q.join(link)).expect("symlink");
    }
    symlink("/etc/conf", q.join("jail/etc/link")).expect("symlink");
    for (script, text) in
        [("script", "#!/bin/sh\necho from a script\n"), ("no-interpreter", "#!/no/interpreter\n")]
    {
        std::fs::write(q.join(script), text).expect("write");
        mode(&q.join(script), 0o755);
    }
    std::fs::copy(base.join("usr/bin/true"), q.join("exec-fd")).expect("copy");
    for (name, bits) in [
        ("access-x", 0o755),
        ("no-format", 0o755),
        ("secret", 0),
        ("closed", 0o700),
        ("read-only", 0o444),
        ("secret-access", 0o600),
        ("secret-exec", 0o700),
    ] {
        mode(&q.join(name), bits);
    }
}

/// Changes that are refused in any case: in a read-only root for another reason. And a connection
/// to a file that is no socket, which no service asks for.
const REFUSED: [&str; 5] = [
    "rmdir of a file",
    "unlink of a directory",
    "rename onto a directory",
    "connect to a file",
    "bind over a file",
];

#[test]
fn an_exact_package_answers_every_question_as_the_base_did() {
    if !have(&["gcc", "setfattr"]) {
        return;
    }
    let house = House::new();
    let base = small(&house);
    furnish(&base);
    shell(&format!(
        "cd {}; setfattr -n user.color -v red getxattr; setfattr -n user.color -v red listxattr",
        base.join("srv/q").display()
    ));
    compile(&house, "questions", include_str!("programs/questions.c"), &["-static"]);
    house.dev("app", &base, "cp /src/questions /srv/questions");
    let expected = house.ok(["dev", "app", "--", "/srv/questions"]);
    assert!(
        expected.lines().count() > 60 && expected.contains("in the jail: text of jail/etc/conf"),
        "{expected}"
    );
    house.test_job("app", &["/srv/questions"]);
    let file = house.pack("app", "exact");
    let answers = house.run(&file, &[]);
    let refused = |line: &str| REFUSED.iter().any(|name| line.starts_with(&format!("{name}: no")));
    let pairs = expected.lines().zip(answers.lines());
    let different: Vec<_> = pairs.filter(|(was, is)| was != is && !(refused(was) && refused(is))).collect();
    assert!(
        different.is_empty() && expected.lines().count() == answers.lines().count(),
        "{different:#?}\n{expected}\n---\n{answers}"
    );
}
