//! Descriptors that are handed over: terminals, listeners, and those of the caller.

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use crate::harness::Ground;

pub(crate) fn receive(stream: &UnixStream) -> (String, OwnedFd) {
    let mut bytes = vec![0; 1 << 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    bytes.truncate(received.expect("a message").bytes);
    let mut fds: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(fds.len(), 1);
    (String::from_utf8(bytes).expect("text"), fds.remove(0))
}

fn all(master: OwnedFd) -> String {
    let (mut file, mut text, mut buffer) = (fs::File::from(master), Vec::new(), [0; 256]);
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        text.extend(&buffer[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let ground = Ground::new();
    // Longer than the path of a socket may be.
    let deep = ground.at(&"d".repeat(120));
    fs::create_dir(&deep).expect("dir");
    std::env::set_current_dir(&deep).expect("dir");
    let listener = UnixListener::bind("console").expect("a socket");
    let socket = deep.join("console");
    let socket = socket.to_str().expect("text");
    let mut config = Ground::config("tty; stat -c %t:%T /dev/console; read -r x; echo got $x");
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({ "height": 40, "width": 100 });
    let id = ground.write(&config).id();
    ground.detached(&["create", "--console-socket", socket, &id]).well();
    let (name, master) = receive(&listener.accept().expect("a caller").0);
    assert_eq!(name, "/dev/ptmx");
    let size = rustix::termios::tcgetwinsize(&master).expect("a terminal");
    assert_eq!((size.ws_row, size.ws_col), (40, 100));
    ground.call(&["start", &id]).well();
    // And for one that joins.
    let call =
        ground.call(&["exec", "-t", "-d", "--console-socket", socket, &id, "sh", "-c", "tty; sleep 0.1"]);
    call.well();
    let (_, second) = receive(&listener.accept().expect("a caller").0);
    assert_eq!(all(second), "/dev/pts/1\r\n");
    fs::File::from(master.try_clone().expect("dup")).write_all(b"word\n").expect("typed");
    let said = all(master);
    assert!(said.starts_with("/dev/pts/0\r\n88:0\r\n") && said.ends_with("got word\r\n"), "{said}");
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    // Nobody to hold it, nothing to be held, nobody there.
    ground
        .call(&["create", &id])
        .failed("cannot allocate tty if tsubo-oci will detach without setting console socket");
    ground.call(&["run", "--console-socket", socket, &id]).failed("cannot use console socket");
    drop(listener);
    ground.call(&["create", "--console-socket", socket, &id]).failed("connecting to the socket");
    ground
        .script("true")
        .call(&["create", "--console-socket", socket, &id])
        .failed("cannot use console socket");
    ground.clean();
}

#[test]
fn a_terminal_is_relayed_by_who_stays() {
    let ground = Ground::new();
    let mut config = Ground::config("tty; read -r x; echo got $x; exit 6");
    config["process"]["terminal"] = json!(true);
    ground.write(&config);
    let mut command = ground.command(&["run", &ground.id()]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut run = command.spawn().expect("tsubo-oci");
    run.stdin.as_mut().expect("input").write_all(b"word\n").expect("typed");
    let output = run.wait_with_output().expect("the end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.code() == Some(6) && said.contains("/dev/pts/0") && said.contains("got word"),
        "{said}"
    );
    ground.clean();
}

#[test]
fn who_decides_about_calls_gets_the_listener() {
    let ground = Ground::new();
    let socket = ground.at("listener");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut config = Ground::config("mkdir /tmp/x 2>&1; echo $?");
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": socket, "listenerMetadata": "meta",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    });
    ground.write(&config);
    let answer = std::thread::spawn(move || {
        let (text, fd) = receive(&listener.accept().expect("a caller").0);
        let listener = sys::notify::Listener::new(fd);
        let asked = listener.receive().expect("a question").expect("one");
        listener.proceed(asked.id).expect("an answer");
        text
    });
    let id = ground.id();
    let said = ground.run().well();
    assert!(said.ends_with('1') && said.contains("Read-only file system"), "{said}");
    let told: Value = serde_json::from_str(&answer.join().expect("an answer")).expect("JSON");
    assert_eq!((&told["fds"], &told["metadata"]), (&json!(["seccompFd"]), &json!("meta")));
    assert_eq!((&told["state"]["id"], &told["state"]["status"]), (&json!(id), &json!("creating")));
    assert!(told["pid"].as_i64().is_some_and(|pid| pid > 0));
    ground.clean();
}

#[test]
fn attack_21_descriptors_are_passed_on_where_that_is_asked_for_and_only_then() {
    let ground = Ground::new();
    let file = ground.at("file");
    fs::write(&file, "passed on").expect("file");
    ground.script("ls /proc/self/fd | xargs; cat <&3 2>/dev/null; echo $LISTEN_FDS $LISTEN_PID");
    let run = |script: &str, words: &[&str]| {
        let command = ground.command(words);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("exec 3<{} 4<&3; {script} exec \"$0\" \"$@\"", file.display())]);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(ground.bundle());
        let output = shell.output().expect("sh");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    };
    let id = ground.id();
    // Its own for the directory that it reads is the next.
    assert_eq!(run("", &["run", &id]), "0 1 2 3");
    assert_eq!(run("", &["run", "--preserve-fds", "1", &id]), "0 1 2 3 4\npassed on");
    assert_eq!(run("LISTEN_FDS=1", &["run", &id]), "0 1 2 3 4\npassed on1 1");
    ground.call(&["run", "--preserve-fds", "9", &id]).failed("is to be passed on");
    ground.clean();
}
