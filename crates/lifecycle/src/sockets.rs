//! Sockets that are handed over to a container's program, as systemd does it (sd_listen_fds(3)): it
//! finds them as its descriptors from 3 on, and is told how many there are and what they are called.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use spec::container::{Namespace, Spec};
use spec::plan::{Plan, Step};
use spec::{Error, Result};

/// As many as fit into one message, with a lock.
pub(crate) const MOST: usize = 250;

/// The longest name that systemd allows.
const LONGEST: usize = 255;

/// One socket, which stays its maker's too.
#[derive(Debug, Clone)]
pub struct Socket {
    /// What the program knows it by (`LISTEN_FDNAMES`).
    pub name: String,
    /// A socket that listens, mostly.
    pub socket: Arc<OwnedFd>,
}

/// Whether these can be handed over to the container.
///
/// # Errors
/// Names that cannot be told; too many; a program whose process id nobody knows beforehand.
pub(crate) fn check(spec: &Spec, sockets: &[Socket]) -> Result<()> {
    if sockets.is_empty() {
        return Ok(());
    }
    if sockets.len() > MOST {
        return Err(Error::user(format!("{} sockets are to be handed over", sockets.len()))
            .hint(format!("{MOST} at most are possible")));
    }
    if let Some(bad) = sockets.iter().find(|socket| !is_name(&socket.name)) {
        return Err(Error::user(format!("{:?} is no name for a socket", bad.name)).hint(format!(
            "at most {LONGEST} characters of ASCII, and neither a colon nor a control character"
        )));
    }
    if !spec.owns(Namespace::Pid) {
        return Err(Error::unsupported(
            "sockets are handed over by process id, and this container has no process ids of its own",
        )
        .hint("leave its pid namespace private"));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
}

/// Has the first process take them, and tells its program.
pub(crate) fn plan(spec: &Spec, names: &[String], plan: &mut Plan) {
    if names.is_empty() {
        return;
    }
    // A filter may forbid it; whatever else had these numbers has been used by then.
    let late = |step: &Step| matches!(step, Step::Filter { .. } | Step::Gate);
    let at = plan.steps.iter().position(late).unwrap_or(0);
    plan.steps.insert(at, Step::Sockets { count: names.len() as u32 });
    // An init of ours is process 1, and the program its child.
    let pid = if spec.init { 2 } else { 1 };
    for step in &mut plan.steps {
        if let Step::Execute { env, .. } = step {
            env.retain(|entry| !entry.starts_with("LISTEN_"));
            env.push(format!("LISTEN_FDS={}", names.len()));
            env.push(format!("LISTEN_PID={pid}"));
            env.push(format!("LISTEN_FDNAMES={}", names.join(":")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::container::{Place, Process, Root};

    fn spec() -> Spec {
        let mut process = Process::new(vec!["/bin/web".into()]);
        process.env = vec!["A=b".into(), "LISTEN_FDS=9".into()];
        let (id, name) = (crate::new_id().expect("id"), "web".parse().expect("name"));
        let mut spec = Spec::new(id, name, Root::Tree { path: "/".into() }, process);
        spec.namespaces.insert(Namespace::Pid, Place::Own);
        spec
    }

    fn socket(name: &str) -> Socket {
        let file = std::fs::File::open("/dev/null").expect("a descriptor");
        Socket { name: name.to_owned(), socket: Arc::new(file.into()) }
    }

    #[test]
    fn its_program_is_told_before_it_is_confined() {
        for (init, pid) in [(false, 1), (true, 2)] {
            let spec = Spec { init, ..spec() };
            let mut made = spec::plan::plan(&spec);
            plan(&spec, &["http".to_owned(), String::new()], &mut made);
            let at = |wanted: fn(&Step) -> bool| made.steps.iter().position(wanted).expect("a step");
            let taken = at(|step| matches!(step, Step::Sockets { count: 2 }));
            assert!(taken < at(|step| matches!(step, Step::Gate)));
            assert!(taken > at(|step| matches!(step, Step::Identity { .. })));
            let Some(Step::Execute { env, .. }) = made.steps.last() else { panic!("no program") };
            let pid = format!("LISTEN_PID={pid}");
            assert_eq!(env[..], ["A=b", "LISTEN_FDS=2", &pid, "LISTEN_FDNAMES=http:"].map(String::from));
        }
        let mut without = spec::plan::plan(&spec());
        plan(&spec(), &[], &mut without);
        assert_eq!(without.steps, spec::plan::plan(&spec()).steps);
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        check(&spec(), &[socket("http"), socket("")]).expect("names");
        for bad in ["a:b", "tab\t", "ü", &"x".repeat(256)] {
            assert!(check(&spec(), &[socket(bad)]).is_err(), "{bad:?}");
        }
        assert!(check(&spec(), &vec![socket("http"); MOST + 1]).is_err());
        let mut hosts = spec();
        hosts.namespaces.remove(&Namespace::Pid);
        let error = check(&hosts, &[socket("http")]).expect_err("the host's process ids");
        assert_eq!(error.kind(), spec::ErrorKind::Unsupported);
        check(&hosts, &[]).expect("nothing to hand over");
    }
}
