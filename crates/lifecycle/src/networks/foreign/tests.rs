use spec::container::{Process, Root};
use spec::network::{Asked, Rate};

use super::*;
use crate::Home;

fn spec(networking: Networking) -> Spec {
    let process = Process::new(vec!["true".into()]);
    let name = "web".parse().expect("name");
    let mut spec = Spec::new(Id::from_bytes([1; 6]), name, Root::Tree { path: "/t".into() }, process);
    spec.network = Some(Box::new(networking));
    spec
}

fn cni(dir: &std::path::Path) -> Attachment {
    let asked =
        Asked { configurations: Some(dir.to_owned()), programs: vec!["/bin".into()], ..Asked::default() };
    Attachment::Cni { name: "lan".into(), interface: "eth0".into(), asked }
}

#[test]
fn what_only_we_could_do_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("lan.conf"), r#"{"cniVersion":"0.4.0","name":"lan","type":"true"}"#)
        .expect("a file");
    let networks = Networks::of(&Home::at(dir.path(), &dir.path().join("run")));
    let foreseen = |networking: Networking| foresee(&networks, &spec(networking));
    let on = || Networking { attachments: vec![cni(dir.path())], ..Networking::default() };
    foreseen(on()).expect("nothing more");
    let rate = Rate { packets: Some(7), ..Rate::default() };
    let closed = Networking { closed: true, ..on() };
    let allow = Networking { allow: vec!["host".parse().expect("allow")], ..on() };
    let published = Networking { published: Publish::parse("8080:80").expect("port"), ..on() };
    for (networking, part) in [
        (closed.clone(), "--closed"),
        (allow, "--allow"),
        (published.clone(), "published ports"),
        (Networking { rate, ..on() }, "packets"),
    ] {
        let error = foreseen(networking).expect_err(part);
        assert!(error.to_string().contains(part) && !error.hints().is_empty(), "{error:?}");
    }
    assert!(publish(&published) && is_for(&published));
    let first: Attachment = serde_json::from_value(
        serde_json::json!({"interface": {"host": "up0", "interface": "up0", "addresses": []}}),
    )
    .expect("an attachment");
    let second = Networking { attachments: vec![first, cni(dir.path())], ..published };
    assert!(!publish(&second) && is_for(&second));
    foreseen(second).expect("another publishes");
}

#[test]
fn nothing_is_noted_of_most() {
    let dir = tempfile::tempdir().expect("a directory");
    let networks = Networks::of(&Home::at(dir.path(), &dir.path().join("run")));
    disconnect(&networks, Id::from_bytes([1; 6]), None).expect("nothing to do");
    assert!(!networks.notes_of_others().exists());
}
