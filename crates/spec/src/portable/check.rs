//! What a package may not ask for, whoever made it.

use std::collections::BTreeSet;

use super::Portable;
use crate::activation::WaitingPage;
use crate::container::{CAPABILITY_NAMES, DEFAULT_CAPABILITIES, capability};
use crate::{Error, Result, RootPath};

/// So many directories of one kind are a mistake or an attack: each becomes a mount.
const MOST_DIRECTORIES: usize = 1000;
/// The length of a volume's name: 255 on every file system, less the ending of an unfinished one.
const LONGEST_NAME: usize = 250;
/// More names than any kernel has system calls.
const MOST_CALLS: usize = 1000;
/// No system call's name is nearly as long.
const LONGEST_CALL: usize = 64;
/// The last real-time signal.
const LAST_SIGNAL: i32 = 64;

impl Portable {
    /// Refuses values that no package of ours has and that would hurt the host or the container.
    ///
    /// # Errors
    /// The first such value, named with the package.
    pub fn check(&self) -> Result<()> {
        let checks = [
            Self::check_directories,
            Self::check_command,
            Self::check_user,
            Self::check_signal,
            Self::check_policy,
            Self::check_hooks,
            Self::check_network,
            Self::check_activation,
        ];
        let refused = |why| {
            Error::user(format!("package {}: {why}", self.name))
                .hint("a package of tsubo pack has no such value")
        };
        checks.iter().try_for_each(|check| check(self)).map_err(refused)
    }

    fn check_directories(&self) -> std::result::Result<(), String> {
        directories("writable directory", &self.writable)?;
        directories("volume", &self.volumes)?;
        match self.volumes.iter().find(|at| volume_name(at).len() > LONGEST_NAME) {
            Some(at) => Err(format!("the path of the volume {at} is too long to be kept under one name")),
            None => Ok(()),
        }
    }

    fn check_hooks(&self) -> std::result::Result<(), String> {
        self.hooks.check().map_err(|error| error.to_string())
    }

    fn check_network(&self) -> std::result::Result<(), String> {
        self.network.check().map_err(|error| error.chain())
    }

    /// What is shown to browsers is a file of the host: only who has the host says which.
    fn check_activation(&self) -> std::result::Result<(), String> {
        let made = self.activation.resolve().map_err(|error| error.chain())?;
        match made.waiting_page {
            Some(WaitingPage::File(path)) => Err(format!("its waiting page {path} is a file of the host")),
            _ => Ok(()),
        }
    }

    fn check_command(&self) -> std::result::Result<(), String> {
        if let Some(argument) = self.command.iter().find(|argument| argument.contains('\0')) {
            return Err(format!("the argument {argument:?} of its command contains a NUL byte"));
        }
        for (key, value) in &self.env {
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(format!("{key:?} is no name of an environment variable"));
            }
            if value.contains('\0') {
                return Err(format!("the environment variable {key} contains a NUL byte"));
            }
        }
        Ok(())
    }

    fn check_user(&self) -> std::result::Result<(), String> {
        let ids = [self.user.uid, self.user.gid];
        match ids.iter().chain(&self.user.groups).find(|id| **id == u32::MAX) {
            Some(id) => Err(format!("the user or group id {id} means none to the kernel")),
            None => Ok(()),
        }
    }

    fn check_signal(&self) -> std::result::Result<(), String> {
        match self.stop_signal {
            1..=LAST_SIGNAL => Ok(()),
            other => Err(format!("its stop signal {other} is none of 1 to {LAST_SIGNAL}")),
        }
    }

    fn check_policy(&self) -> std::result::Result<(), String> {
        let Some(policy) = &self.policy else { return Ok(()) };
        if policy.syscalls.len() > MOST_CALLS {
            return Err(format!("{} system calls are more than any kernel has", policy.syscalls.len()));
        }
        if let Some(name) = policy.syscalls.iter().find(|name| !is_call(name)) {
            return Err(format!("{name:?} is no name of a system call"));
        }
        if let Some(name) = policy.capabilities.iter().find(|name| !is_capability(name)) {
            return Err(format!("{name:?} is no name of a capability"));
        }
        // No test of ours grants more, so none can have shown that more is needed.
        let usual = |name: &&String| capability(name).is_some_and(|bit| bit & DEFAULT_CAPABILITIES != 0);
        match policy.capabilities.iter().find(|name| !usual(name)) {
            Some(name) => Err(format!("its policy asks for {name}, which no container has by default")),
            None => Ok(()),
        }
    }
}

fn is_call(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=LONGEST_CALL).contains(&name.len()) && name.bytes().all(plain)
}

fn is_capability(name: &str) -> bool {
    name.strip_prefix("CAP_").is_some_and(|name| CAPABILITY_NAMES.contains(&name))
}

fn directories(what: &str, list: &BTreeSet<RootPath>) -> std::result::Result<(), String> {
    if list.len() > MOST_DIRECTORIES {
        return Err(format!("{} entries of the kind {what} are more than {MOST_DIRECTORIES}", list.len()));
    }
    match list.iter().find(|at| is_reserved(at) || at.as_bytes().split(|b| *b == b'/').nth(1) == Some(b"dev"))
    {
        Some(at) => Err(format!("the {what} {at} would lie over what the kernel shows there")),
        None => Ok(()),
    }
}

/// Whether nothing may be mounted here, whoever asks: the root itself, and what lies in proc and sys.
pub fn is_reserved(at: &RootPath) -> bool {
    let top = at.as_bytes().split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    matches!(top, b"" | b"proc" | b"sys")
}

/// The name of the directory that keeps the volume declared at `at`: its path, made one component.
pub fn volume_name(at: &RootPath) -> String {
    at.to_string().trim_start_matches('/').replace('%', "%25").replace('/', "%2f")
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;

    fn path(text: &str) -> RootPath {
        text.parse().expect(text)
    }

    fn refusal(change: impl FnOnce(&mut Portable)) -> String {
        let mut portable = Portable::new("web".parse().expect("name"), vec!["/bin/web".into()]);
        portable.check().expect("good before");
        change(&mut portable);
        portable.check().expect_err("refused").to_string()
    }

    #[test]
    fn ordinary_values_pass() {
        let mut portable = Portable::new("web".parse().expect("name"), vec!["/bin/web".into()]);
        portable.writable = [path("/tmp"), path("/devel"), path("/process"), path("/system")].into();
        portable.volumes = [path("/var/lib/db"), path("/srv/proc")].into();
        portable.env.insert("EMPTY".into(), String::new());
        portable.stop_signal = 64;
        portable.check().expect("good");
    }

    #[test]
    fn mounts_over_the_kernels_files_are_refused() {
        for at in ["/", "/proc", "/proc/sys/kernel", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm"] {
            let written = refusal(|portable| _ = portable.writable.insert(path(at)));
            let kept = refusal(|portable| _ = portable.volumes.insert(path(at)));
            assert!(written.contains(at) && written.contains("package web"), "{written}");
            assert!(kept.contains(at) && kept.contains("package web"), "{kept}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        refusal(|portable| portable.writable = (0..1001).map(|n| path(&format!("/d{n}"))).collect());
        let deep = format!("/{}", "a/".repeat(70));
        assert!(refusal(|portable| _ = portable.volumes.insert(path(&deep))).contains("too long"));
    }

    #[test]
    fn commands_environments_users_and_signals() {
        refusal(|portable| portable.command.push("a\0b".into()));
        for (key, value) in [("A=B", "c"), ("", "c"), ("A\0", "c"), ("A", "\0")] {
            refusal(|portable| _ = portable.env.insert(key.into(), value.into()));
        }
        refusal(|portable| portable.user.uid = u32::MAX);
        refusal(|portable| portable.user.gid = u32::MAX);
        refusal(|portable| portable.user.groups = vec![1, u32::MAX]);
        for signal in [0, -9, 65, i32::MAX] {
            assert!(refusal(|portable| portable.stop_signal = signal).contains("stop signal"));
        }
    }
    #[test]
    fn policies_name_calls_and_capabilities() {
        let with = |calls: &[&str], capabilities: &[&str]| {
            let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let mut portable = Portable::new("web".parse().expect("name"), vec!["/bin/web".into()]);
            let (syscalls, capabilities) = (set(calls), set(capabilities));
            portable.policy = Some(Policy { syscalls, capabilities, groups_seen: false });
            portable.check()
        };
        with(&["read", "fchmodat2", "syscall-470"], &["CAP_CHOWN", "CAP_SETFCAP"]).expect("good");
        assert!(with(&[], &["CAP_SYS_ADMIN"]).expect_err("too much").to_string().contains("CAP_SYS_ADMIN"));
        with(&[], &[]).expect("empty");
        let long = "a".repeat(65);
        for call in ["", "Read", "a b", "read\0", long.as_str()] {
            assert!(with(&[call], &[]).expect_err(call).to_string().contains("system call"));
        }
        for capability in ["CHOWN", "CAP_", "CAP_ALL", "cap_chown"] {
            assert!(with(&[], &[capability]).expect_err(capability).to_string().contains("capability"));
        }
        let many: Vec<String> = (0..1001).map(|n| format!("syscall-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        with(&many, &[]).expect_err("too many");
    }
}
