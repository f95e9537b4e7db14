use std::collections::BTreeMap;

use spec::observation::Use;

use super::super::Level;
use super::super::sample::{Asked, Sample, has};

/// A root with something of every facility.
fn root() -> Sample {
    let root = Sample::new("facility");
    for file in [
        "/etc/passwd",
        "/etc/group",
        "/usr/lib/x-linux-gnu/libnss_files.so.2",
        "/usr/lib/x-linux-gnu/libnss_sss.so.2",
        "/usr/lib/x-linux-gnu/libnss_nis.so.2",
        "/usr/share/zoneinfo/Asia/Tokyo",
        "/usr/share/zoneinfo/right/Asia/Tokyo",
        "/usr/share/zoneinfo/Etc/UTC",
        "/usr/lib/locale/C.utf8/LC_CTYPE",
        "/usr/lib/locale/en_US.utf8/LC_CTYPE",
        "/usr/lib/locale/de_DE.utf8/LC_CTYPE",
        "/usr/lib/x-linux-gnu/gconv/UTF-16.so",
        "/usr/lib/x-linux-gnu/gconv/IBM037.so",
        "/usr/lib/x-linux-gnu/gconv/gconv-modules.d/x.conf",
        "/etc/ssl/openssl.cnf",
        "/usr/share/ca-certificates/mozilla/A.crt",
        "/etc/ssl/private/key",
        "/usr/share/terminfo/x/xterm-256color",
        "/usr/share/terminfo/z/ztx",
        "/usr/share/mime/mime.cache",
        "/usr/share/mime/text/plain.xml",
        "/usr/share/fonts/a/x.ttf",
        "/usr/share/fonts/a/y.ttf",
        "/usr/share/fonts/b/z.ttf",
    ] {
        root.file(file, "x");
    }
    root.link("/etc/ssl/certs/a.0", "A.pem");
    root.link("/etc/ssl/certs/A.pem", "/usr/share/ca-certificates/mozilla/A.crt");
    root.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    root.file("/etc/nsswitch.conf", "passwd: files [NOTFOUND=return] sss # x\nnetgroup: nis\n");
    root
}

/// What one use keeps of `wanted`, and that it keeps nothing of `unwanted`.
fn check(uses: (&str, Use), wanted: &[&str], unwanted: &[&str]) {
    let root = root();
    let env = BTreeMap::from([("LANG".to_owned(), "en_US.UTF-8".to_owned())]);
    let cut = Asked { level: Level::Directory, env, ..Asked::default() }
        .cut(&root, &root.seen(&[uses]))
        .expect("cut");
    wanted.iter().for_each(|path| assert!(has(&cut, path), "{path} is missing"));
    unwanted.iter().for_each(|path| assert!(!has(&cut, path), "{path} is there"));
}

#[test]
fn name_service() {
    let libraries = "/usr/lib/x-linux-gnu";
    let named = [format!("{libraries}/libnss_files.so.2"), format!("{libraries}/libnss_sss.so.2")];
    let wanted = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", &named[0], &named[1]];
    check(
        ("/etc/passwd", Use::Opened),
        &wanted,
        &["/usr/lib/x-linux-gnu/libnss_nis.so.2", "/usr/share/zoneinfo"],
    );
}

#[test]
fn time_zones() {
    let wanted = ["/usr/share/zoneinfo/Asia/Tokyo", "/etc/localtime"];
    check(("/etc/localtime", Use::Opened), &wanted, &["/usr/share/zoneinfo/right", "/etc/passwd"]);
}

#[test]
fn locales_that_were_looked_for() {
    let wanted = ["/usr/lib/locale/C.utf8/LC_CTYPE", "/usr/lib/locale/en_US.utf8/LC_CTYPE"];
    check(("/usr/lib/locale/locale-archive", Use::Missing), &wanted, &["/usr/lib/locale/de_DE.utf8"]);
}

#[test]
fn common_character_sets() {
    let gconv = "/usr/lib/x-linux-gnu/gconv";
    let [utf16, rules, rare] =
        ["UTF-16.so", "gconv-modules.d/x.conf", "IBM037.so"].map(|name| format!("{gconv}/{name}"));
    check((&format!("{gconv}/gconv-modules.cache"), Use::Missing), &[&utf16, &rules], &[&rare]);
}

#[test]
fn certificates_only_for_those_who_asked() {
    let certificates =
        ["/etc/ssl/certs/A.pem", "/etc/ssl/certs/a.0", "/usr/share/ca-certificates/mozilla/A.crt"];
    check(("/etc/ssl/openssl.cnf", Use::Opened), &["/etc/ssl/openssl.cnf"], &certificates);
    check(("/usr/lib/ssl/cert.pem", Use::Missing), &certificates, &["/etc/ssl/private"]);
}

#[test]
fn terminals_media_types_and_fonts() {
    let terminal = "/usr/share/terminfo/x/xterm-256color";
    check(("/etc/terminfo/v/vt100", Use::Missing), &[terminal], &["/usr/share/terminfo/z/ztx"]);
    check(
        ("/usr/share/mime/magic", Use::Missing),
        &["/usr/share/mime/mime.cache"],
        &["/usr/share/mime/text"],
    );
    check(("/usr/share/fonts/a/x.ttf", Use::Opened), &["/usr/share/fonts/a/y.ttf"], &["/usr/share/fonts/b"]);
}
