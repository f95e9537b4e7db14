//! An ordinary user with subordinate ids, who exists in a private mount namespace only.

use std::path::Path;
use std::process::Command;

/// An id that no user of a test machine has.
pub const USER: u32 = 4242;

/// Makes the user, a home and a place for programs, and becomes the user.
const BECOME: &str = "set -e\n\
    for program in newuidmap newgidmap setpriv; do\n\
    PATH=$PATH:/usr/sbin:/sbin command -v $program >/dev/null || { echo SKIPPED: no $program; exit 0; }; done\n\
    cp /etc/passwd passwd; echo \"eva:x:4242:4242::$PWD/home:/bin/sh\" >> passwd\n\
    echo 'eva:300000:65536' > sub\n\
    mkdir -p home/run etc; touch etc/subuid etc/subgid\n\
    for file in /etc/subuid /etc/subgid; do [ -e $file ] || { echo SKIPPED: no $file; exit 0; }; mount --bind sub $file; done\n\
    mount --bind passwd /etc/passwd\n\
    chown -R 4242:4242 home\n\
    exec setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/home/run \
    PATH=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -ec \"$1\"";

/// Runs a script as the user, in `dir`, with these programs of the folder `from`; its output, or None where this
/// host lacks something, which was said.
pub fn as_user(dir: &Path, from: &Path, programs: &[&str], script: &str) -> Option<String> {
    std::fs::create_dir_all(dir.join("bin")).expect("mkdir");
    for name in programs {
        std::fs::copy(from.join(name), dir.join("bin").join(name)).expect(name);
    }
    let become_user = ["-m", "--propagation", "private", "sh", "-c", BECOME, "sh", script];
    heard(Command::new("unshare").args(become_user).current_dir(dir))
}

/// The output of a script that is run as a user, or None where it says that this host lacks something.
pub fn heard(command: &mut Command) -> Option<String> {
    let output = command.output().expect("unshare");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("SKIPPED") || complaint.contains("lets no ordinary user") {
        println!("SKIPPED: {said}{complaint}");
        return None;
    }
    assert!(output.status.success(), "{said}{complaint}");
    Some(said.into_owned())
}
