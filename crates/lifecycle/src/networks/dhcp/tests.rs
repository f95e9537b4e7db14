use super::*;

fn network(kind: Kind) -> Network {
    serde_json::from_value(serde_json::json!({
        "name": "lan", "id": "070707070707", "kind": kind, "created": 0,
    }))
    .expect("a network")
}

#[test]
fn a_server_is_where_others_are() {
    let parent = || "eth9".to_owned();
    let fine = [
        Kind::Bridge { uplink: Some(parent()) },
        Kind::Macvlan { parent: parent(), mode: None },
        Kind::Ipvlan { parent: parent(), mode: None },
        Kind::Ipvlan { parent: parent(), mode: Some("l2".into()) },
    ];
    for kind in fine {
        must_have_a_server(&network(kind)).expect("a server");
    }
    for kind in
        [Kind::Nat, Kind::Isolated, Kind::Pair, Kind::Ipvlan { parent: parent(), mode: Some("l3".into()) }]
    {
        let error = must_have_a_server(&network(kind)).expect_err("nobody");
        assert!(!error.hints().is_empty() && error.to_string().contains("lan"), "{error:?}");
    }
}

#[test]
fn a_file_is_written_in_its_place() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 192.0.2.1\nsearch one.example\n").expect("written");
    let inode = || std::fs::metadata(&path).expect("there").ino();
    let before = inode();
    files::rewrite(&path, "nameserver 192.0.2.2\n").expect("rewritten");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "nameserver 192.0.2.2\n");
    assert_eq!(inode(), before);
    files::rewrite(&dir.path().join("none"), "x").expect_err("it makes none");
}

#[test]
fn what_is_said_is_heard() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
    let given = Given {
        interface: "eth0".into(),
        addresses: vec!["192.0.2.7/24".parse().expect("net")],
        ..Given::default()
    };
    say(&ours, &Report::Given(vec![given.clone()], vec!["lan".into()])).expect("said");
    assert!(matches!(heard(&theirs).expect("heard"), Report::Given(all, _) if all == [given]));
    drop(ours);
    heard::<Report>(&theirs).expect_err("gone");
}

#[test]
fn names_of_hosts_are_told_and_others_are_not() {
    assert!(
        is_hostname("web-1.lan") && !is_hostname("") && !is_hostname("a b") && !is_hostname(&"x".repeat(64))
    );
}
