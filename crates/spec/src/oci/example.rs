//! A bundle's configuration to begin with.

use serde_json::{Value, json};

use super::state;

/// What `runc spec` writes; for an ordinary user with a user namespace in which that user is root.
pub fn example(rootless: Option<(u32, u32)>) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mut config = json!({
        "ociVersion": state::VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "tsubo",
        "mounts": mounts(rootless.is_some()),
        "linux": {
            "namespaces": namespaces(rootless.is_some()),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    match rootless {
        Some((uid, gid)) => {
            let own = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
            config["linux"]["uidMappings"] = own(uid);
            config["linux"]["gidMappings"] = own(gid);
        }
        None => config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
    }
    config
}

fn namespaces(rootless: bool) -> Vec<Value> {
    let all = ["pid", "network", "ipc", "uts", "mount", "cgroup"].into_iter();
    // An ordinary user has no network to give to the container.
    let kept = all.filter(|kind| !(rootless && *kind == "network")).chain(rootless.then_some("user"));
    kept.map(|kind| json!({ "type": kind })).collect()
}

fn mounts(rootless: bool) -> Value {
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    terminals.extend((!rootless).then_some("gid=5"));
    let sys = match rootless {
        true => json!({
            "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        }),
        false => json!({
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        }),
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": terminals },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        sys,
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}
