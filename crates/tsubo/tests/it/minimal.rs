//! At exact nothing is in the package that the exercise can do without: shown by taking single
//! files away at random and replaying.

use std::path::Path;

use serde_json::Value;

use crate::support::base::with;
use crate::support::{House, have, port};

/// The files that a service looks for and can do without: their absence is an answer, too. Why:
/// the loader searches the default directories itself; OpenSSL starts without its configuration;
/// a C library without nsswitch.conf asks the files.
const ANSWERS: [&str; 3] = ["/etc/ld.so.cache", "/etc/ssl/openssl.cnf", "/etc/nsswitch.conf"];

/// nginx in a small base, tested with one page.
fn nginx(house: &House) -> std::path::PathBuf {
    let port = port();
    let base = with(house, &["/usr/sbin/nginx"]);
    std::fs::create_dir_all(base.join("srv/site")).expect("mkdir");
    std::fs::create_dir_all(base.join("var/lib/nginx")).expect("mkdir");
    std::fs::create_dir_all(base.join("var/log/nginx")).expect("mkdir");
    for page in ["a", "b"] {
        std::fs::write(base.join(format!("srv/site/{page}.html")), format!("page {page}\n")).expect("write");
    }
    std::fs::write(base.join("etc/mime.types"), "types { text/html html; }\n").expect("write");
    let conf = format!(
        "daemon off; user root root; pid /run/n.pid; error_log stderr;\nevents {{}}\n\
         http {{ include /etc/mime.types; access_log off; server {{ listen 127.0.0.1:{port}; root /srv/site; }} }}\n"
    );
    std::fs::write(base.join("etc/nginx.conf"), conf).expect("write");
    house.dev("web", &base, "true");
    let (ready, url) = (format!("tcp:{port}"), format!("http://127.0.0.1:{port}/a.html"));
    // Type and text: whoever takes the types or the page away is found out.
    let exercise =
        format!("curl -sfi {url} | grep -q 'Content-Type: text/html' && curl -sf {url} | grep -q 'page a'");
    house.ok([
        "test",
        "web",
        "--ready",
        &ready,
        "--exercise",
        &exercise,
        "--",
        "/usr/bin/nginx",
        "-c",
        "/etc/nginx.conf",
    ]);
    base
}

/// Regular files of the package, as they are in the base.
fn regular(contents: &Value, base: &Path) -> Vec<String> {
    let kept = contents["kept"].as_object().expect("kept");
    let is_file = |path: &&String| {
        std::fs::symlink_metadata(base.join(path.trim_start_matches('/'))).is_ok_and(|meta| meta.is_file())
    };
    kept.keys().filter(is_file).cloned().collect()
}

/// `count` of `all`, by a generator with a printed seed (xorshift).
fn some(mut all: Vec<String>, count: usize) -> Vec<String> {
    let mut state = std::env::var("TSUBO_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 | 1));
    println!("TSUBO_SEED={state}");
    let mut picked = Vec::new();
    while picked.len() < count && !all.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        picked.push(all.swap_remove(state as usize % all.len()));
    }
    picked
}

#[test]
fn of_an_exact_nginx_no_file_can_be_taken_away() {
    if !have(&["nginx", "curl"]) || !Path::new("/usr/sbin/nginx").exists() {
        return;
    }
    let house = House::new();
    let base = nginx(&house);
    let contents = house.contents(&house.pack("web", "exact"));
    let files = regular(&contents, &base);
    assert!(files.len() < 40 && files.contains(&"/srv/site/a.html".to_owned()), "{files:#?}");
    assert!(!files.contains(&"/srv/site/b.html".to_owned()));
    let count = if std::env::var_os("TSUBO_ALL_FILES").is_some() { files.len() } else { 6 };
    for path in some(files, count) {
        let args = ["pack", "web", "--closure", "exact", "--drop", &path, "-o", "less.tsubo"];
        let output = house.command(args).output().expect("pack");
        let complaint = String::from_utf8_lossy(&output.stderr);
        println!(
            "without {path}: {}",
            complaint.lines().find(|line| line.starts_with("error")).unwrap_or("works")
        );
        let needed = !output.status.success() && complaint.contains("replay");
        let how = &contents["kept"][&path];
        assert!(needed || ANSWERS.contains(&path.as_str()), "{path} can be taken away: {how}\n{complaint}");
        assert!(!how["by"].to_string().contains("\"/\""), "a program has a name: {how}");
        assert!(how["how"].as_array().is_some_and(|how| !how.is_empty()), "{path} was not even used: {how}");
    }
}

#[test]
fn at_directory_the_neighbours_of_a_served_page_are_there() {
    if !have(&["nginx", "curl"]) || !Path::new("/usr/sbin/nginx").exists() {
        return;
    }
    let house = House::new();
    nginx(&house);
    let contents = house.contents(&house.pack("web", "directory"));
    assert_eq!(contents["kept"]["/srv/site/b.html"]["reason"], "directory", "{contents:#}");
}
