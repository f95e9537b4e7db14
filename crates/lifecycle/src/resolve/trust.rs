//! What a package may not take for itself: it comes from somebody else, and describes a container,
//! not what of the host that may use.

use spec::container::{Capabilities, DEFAULT_CAPABILITIES, Namespace, RootChange, capability_names};
use spec::isolation::{Isolation, MountType, Origin};
use spec::{Error, Result};

/// Refuses a package whose isolation reaches beyond that of any container.
///
/// # Errors
/// What it asks for, with the flag that grants it.
pub(super) fn check(name: &str, isolation: &Isolation) -> Result<()> {
    let asked = loosened(isolation)?;
    if asked.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!("package {name} asks for more than a container has: {}", asked.join("; ")))
        .hint("if you trust whoever made it, run it with --as-packaged"))
}

fn loosened(isolation: &Isolation) -> Result<Vec<String>> {
    let mut asked = Vec::new();
    let preset = isolation.extends.as_deref().filter(|name| !matches!(*name, "default" | "strict"));
    asked.extend(preset.map(|name| format!("the preset {name}")));
    let given = |namespace: &Namespace, origin: &Origin| match (namespace, origin) {
        (_, Origin::Own) | (Namespace::Net | Namespace::Time, Origin::Host) => false,
        (_, Origin::Host | Origin::Container(_) | Origin::Path(_)) => true,
    };
    let shared = isolation.namespaces.iter().filter(|(namespace, origin)| given(namespace, origin));
    asked.extend(shared.map(|(namespace, origin)| format!("the {} namespace {origin}", namespace.word())));
    asked.extend(
        isolation.root.filter(|root| *root != RootChange::Pivot).map(|root| format!("the root {root:?}")),
    );
    let binds = isolation.mounts.iter().filter(|word| word.kind == MountType::Bind);
    asked.extend(
        binds.map(|word| format!("{} of the host", word.source.clone().unwrap_or_default().display())),
    );
    let writable = isolation
        .mounts
        .iter()
        .filter(|word| word.kind == MountType::Sys && word.options.iter().any(|option| option == "rw"));
    asked.extend(writable.map(|word| format!("a writable {}", word.at)));
    asked.extend(isolation.devices.iter().map(|device| format!("the device {}", device.source.display())));
    let sets = isolation.capabilities.apply(Capabilities::of(DEFAULT_CAPABILITIES))?;
    let all = sets.bounding | sets.permitted | sets.effective | sets.inheritable | sets.ambient;
    // Within its own user namespace they mean little; on the host's they mean everything, and
    // which it gets is decided elsewhere.
    asked.extend(capability_names(all & !DEFAULT_CAPABILITIES));
    asked.extend(
        isolation
            .seccomp
            .as_deref()
            .filter(|word| !matches!(*word, "default" | "observed"))
            .map(|_| "a system call filter of its own".to_owned()),
    );
    asked.extend(isolation.users.is_some().then(|| "a user mapping".to_owned()));
    asked.extend(isolation.masked.is_some().then(|| "other masked paths".to_owned()));
    asked.extend(isolation.read_only.is_some().then(|| "other read-only paths".to_owned()));
    let first = [
        isolation.oom_score_adj.is_some_and(|value| value < 0),
        isolation.nice.is_some_and(|value| value < 0),
    ];
    asked.extend(first.contains(&true).then(|| "precedence over other processes".to_owned()));
    asked.extend(
        isolation
            .scheduler
            .as_deref()
            .filter(|word| word.starts_with("fifo") || word.starts_with("rr"))
            .map(|_| "real-time scheduling".to_owned()),
    );
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::isolation::set;

    #[test]
    fn what_reaches_the_host_is_refused() {
        for hostile in [
            "extends=bare",
            "namespaces.pid=host",
            "namespaces.net=container:db",
            "namespaces.user=host",
            "root=none",
            "mounts=[{ source = \"/\", at = \"/host\" }]",
            "devices=/dev/sda",
            "capabilities.add=SYS_ADMIN",
            "capabilities.ambient=SYS_PTRACE",
            "seccomp=none",
            "users=0:0:65536",
            "masked=[]",
            "oom_score_adj=-1000",
            "scheduler=fifo:99",
        ] {
            assert!(check("web", &set(hostile).expect(hostile)).is_err(), "{hostile}");
        }
    }

    #[test]
    fn what_tightens_or_stays_inside_is_not() {
        for harmless in [
            "namespaces.net=own",
            "namespaces.net=host",
            "capabilities.drop=ALL",
            "extends=strict",
            "hostname=web",
            "mounts=[{ type = \"tmpfs\", at = \"/run\" }]",
            "nice=10",
            "sysctls={ \"net.core.somaxconn\" = \"1024\" }",
        ] {
            check("web", &set(harmless).expect(harmless)).expect(harmless);
        }
    }
}
