//! How it begins and ends.

use std::process::Command;

use lifecycle::networks::names;

use super::client::{A, ask_from};
use super::harness::{GATEWAY, PROGRAM, WEB, WEB6, alone, run, soon};

fn pid(net: &super::harness::Net) -> String {
    std::fs::read_to_string(net.run().join("resolver.lock")).expect("a lock")
}

/// Only in the namespace of the test, where nothing else runs.
fn all() -> usize {
    // Those that have ended stay in the list: the test is process 1 there, and reaps nobody.
    let named = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("stat"))
            .is_ok_and(|stat| stat.contains("(tsubo-resolver) ") && !stat.contains(") Z "))
    };
    std::fs::read_dir("/proc").expect("proc").flatten().filter(named).count()
}

#[test]
fn of_many_who_begin_it_one_does() {
    alone("life::of_many_who_begin_it_one_does", |net| {
        net.lease(WEB, "web", &[]);
        let network = net.network("nat");
        for _ in 0..5 {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        names::ensure(&network, &net.leases(), &net.run()).expect("a resolver");
                        assert_eq!(ask_from(WEB, "web", A), WEB);
                    });
                }
            });
            assert!(names::runs(&net.run()));
            soon("one process", || all() == 1);
            names::stop(&network.name, &net.run()).expect("ended");
            assert!(!names::runs(&net.run()));
        }
        names::stop(&network.name, &net.run()).expect("nothing to end");
    });
}

#[test]
fn it_is_apart_from_who_began_it() {
    alone("life::it_is_apart_from_who_began_it", |net| {
        net.lease(WEB, "web", &[]);
        names::ensure(&net.network("nat"), &net.leases(), &net.run()).expect("a resolver");
        let pid = pid(net);
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("fds").flatten();
        let places: Vec<String> = fds
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .map(|place| place.display().to_string())
            .filter(|place| !place.starts_with("socket:") && !place.starts_with("anon_inode:"))
            .collect();
        let ours = net.run().display().to_string();
        assert!(places.iter().all(|place| place == "/dev/null" || place.starts_with(&ours)), "{places:?}");
        assert_eq!(
            std::fs::read_link(format!("/proc/{pid}/cwd")).expect("a directory").display().to_string(),
            "/"
        );
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a status");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        assert_eq!(fields[3], pid, "its session");
        assert_eq!(fields[1], "1", "its parent");
    });
}

#[test]
fn it_ends_when_nobody_is_left() {
    alone("life::it_ends_when_nobody_is_left", |net| {
        net.lease(WEB, "web", &[]);
        let network = net.network("nat");
        run("mount", &["-t", "tmpfs", "none", "/mnt"]);
        let mut command = Command::new(PROGRAM);
        let record = net.run().join("network.json");
        std::fs::write(&record, serde_json::to_vec(&network).expect("JSON")).expect("a file");
        command.arg(record).arg(net.leases()).args([GATEWAY]).env(names::IDLE, "200");
        let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("started");
        soon("an answer", || ask_from(WEB, "web", A) == WEB);
        // A short time without any is nothing.
        std::fs::remove_file(net.leases().join(WEB)).expect("removed");
        net.lease(WEB, "web", &[]);
        assert_eq!(ask_from(WEB, "web", A), WEB);
        std::fs::remove_file(net.leases().join(WEB)).expect("removed");
        assert!(child.wait().expect("its end").success());
        // With the network's directory it goes at once.
        net.lease(WEB, "web", &[]);
        names::ensure(&network, &net.leases(), &net.run()).expect("a resolver");
        std::fs::remove_dir_all(net.leases()).expect("removed");
        soon("its end", || !names::runs(&net.run()));
    });
}

#[test]
fn the_next_one_waits_for_the_port() {
    alone("life::the_next_one_waits_for_the_port", |net| {
        net.lease(WEB, "web", &[]);
        let network = net.network("nat");
        let other = std::net::UdpSocket::bind((GATEWAY, 53)).expect("a socket");
        let error = names::ensure(&network, &net.leases(), &net.run()).expect_err("taken").chain();
        assert!(error.contains("listening on 10.99.0.1:53") && error.contains("in use"), "{error}");
        std::thread::scope(|scope| {
            let begun = scope.spawn(|| names::ensure(&network, &net.leases(), &net.run()));
            std::thread::sleep(std::time::Duration::from_millis(200));
            drop(other);
            begun.join().expect("a thread").expect("a resolver");
        });
        assert_eq!(ask_from(WEB, "web", A), WEB);
        names::stop(&network.name, &net.run()).expect("ended");
    });
}

#[test]
fn addresses_may_come_later_and_ipv6_be_off() {
    alone("life::addresses_may_come_later_and_ipv6_be_off", |net| {
        net.lease(WEB, "web", &[]);
        let network = net.network("nat");
        run("ip", &["address", "del", "10.99.0.1/24", "dev", "lo"]);
        run("ip", &["-6", "address", "flush", "dev", "lo"]);
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").expect("a setting");
        names::ensure(&network, &net.leases(), &net.run()).expect("a resolver");
        run("ip", &["address", "add", "10.99.0.1/24", "dev", "lo"]);
        // What hung on the address went with it.
        let _ = Command::new("ip").args(["address", "add", "10.99.0.5/32", "dev", "lo"]).status();
        assert_eq!(ask_from(WEB, "web", A), WEB);
        names::stop(&network.name, &net.run()).expect("ended");
        let _ = WEB6;
    });
}

#[test]
fn what_is_wrong_is_said() {
    alone("life::what_is_wrong_is_said", |net| {
        let said = |words: &[&str]| {
            let output = Command::new(PROGRAM).args(words).output().expect("started");
            assert_eq!(output.status.code(), Some(125));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        assert!(said(&[]).contains("Usage: tsubo-resolver"));
        assert!(said(&["/nowhere", "/nowhere", GATEWAY]).contains("/nowhere"));
        let record = net.run().join("network.json");
        std::fs::write(&record, "{}").expect("a file");
        assert!(said(&[&record.display().to_string(), "/", GATEWAY]).contains("not that of a network"));
        let network = net.network("nat");
        let nowhere = net.run().join("nowhere");
        let error = names::ensure(&network, &nowhere, &net.run()).expect_err("no leases").chain();
        assert!(error.contains("resolver of network shop") && error.contains("nowhere"), "{error}");
    });
}
