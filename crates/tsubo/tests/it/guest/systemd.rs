//! Where systemd manages the groups: a login passes no controllers on, so there is a scope for us.

use std::path::Path;
use std::process::Command;

use super::{first, group_of, house, members, number, started};
use crate::support::{House, succeed, until};

const SCOPE: &str = "/sys/fs/cgroup/system.slice/tsubo.scope";

fn by_systemd() -> Option<House> {
    let house = house()?;
    if !Path::new("/run/systemd/private").exists() {
        println!("SKIPPED: systemd is not process 1");
        return None;
    }
    Some(house)
}

/// What systemd says of the scope.
fn told(property: &str) -> String {
    let mut show = Command::new("systemctl");
    show.args(["show", "--value", "-p", property, "tsubo.scope"]);
    succeed(show).trim().to_owned()
}

#[test]
#[ignore = "for ./x guest"]
fn systemd_gives_a_scope_in_which_limits_hold() {
    let Some(house) = by_systemd() else { return };
    // The second round begins where the first has left nothing.
    for _ in 0..2 {
        started(&house, "one", &["--memory", "32m", "--cpus", "0.5"], "echo up; sleep 1000");
        started(&house, "two", &[], "echo up; sleep 1000");
        for (name, most) in [("one", Some(32 << 20)), ("two", None)] {
            let group = group_of(first(&house, name));
            assert!(group.starts_with(Path::new(SCOPE).join("tsubo")), "{group:?}");
            let memory = number(&group, "memory.max");
            assert!(most.is_none_or(|most| most == memory), "{memory}");
            assert!(number(&group, "pids.max") > 0);
        }
        assert_eq!((told("ActiveState"), told("Delegate")), ("active".to_owned(), "yes".to_owned()));
        assert_eq!(members(&Path::new(SCOPE).join("keepers")), 2);
        let hog = [
            "run",
            "--rm",
            "--memory",
            "16m",
            "web",
            "/bin/dd",
            "if=/dev/zero",
            "of=/dev/null",
            "bs=64M",
            "count=1",
        ];
        house.fails_elsewhere(137, hog);
        // systemd is told to read everything anew: what it has given away stays as it is.
        let mut reload = Command::new("systemctl");
        reload.arg("daemon-reload");
        succeed(reload);
        assert_eq!(number(&group_of(first(&house, "one")), "memory.max"), 32 << 20);
        house.ok_elsewhere(["update", "--memory", "48m", "one"]);
        assert_eq!(number(&group_of(first(&house, "one")), "memory.max"), 48 << 20);
        house.ok_elsewhere(["rm", "-f", "one", "two"]);
        until("the scope has ended", || !Path::new(SCOPE).exists());
    }
    one_scope_for_all_that_begin_at_once(&house);
}

/// Six at once, where there is no scope yet.
fn one_scope_for_all_that_begin_at_once(house: &House) {
    let run = |name: &str| {
        house.command_elsewhere(["run", "-d", "--name", name, "--memory", "24m", "web", "/bin/sleep", "1000"])
    };
    let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    let mut begun: Vec<_> = names.iter().map(|name| run(name).spawn().expect("tsubo")).collect();
    begun.iter_mut().for_each(|child| assert!(child.wait().expect("an end").success()));
    for name in &names {
        assert_eq!(number(&group_of(first(house, name)), "memory.max"), 24 << 20, "{name}");
    }
    let all = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str));
    house.ok_elsewhere(all);
}
