//! Who starts the same static program in the same namespaces: the floor and the peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::house;
use crate::shell::{self, Result};

/// One way of starting a container.
pub(crate) struct Runtime {
    pub(crate) name: String,
    /// What the timer itself is started by.
    pub(crate) wrapper: Vec<String>,
    pub(crate) argv: Vec<String>,
}

/// A root with nothing but a static program, the floor, and an OCI bundle around the root.
pub(crate) struct Ground {
    pub(crate) root: PathBuf,
    floor: PathBuf,
    bundle: PathBuf,
    podman: PathBuf,
}

impl Ground {
    /// Compiled and laid out in `dir`.
    pub(crate) fn lay(dir: &Path) -> Result<Self> {
        let bundle = dir.join("bundle");
        let (floor, podman) = (dir.join("floor"), dir.join("p"));
        let ground = Self { root: bundle.join("rootfs"), floor, bundle, podman };
        for root in [ground.root.clone(), ground.podman.join("root")] {
            for inside in ["bin", "proc", "sys", "dev"] {
                fs::create_dir_all(root.join(inside))?;
            }
        }
        compile("floor.c", &ground.floor)?;
        compile("idle.c", &ground.root.join("bin/idle"))?;
        fs::copy(ground.root.join("bin/idle"), ground.podman.join("root/bin/idle"))?;
        fs::write(ground.bundle.join("config.json"), config().to_string())?;
        Ok(ground)
    }

    /// The floor, and of the peers those that are installed.
    pub(crate) fn runtimes(&self) -> Vec<Runtime> {
        let root = self.root.to_string_lossy().into_owned();
        let floor = self.floor.to_string_lossy().into_owned();
        let bundle = self.bundle.to_string_lossy().into_owned();
        let podman = podman(&self.podman);
        let plain = |name: &str, argv: &[&str]| Runtime {
            name: name.into(),
            wrapper: Vec::new(),
            argv: argv.iter().map(|w| (*w).to_owned()).collect(),
        };
        let mut all = vec![
            plain("floor", &[&floor, &root, "/bin/idle", "true"]),
            plain("floor, cgroup.procs", &[&floor, "-p", &root, "/bin/idle", "true"]),
            plain("floor, network namespace", &[&floor, "-n", &root, "/bin/idle", "true"]),
            plain("program alone", &[&format!("{root}/bin/idle"), "true"]),
            plain("bubblewrap (no cgroup)", &words(BWRAP, &root)),
        ];
        all.push(Runtime {
            wrapper: pure_v1(),
            ..plain("crun", &["crun", "run", "-b", &bundle, "bench-crun"])
        });
        all.push(plain("runc", &["runc", "run", "-b", &bundle, "bench-runc"]));
        all.push(Runtime {
            wrapper: pure_v1(),
            ..plain("podman with crun", &podman.split(' ').collect::<Vec<_>>())
        });
        all.retain(|r| Path::new(&r.argv[0]).is_absolute() || shell::has(&r.argv[0]));
        all
    }
}

/// podman with a store of its own; it makes directories in the root, so that is a copy.
fn podman(dir: &Path) -> String {
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    format!(
        "podman --root {} --runroot {} --tmpdir {} --storage-driver vfs --cgroup-manager cgroupfs --runtime crun run --rm \
         --network host --log-driver none --read-only --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 \
         --rootfs {} /bin/idle true",
        at("store"),
        at("run"),
        at("tmp"),
        at("root")
    )
}

const BWRAP: &str = "bwrap --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --ro-bind ROOT / --proc /proc --dev /dev -- /bin/idle true";

fn words<'a>(line: &'a str, root: &'a str) -> Vec<&'a str> {
    line.split(' ').map(|w| if w == "ROOT" { root } else { w }).collect()
}

/// crun refuses a host with v1 controllers and a unified hierarchy beside them; in a mount namespace
/// of its own the latter can be covered. Nothing on other hosts.
fn pure_v1() -> Vec<String> {
    if !Path::new("/sys/fs/cgroup/unified").exists() {
        return Vec::new();
    }
    let script = "mount -t tmpfs none /sys/fs/cgroup/unified && exec \"$@\"";
    ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}

fn compile(source: &str, to: &Path) -> Result {
    let source = house::top().join("bench/floor").join(source);
    shell::run(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(to).arg(source))
}

/// What `crun spec` writes, less what the floor leaves out: no network namespace, no filter.
fn config() -> Value {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|n| json!({"type": n}));
    let strict = ["nosuid", "noexec", "nodev"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/bin/idle", "true"], "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": true,
            "user": {"uid": 0, "gid": 0},
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &strict),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &strict),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {"namespaces": namespaces},
    })
}
