//! What a process may do beyond its user: capabilities, system calls, labels.

use std::path::Path;

use spec::container::{Capabilities, Labels, Namespace, Spec, capability_names, capability_set};
use spec::seccomp::{Choice, Profile};
use spec::{Error, Result, ResultExt};

use super::Resolving;
use super::reason::Reasons;

/// For a service of which nothing is known: Docker's without MKNOD, NET_RAW and AUDIT_WRITE, as
/// Podman has it.
const USUAL: &str =
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP";

impl Resolving<'_> {
    pub(super) fn privileges(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        self.capabilities(spec, reasons)?;
        self.no_new_privileges(spec, reasons);
        self.seccomp(spec, reasons)?;
        self.landlock_and_labels(spec, reasons);
        Ok(())
    }

    fn capabilities(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        let policy = self.portable.policy.as_ref();
        let usual = match policy {
            Some(policy) => known(policy.capabilities.iter().map(String::as_str))?,
            None => known(USUAL.split(' '))?,
        };
        let (mut sets, whose) = self.layers.capabilities(Capabilities::of(usual))?;
        if !spec.owns(Namespace::User) {
            self.within_reach(&mut sets)?;
        }
        let why = whose.map_or_else(
            || match policy {
                Some(_) => "observed: what the replays did not pass without".to_owned(),
                None => "nothing is known of the service".to_owned(),
            },
            str::to_owned,
        );
        let names: Vec<String> = capability_names(sets.effective).collect();
        let state = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        reasons.add("capabilities", state, why, "--cap-add NAME, --cap-drop NAME");
        spec.process.capabilities = sets;
        Ok(())
    }

    /// On the host's own users nobody can give what he does not have. `ALL` means all of that.
    fn within_reach(&self, sets: &mut Capabilities) -> Result<()> {
        let everything = known(["ALL"])?;
        if sets.bounding == everything {
            let reach = self.facts.permitted;
            for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
                *set &= reach;
            }
        }
        Ok(())
    }

    fn no_new_privileges(&self, spec: &mut Spec, reasons: &mut Reasons) {
        let said = self.layers.get(|layer| layer.no_new_privileges);
        let (on, why) = match said {
            Some((on, whose)) => (on, whose.to_owned()),
            None if self.portable.gain_privilege => {
                (false, "observed: a program gained privilege by exec".to_owned())
            }
            None => (true, "default".to_owned()),
        };
        reasons.add(
            "no_new_privs",
            if on { "on" } else { "off" },
            why,
            "--isolation no_new_privileges=false",
        );
        if !on {
            reasons.notable();
        }
        spec.process.no_new_privs = on;
    }

    fn seccomp(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        const OTHERWISE: &str = "--seccomp default|observed|none|FILE";
        let calls =
            self.portable.policy.as_ref().map(|policy| &policy.syscalls).filter(|calls| !calls.is_empty());
        let said = self.layers.get(|layer| layer.seccomp.clone());
        let whose = said.as_ref().map(|(_, whose)| (*whose).to_owned());
        let word = said.map(|(word, _)| word);
        let choice = match (word.as_deref(), calls) {
            (None | Some("observed"), Some(calls)) => Choice::Observed(calls.clone()),
            (Some("observed"), None) => {
                return Err(Error::user("nothing was observed of its system calls").hint(
                    "use --seccomp default, or test and pack it where eBPF is available (tsubo info tells)",
                ));
            }
            (None | Some("default"), _) => Choice::Default,
            (Some("none"), _) => Choice::None,
            (Some(file), _) => Choice::Profile(profile(file, reasons)?),
        };
        let (state, why) = match &choice {
            Choice::Observed(calls) => (format!("observed: {} calls and the base", calls.len()), "observed"),
            Choice::Default => ("default".to_owned(), "nothing is known of its calls"),
            Choice::None => ("none".to_owned(), "asked for"),
            Choice::Profile(_) => ("a profile".to_owned(), "asked for"),
        };
        let off = choice == Choice::None;
        reasons.add("system calls", state, whose.unwrap_or_else(|| why.to_owned()), OTHERWISE);
        if off {
            reasons.notable();
        }
        spec.process.seccomp = choice;
        Ok(())
    }

    fn landlock_and_labels(&self, spec: &mut Spec, reasons: &mut Reasons) {
        let landlock = self.layers.get(|layer| layer.landlock.clone());
        let labels = Labels {
            apparmor: self.layers.value(|layer| layer.apparmor.clone()),
            selinux: self.layers.value(|layer| layer.selinux.clone()),
        };
        let (state, why) = landlock.as_ref().map_or(("off", "not asked for"), |(_, whose)| ("on", *whose));
        reasons.add("Landlock", state, why, "--isolation landlock.read=…");
        let named =
            [&labels.apparmor, &labels.selinux].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let (state, why) =
            if named.is_empty() { ("off".to_owned(), "not asked for") } else { (named, "asked for") };
        reasons.add("label", state, why, "--isolation apparmor=PROFILE");
        spec.process.landlock = landlock.map(|(rules, _)| rules);
        spec.process.labels = labels;
    }
}

fn known<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<u64> {
    capability_set(names).map_err(|name| Error::user(format!("{name:?} is no capability")))
}

/// A profile: the name of its file, or its content.
fn profile(word: &str, reasons: &mut Reasons) -> Result<Profile> {
    let inline = word.trim_start().starts_with('{');
    let text = match inline {
        true => word.to_owned(),
        false => std::fs::read_to_string(Path::new(word))
            .doing(|| format!("reading the system call profile {word}"))
            .map_err(|error| error.hint("the words are default, observed, none, or the path of a file"))?,
    };
    let name = if inline { "of the definition" } else { word };
    let parsed = Profile::parse(&text).doing(|| format!("the system call profile {name}"))?;
    for warning in parsed.warnings {
        reasons.add("system calls", "warning", warning, "another profile");
        reasons.notable();
    }
    Ok(parsed.profile)
}
