//! An image: busybox, two users, and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const APPLETS: &str = "sh true false cat ls mount grep stat readlink touch mkdir id sleep kill ps hostname echo wc tty \
                       head pwd env test dd tail nc stty chmod trap";

/// A tar of the root.
pub(crate) fn tar(root: &Path, to: &Path) {
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "data"] {
        fs::create_dir_all(root.join(name)).expect(name);
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).expect(applet);
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n")
        .expect("users");
    fs::write(root.join("etc/group"), "root:x:0:\nguest:x:1000:\n").expect("groups");
    fs::write(root.join("etc/plain"), "no program\n").expect("a file");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("mode");
    pack(root, to);
}

/// A tar of a directory; the owners are root.
pub(crate) fn pack(directory: &Path, to: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-C"]).arg(directory).arg("-cf").arg(to).arg(".");
    assert!(tar.status().expect("tar").success());
}
