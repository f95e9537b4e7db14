//! The floors, by bare system calls (bench/floor/), and two things that are less than a container.

use super::{Ground, Runtime, Words, words};

pub(super) fn all(ground: &Ground) -> Vec<Runtime> {
    let root = ground.root.to_string_lossy();
    let detached = |parts: &str| Runtime {
        detach: Some(line(ground, &["-d"], parts, &[])),
        remove: Some(vec![program(ground), "-k".into(), group()]),
        ..named(parts, parts, ground)
    };
    vec![
        Runtime { name: "floor".into(), ..detached("minimal") },
        Runtime { name: "floor, our default".into(), ..detached("default") },
        Runtime {
            run: line(ground, &["-p"], "minimal", &["true"]),
            ..named("floor, cgroup.procs", "minimal", ground)
        },
        named("floor, network namespace", "minimal,net", ground),
        Runtime {
            name: "program alone".into(),
            run: words(&format!("{root}/bin/idle true")),
            ..Runtime::default()
        },
        Runtime { name: "bubblewrap (no cgroup)".into(), run: bubblewrap(&root), ..Runtime::default() },
    ]
}

/// A floor of these parts (bench/floor/parts.c).
pub(crate) fn parts(ground: &Ground, parts: &str) -> Runtime {
    named(parts, parts, ground)
}

fn named(name: &str, parts: &str, ground: &Ground) -> Runtime {
    Runtime { name: name.into(), run: line(ground, &[], parts, &["true"]), ..Runtime::default() }
}

fn line(ground: &Ground, options: &[&str], parts: &str, args: &[&str]) -> Words {
    let root = ground.root.to_string_lossy();
    let group = group();
    let ends = [options, &["-g", &group, parts, &root, "/bin/idle"], args].concat();
    std::iter::once(program(ground)).chain(ends.iter().map(|w| (*w).to_owned())).collect()
}

fn program(ground: &Ground) -> String {
    ground.floor.to_string_lossy().into_owned()
}

fn group() -> String {
    format!("{}-floor-{{}}", Ground::prefix())
}

fn bubblewrap(root: &str) -> Words {
    words(&format!(
        "bwrap --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --ro-bind {root} / --proc /proc --dev /dev -- \
         /bin/idle true"
    ))
}
