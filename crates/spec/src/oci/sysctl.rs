//! Kernel parameters: only what belongs to a namespace of the container's (CRI-O 2022-0811).

use std::collections::BTreeMap;
use std::path::Path;

use super::bad;
use crate::container::{Namespace, Place, Spec};
use crate::{Error, Result};

pub(super) fn sysctls(
    spec: &mut Spec,
    written: &BTreeMap<String, String>,
    is_ours: &dyn Fn(Namespace, &Path) -> bool,
) -> Result<()> {
    for (written_name, value) in written {
        let shown: String = written_name.chars().take(120).collect();
        let place = format!("linux.sysctl[{shown:?}]");
        let name = dotted(&place, written_name)?;
        if value.is_empty() || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(bad(&place, "its value is empty or contains a control character"));
        }
        let namespace = namespace_of(&name).ok_or_else(|| {
            bad(&place, "it would change the whole host").hint(
                "only net.*, fs.mqueue.*, user.max_* and the kernel.msg*, sem*, shm*, hostname and domainname belong to a container",
            )
        })?;
        check_namespace(spec, &place, namespace, is_ours)?;
        let twice = || bad(&place, "it is given in another way, too");
        match name.as_str() {
            "kernel.hostname" | "kernel.domainname" => {
                let names = (&mut spec.hostname, &mut spec.domainname);
                let slot = if name == "kernel.hostname" { names.0 } else { names.1 };
                if slot.replace(value.clone()).is_some_and(|other| other != *value) {
                    return Err(twice());
                }
            }
            _ => {
                if spec.sysctls.insert(name, value.clone()).is_some() {
                    return Err(twice());
                }
            }
        }
    }
    Ok(())
}

/// With dots between its parts. As for sysctl(8) the first separator decides: after a slash, slashes
/// separate and dots belong to the parts (`net/ipv4/conf/eth0.1/forwarding`).
fn dotted(place: &str, written: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let swap = |c: char| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    let slashes = written.find(['.', '/']).is_some_and(|at| written[at..].starts_with('/'));
    let name: String = if slashes { written.chars().map(swap).collect() } else { written.to_owned() };
    let bad_part = |part: &str| part.is_empty() || part.chars().all(|c| c == '/');
    if written.len() > 255 || !name.chars().all(plain) || name.split('.').any(bad_part) {
        return Err(bad(place, "this is no kernel parameter").hint("as in net.core.somaxconn"));
    }
    Ok(name)
}

const IPC: [&str; 10] = [
    "kernel.auto_msgmni",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

fn namespace_of(name: &str) -> Option<Namespace> {
    Some(match name {
        "kernel.hostname" | "kernel.domainname" => Namespace::Uts,
        "kernel.msg_next_id" | "kernel.shm_next_id" => Namespace::Ipc,
        name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => Namespace::Ipc,
        name if name.starts_with("net.") => Namespace::Net,
        name if name.starts_with("user.max_") => Namespace::User,
        _ => return None,
    })
}

fn check_namespace(
    spec: &Spec,
    place: &str,
    namespace: Namespace,
    is_ours: &dyn Fn(Namespace, &Path) -> bool,
) -> Result<()> {
    let hosts = || -> Error {
        bad(
            place,
            &format!("it belongs to a {} namespace, and the container has the host's", namespace.word()),
        )
    };
    match spec.namespaces.get(&namespace) {
        None => Err(hosts()),
        Some(Place::Path(path)) if is_ours(namespace, path) => Err(hosts()),
        Some(_) => Ok(()),
    }
}
