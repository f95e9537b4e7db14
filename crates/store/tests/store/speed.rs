//! Numbers: `cargo test --release -p tsubo-store speed -- --ignored --nocapture`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tsubo_store::package::{self, Effort, Source};
use tsubo_store::{Install, Store};

use crate::support::{Yard, all_paths, portable, quiet, report};

/// About what nginx needs, taken from this host.
fn nginx_like(base: &Path) {
    let script = r#"
        for f in /usr/sbin/nginx $(ldd /usr/sbin/nginx | grep -o '/[^ ]*') /etc/passwd /etc/group; do
            mkdir -p "$1$(dirname $f)"; cp -pL "$f" "$1$f"; done
        mkdir -p $1/usr/lib $1/usr/share $1/etc
        cp -a /usr/lib/nginx $1/usr/lib/; cp -a /usr/share/nginx $1/usr/share/; cp -a /etc/nginx $1/etc/
        mkdir -p $1/etc/ssl; ls -d /etc/ssl/certs/*.pem | head -100 | xargs -I% cp -L % $1/etc/ssl/"#;
    let done = Command::new("sh").args(["-c", script, "sh"]).arg(base).status().expect("sh");
    assert!(done.success());
}

#[test]
#[ignore = "measures; run it in release mode"]
fn speed() {
    let yard = Yard::new();
    let base = yard.path("base");
    std::fs::create_dir(&base).expect("mkdir");
    nginx_like(&base);
    let out = yard.path("web.tsubo");
    for effort in [Effort::Small, Effort::Quick] {
        let source = Source { base: &base, paths: &all_paths(&base), empty: Default::default() };
        let (taken, written) = timed(|| {
            package::write_with(effort, &out, &source, &portable(), &report(), &quiet).expect("packed")
        });
        let (files, content, packed) = (written.files, written.content_bytes, written.bytes);
        println!("pack {effort:?}: {taken}; {files} files, {content} bytes -> {packed} bytes");
    }
    for sync in [false, true] {
        let mut times: Vec<_> =
            (0..21).map(|run| install(&yard.path(&format!("{sync}{run}")), &out, sync)).collect();
        times.sort_by_key(|taken| taken.wall);
        println!("install, sync {sync}: median {}; least {}", times[10], times[0]);
    }
    let store = Store::open(&yard.path("false0")).expect("opened");
    let image = store.image("web").expect("image");
    println!(
        "install again: {}",
        timed(|| store.install(&out, Install { sync: false }, &quiet).expect("installed")).0
    );
    println!("verify: {}", timed(|| store.verify(&image).expect("intact")).0);
    println!("remove: {}", timed(|| store.remove(&image).expect("removed")).0);
}

fn install(state: &Path, package: &Path, sync: bool) -> Taken {
    let store = Store::open(state).expect("opened");
    timed(|| store.install(package, Install { sync }, &quiet).expect("installed")).0
}

/// Time on the wall, and on all processors.
#[derive(Clone, Copy)]
struct Taken {
    wall: Duration,
    processor: Duration,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} ms (processor {:.1})",
            self.wall.as_secs_f64() * 1e3,
            self.processor.as_secs_f64() * 1e3
        )
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let processor = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let (wall, before) = (Instant::now(), processor());
    let result = work();
    (Taken { wall: wall.elapsed(), processor: processor() - before }, result)
}
