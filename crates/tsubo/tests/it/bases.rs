//! What a development container is made from, and what it must not see or touch of the host.

use std::path::{Path, PathBuf};

use crate::support::base::small;
use crate::support::{House, have, shell};

/// The small base with a text in it, used from `archive` that `make` leaves there.
#[track_caller]
fn works_from(house: &House, archive: &str, make: &str) {
    let base = small(house);
    std::fs::write(base.join("srv/text"), "from an archive\n").expect("write");
    let path = house.path(archive);
    shell(&format!("cd {}; OUT={} ; {make}", base.display(), path.display()));
    std::fs::remove_dir_all(&base).expect("the archive is enough");
    house.dev("app", &path, "test $(stat -c %a /tmp) = 1777; id -un | grep root");
    house.test_job("app", &["cat", "/srv/text"]);
    let file = house.pack("app", "exact");
    assert_eq!(house.run(&file, &[]), "from an archive\n");
}

#[test]
fn from_a_plain_tar() {
    works_from(&House::new(), "base.tar", "tar cf $OUT .");
}

#[test]
fn from_a_tar_gz() {
    works_from(&House::new(), "base.tar.gz", "tar czf $OUT .");
}

#[test]
fn from_a_tar_xz() {
    if have(&["xz"]) {
        works_from(&House::new(), "base.tar.xz", "tar c . | xz -0 > $OUT");
    }
}

#[test]
fn from_a_tar_zst() {
    if have(&["zstd"]) {
        works_from(&House::new(), "base.tar.zst", "tar c . | zstd -q > $OUT");
    }
}

/// An OCI layout by umoci with the current folder as its only layer, tag `small`.
const LAYOUT: &str = "umoci init --layout $OUT.layout; umoci new --image $OUT.layout:small
    umoci insert --image $OUT.layout:small \"$PWD\" / >/dev/null";

#[test]
fn from_an_oci_layout() {
    if have(&["umoci"]) {
        works_from(&House::new(), "image", &format!("{LAYOUT}; mv $OUT.layout $OUT"));
    }
}

#[test]
fn from_an_oci_archive() {
    if have(&["umoci", "skopeo"]) {
        let archive = "skopeo --insecure-policy copy -q oci:$OUT.layout:small oci-archive:$OUT:small";
        works_from(&House::new(), "image.tar", &format!("{LAYOUT}; {archive}"));
    }
}

#[test]
fn a_package_is_an_image_that_other_tools_read() {
    if !have(&["skopeo", "zstd"]) {
        return;
    }
    let house = House::new();
    house.dev("app", &small(&house), "true");
    house.test_job("app", &["/bin/sh", "-c", "ls / >/dev/null"]);
    let file = house.pack("app", "exact");
    let config = shell(&format!("skopeo inspect --config oci-archive:{file}"));
    assert!(config.contains("/bin/sh"), "{config}");
    let dir = house.path("blobs");
    let dir_text = dir.display();
    shell(&format!("skopeo --insecure-policy copy -q oci-archive:{file} dir:{dir_text}"));
    let names = shell(&format!(
        "cd {dir_text}; for blob in *; do zstd -dcq $blob 2>/dev/null | tar t 2>/dev/null || true; done"
    ));
    assert!(names.lines().any(|name| name == "usr/bin/ls"), "{names}");
    // And our own way back: a package is a base, too.
    house.ok(["dev", "again", "--from", &file, "--", "/bin/sh", "-c", "ls /"]);
}

/// Whether a path is there inside, as the container's shell says.
fn inside(house: &House, script: &str) -> String {
    house.ok(["dev", "app", "--", "/bin/sh", "-c", script])
}

#[test]
fn what_a_development_container_does_to_its_system_stays_in_it() {
    let house = House::new();
    let name = format!("tsubo-it-{}", std::process::id());
    let places = ["/usr", "/etc", "/var", "/opt", ""].map(|dir| format!("{dir}/{name}"));
    house.dev(
        "app",
        Path::new("host"),
        &format!("touch {}; rm /etc/passwd; chmod 700 /usr", places.join(" ")),
    );
    let mode = |path: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("stat").permissions())
    };
    for place in &places {
        assert!(!Path::new(place).exists(), "{place} is on the host");
    }
    assert!(Path::new("/etc/passwd").exists());
    assert_eq!(mode("/usr") & 0o777, 0o755);
    let seen = inside(
        &house,
        &format!("ls {}; test -e /etc/passwd || echo gone; stat -c %a /usr", places.join(" ")),
    );
    assert!(seen.contains(&places[0]) && seen.contains("gone\n700"), "{seen}");
    let changes = house.ok(["diff", "--dev", "app"]);
    assert!(changes.contains(&format!("A /usr/{name}")) && changes.contains("D /etc/passwd"), "{changes}");
}

#[test]
fn a_development_container_sees_no_secrets_of_the_host() {
    let house = House::new();
    house.dev("app", Path::new("host"), "true");
    assert_eq!(inside(&house, "ls -A /root /home /tmp /boot | grep -v : | grep . || echo empty"), "empty\n");
    assert_eq!(inside(&house, "grep -c : /etc/shadow >/dev/null; cut -d: -f2 /etc/shadow | sort -u"), "*\n");
    assert_eq!(inside(&house, "ls -A /run | grep -v lock || echo empty").trim(), "empty");
    let here = house.here().display().to_string();
    assert_eq!(inside(&house, &format!("ls -A {here} 2>/dev/null | grep . || echo hidden")), "hidden\n");
    assert_eq!(
        inside(&house, "cat /etc/machine-id; find /var/log /var/spool -type f | grep . || echo none"),
        "none\n"
    );
    assert_eq!(inside(&house, "ps -ef 2>/dev/null | wc -l; ls -d /proc/[0-9]* | wc -l").lines().count(), 2);
}

#[test]
fn root_only_files_of_the_host_are_hidden_unless_shown() {
    let Some(secret) = root_only() else {
        eprintln!("SKIPPED: this host has no file in /etc that only root may read");
        return;
    };
    let house = House::new();
    let path = secret.display().to_string();
    house.dev("app", Path::new("host"), "true");
    assert_eq!(inside(&house, &format!("cat {path} >/dev/null 2>&1 || echo hidden")), "hidden\n", "{path}");
    house.ok(["dev", "open", "--see", &path, "--", "cat", &path]);
}

/// A file of this host that only root may read and no package has shipped.
fn root_only() -> Option<PathBuf> {
    let candidates = ["/etc/gshadow-", "/etc/shadow-", "/etc/.pwd.lock", "/etc/security/opasswd"];
    let secret = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 == 0 && meta.len() > 0)
    };
    candidates.map(PathBuf::from).into_iter().find(secret)
}

#[test]
fn the_environment_of_the_caller_stays_outside() {
    let house = House::new();
    let base = small(&house);
    house.dev("app", &base, "true");
    let mut command = house.command(["dev", "app", "--", "env"]);
    command.env("SECRET_TOKEN", "hush");
    let seen = crate::support::succeed(command);
    assert!(!seen.contains("hush") && seen.contains("PATH="), "{seen}");
}

#[test]
fn what_is_shown_with_a_volume_never_ships() {
    let house = House::new();
    house.source("private", "private\n");
    house.dev("app", &small(&house), "cat /src/private; cp /src/private /srv/copy");
    house.test_job("app", &["/bin/sh", "-c", "cat /srv/copy; ls /src 2>/dev/null; true"]);
    let file = house.pack("app", "package");
    let tree = house.install("app", &file);
    assert!(!tree.join("src/private").exists() && tree.join("srv/copy").exists());
}
