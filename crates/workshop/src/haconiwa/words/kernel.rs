//! What of the kernel it gets: namespaces, users, capabilities, resource limits, system calls, network.

use serde_json::{Value, json};
use spec::container::{Capabilities, DEFAULT_CAPABILITIES, Namespace, capability};
use spec::isolation::{self, CapabilityWords, Origin};

use super::super::record::{Seccomp, Values, number, said, shown};
use super::{Mapping, said_text};

/// What every container of ours has for itself, and Haconiwa's only where it is said.
const OWN: [&str; 4] = ["mount", "pid", "ipc", "uts"];

impl Mapping<'_> {
    pub(super) fn kernel(&mut self) {
        self.namespaces();
        self.users();
        self.capabilities();
        self.rlimits();
        if let Some(seccomp) = &self.from.seccomp {
            self.seccomp(seccomp);
        }
        let profile = [&self.from.apparmor, &self.from.apparmor_profile].into_iter().find_map(said_text);
        self.to.isolation.apparmor = profile;
        if let Some(root) = said_text(&self.from.lxcfs_root) {
            self.note(format!("config.lxcfs_root = {root}: lxcfs is used wherever the host has mounted it"));
        }
        self.network();
    }

    fn namespaces(&mut self) {
        for (kind, options) in &self.from.namespace.own {
            match namespace(kind) {
                Some(kind) => drop(self.to.isolation.namespaces.insert(kind, Origin::Own)),
                None => self.note(format!("config.namespace.unshare {kind:?}: no such namespace")),
            }
            if options.as_object().is_some_and(|options| options.contains_key("persist_in")) {
                self.note(format!("config.namespace.unshare {kind:?}, persist_in: {}: namespaces end with their container; ip netns and unshare --{kind}=FILE make lasting ones, which namespaces.{kind} = FILE joins", shown(&options["persist_in"])));
            }
        }
        for (kind, file) in &self.from.namespace.entered {
            match (namespace(kind), said_text(file)) {
                (Some(kind), Some(file)) => {
                    self.to.isolation.namespaces.insert(kind, Origin::Path(file.into()));
                }
                _ => self.note(format!("config.namespace.enter {kind:?}, {}: not understood", shown(file))),
            }
        }
        let shared: Vec<&str> = OWN.into_iter().filter(|kind| !self.said_of(kind)).collect();
        if !shared.is_empty() {
            let words = shared.join(", ");
            self.note(format!("{words}: Haconiwa shares what is not unshared with the host; here these are the container's own (isolation.namespaces.{} = \"host\" shares it)", shared[0]));
        }
    }

    fn said_of(&self, kind: &str) -> bool {
        let namespace = &self.from.namespace;
        namespace.own.contains_key(kind) || namespace.entered.contains_key(kind)
    }

    fn users(&mut self) {
        let namespace = &self.from.namespace;
        let uids = self.range("set_uid_mapping", &namespace.uids);
        let gids = self.range("set_gid_mapping", &namespace.gids);
        self.to.isolation.groups = gids.filter(|gids| Some(gids) != uids.as_ref()).map(|range| vec![range]);
        self.to.isolation.users = uids.map(|range| vec![range]);
    }

    /// Haconiwa writes min, offset and max as the three numbers of a line of uid_map.
    fn range(&mut self, word: &str, range: &Values) -> Option<String> {
        if range.is_empty() {
            return None;
        }
        let get = |key: &str| range.get(key).and_then(number);
        match (get("min"), get("offset"), get("max")) {
            (Some(inside), Some(host), Some(count)) => {
                let text = format!("{inside}:{host}:{count}");
                match isolation::id_range(&text) {
                    Ok(_) => return Some(text),
                    Err(error) => self.note(format!("config.namespace.{word}: {error}")),
                }
            }
            _ => self.note(format!("config.namespace.{word}: {range:?} is not understood")),
        }
        None
    }

    fn capabilities(&mut self) {
        let Some(words) = &self.from.capabilities else { return };
        let mut mapped = CapabilityWords { drop: self.names(&words.drop), ..CapabilityWords::default() };
        match words.base.as_str() {
            "all" => {
                mapped.only = Some(vec!["ALL".to_owned()]);
                self.note("capabilities: all are asked for, which takes --as-packaged; better leave capabilities out: tsubo pack keeps those that the tests show to be needed");
            }
            "none" => mapped.only = Some(self.names(&words.add)),
            _ => mapped.add = self.names(&words.add),
        }
        if words.base == "usual" && !mapped.is_empty() {
            self.note("capabilities: they are added to and dropped from tsubo's usual ones, which are Docker's; Haconiwa's usual ones are fewer by KILL, SYS_CHROOT, MKNOD, AUDIT_WRITE and more by AUDIT_READ");
        }
        // What it could do beyond the usual is seen by whoever reads, and refused to whoever does not.
        if mapped.apply(Capabilities::of(DEFAULT_CAPABILITIES)).is_ok() {
            self.to.isolation.capabilities = mapped;
        }
    }

    fn names(&mut self, list: &[Value]) -> Vec<String> {
        let (known, unknown): (Vec<String>, Vec<String>) =
            list.iter().map(shown).partition(|name| capability(name).is_some());
        unknown.iter().for_each(|name| self.note(format!("config.capabilities: {name:?} is no capability")));
        known.iter().map(|name| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned()).collect()
    }

    fn rlimits(&mut self) {
        for (kind, soft, hard) in &self.from.resource.limits {
            let name = shown(kind).to_ascii_lowercase();
            let value = match (amount(soft), amount(hard)) {
                (soft, hard) if soft == hard => soft,
                (soft, hard) => format!("{soft}:{hard}"),
            };
            match isolation::rlimit(&name, &value) {
                Ok(_) => {
                    let short = name.trim_start_matches("rlimit_").to_owned();
                    self.to.isolation.rlimits.insert(short, value);
                }
                Err(error) => self.note(format!("config.resource.set_limit {}: {error}", shown(kind))),
            }
        }
    }

    /// The same rules as a profile of the OCI form.
    fn seccomp(&mut self, words: &Seccomp) {
        let Some(default) = action(&shown(&words.default)) else {
            return self.note(format!(
                "config.seccomp.filter(default: {}): not understood; tsubo's own filter holds",
                shown(&words.default)
            ));
        };
        let mut rules = Vec::new();
        for rule in &words.rules {
            let what = rule.first().map(shown).unwrap_or_default();
            let call = rule.get(1).and_then(said);
            match (action(&what), call, &rule[rule.len().min(2)..]) {
                (Some(action), Some(call), []) => rules.push(json!({ "names": [call], "action": action })),
                (_, _, more) => {
                    let all = rule.iter().skip(1).map(shown).collect::<Vec<_>>().join(", ");
                    let why = if more.is_empty() {
                        "no such action here"
                    } else {
                        "rules with arguments are not taken over"
                    };
                    self.note(format!("config.seccomp: rule.{what} {all}: {why}"));
                }
            }
        }
        let profile = json!({ "defaultAction": default, "syscalls": rules });
        self.to.isolation.seccomp = Some(profile.to_string());
        let weaker = if default == "SCMP_ACT_ALLOW" {
            ", and it lets through what tsubo's own refuses: leave the line out to have that"
        } else {
            ""
        };
        self.note(format!("config.seccomp: the filter takes --as-packaged{weaker}"));
    }

    fn network(&mut self) {
        let network = &self.from.network;
        let get = |key: &str| network.get(key).and_then(said_text);
        if network.keys().all(|key| key == "others") {
            return;
        }
        if let Some(name) = get("namespace") {
            let file = format!("/var/run/netns/{name}");
            self.note(format!("config.network: containers are not connected to bridges yet: make the namespace by hand (ip netns add {name}, ip link add … type veth …), or leave isolation.namespaces.net out for the host's network"));
            self.to.isolation.namespaces.insert(Namespace::Net, Origin::Path(file.into()));
        } else {
            self.note("config.network: containers are not connected to bridges yet; this one has a network of its own without a way out");
            self.to.isolation.namespaces.insert(Namespace::Net, Origin::Own);
        }
        self.note_all("config.network", network, "to be set in that namespace by hand");
    }
}

fn namespace(kind: &str) -> Option<Namespace> {
    Namespace::ALL.into_iter().find(|known| known.word() == kind || known.file() == kind)
}

fn amount(value: &Value) -> String {
    match shown(value).as_str() {
        "-1" | "18446744073709551615" | "infinity" | "INFINITY" => "unlimited".to_owned(),
        text => text.to_owned(),
    }
}

fn action(word: &str) -> Option<&'static str> {
    Some(match word {
        "allow" => "SCMP_ACT_ALLOW",
        "kill" | "kill_thread" => "SCMP_ACT_KILL",
        "kill_process" => "SCMP_ACT_KILL_PROCESS",
        "errno" => "SCMP_ACT_ERRNO",
        "trap" => "SCMP_ACT_TRAP",
        "log" => "SCMP_ACT_LOG",
        _ => return None,
    })
}
