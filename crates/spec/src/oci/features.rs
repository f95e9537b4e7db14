//! What is understood here, whatever the host can do (features.md of the specification).

use serde_json::{Value, json};

use super::{linux, namespaces, options, state};
use crate::container::CAPABILITY_NAMES;
use crate::seccomp::parse;

/// The features document. `systemd`: groups can be made through systemd.
pub fn features(systemd: bool) -> Value {
    let names = |table: &[(&str, u32)]| table.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let kinds: Vec<_> = namespaces::KINDS.iter().map(|(name, _)| *name).collect();
    let capabilities: Vec<_> = CAPABILITY_NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    let mut actions = parse::ACTIONS.to_vec();
    actions.extend(["SCMP_ACT_KILL_THREAD", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE"]);
    actions.sort_unstable();
    let mut flags = parse::FLAGS.to_vec();
    flags.push("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": state::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": options::all(),
        "linux": {
            "namespaces": kinds,
            "capabilities": capabilities,
            "cgroup": {
                "v1": true, "v2": true, "systemd": systemd, "systemdUser": systemd, "rdma": true,
            },
            "seccomp": {
                "enabled": true,
                "actions": actions,
                "operators": parse::COMPARISONS,
                "archs": parse::ARCHITECTURES,
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "memoryPolicy": { "modes": names(&linux::POLICIES), "flags": names(&linux::POLICY_FLAGS) },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": {},
    })
}
