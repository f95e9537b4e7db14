use std::net::{TcpListener, UdpSocket};

use spec::ErrorKind;

use super::*;

fn publish(words: &str) -> Vec<Publish> {
    Publish::parse(words).expect(words)
}

#[test]
fn ports_are_nobody_elses() {
    for protocol in ["", "/udp"] {
        let first = ports::reserve(&publish(&format!("127.0.0.1::80{protocol}"))).expect("any port");
        let chosen = first.published()[0];
        assert!(chosen.host > 0 && chosen.container == 80);
        // With connections the kernel says so when both listen; with datagrams at once.
        let listens = TcpListener::bind(("127.0.0.1", chosen.host));
        let again = ports::reserve(&[chosen]).map(|again| again.published());
        let error = again.expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert!(error.to_string().contains(&chosen.host.to_string()) && !error.hints().is_empty());
        drop(listens);
    }
    let own = UdpSocket::bind("127.0.0.1:0").expect("socket").local_addr().expect("address");
    ports::reserve(&publish(&format!("{own}:80/udp"))).map(|got| got.published()).expect("free again");
    let foreign = ports::reserve(&publish("192.0.2.77:8080:80")).map(|got| got.published());
    assert!(foreign.expect_err("not ours").to_string().contains("no address 192.0.2.77"));
}

/// A container's run directory, and where its network is noted.
fn run_directory() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let home = tempfile::tempdir().expect("directory");
    let run = home.path().join("containers/one");
    let noted = home.path().join("pasta/one");
    fs::create_dir_all(&noted).expect("mkdir");
    (home, run, noted)
}

/// Says what connects the container of this run directory, if something does.
fn connected(run: &Path) -> Option<Helper> {
    let helper: Helper = disk::read_json(&place(run).join(NOTE)).ok()??;
    helper.process.open().map(|_| helper)
}

#[test]
fn what_was_begun_and_not_noted_is_found() {
    let (_home, run, noted) = run_directory();
    let mark = noted.join(MARK);
    File::create(&mark).expect("mark");
    let mut begun = Command::new("sh").args(["-c", "sleep 60; :"]).arg(&mark).spawn().expect("sh");
    let pid = begun.id() as i32;
    // Its own child goes by the same words until it executes something.
    assert!(begun_for(&noted).iter().any(|(_, found)| *found == pid));
    disconnect(&run).expect("ended");
    assert!(Pinned::of(pid).is_err() && begun.wait().is_err(), "it is gone, and reaped");
    assert!(!noted.exists());
    disconnect(&run).expect("nothing there");
}

#[test]
fn what_is_noted_is_ended_and_nobody_else() {
    let (_home, run, noted) = run_directory();
    let mut begun = Command::new("sleep").arg("60").spawn().expect("sleep");
    let process = Pinned::of(begun.id() as i32).expect("process");
    let stranger = Helper { process: Pinned { start: process.start + 1, ..process }, published: Vec::new() };
    disk::write_json(&noted.join(NOTE), &stranger, Durable::No).expect("note");
    assert_eq!(connected(&run), None);
    disconnect(&run).expect("gone already");
    assert!(process.open().is_some(), "the number was another's by now");
    fs::create_dir_all(&noted).expect("mkdir");
    let helper = Helper { process, ..stranger };
    disk::write_json(&noted.join(NOTE), &helper, Durable::No).expect("note");
    assert_eq!(connected(&run), Some(helper));
    disconnect(&run).expect("ended");
    assert!(begun.try_wait().is_err() && process.open().is_none());
}
