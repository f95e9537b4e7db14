//! Terminals: what a person at a keyboard gets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::base::small;
use crate::support::{House, Running, until};

/// A person at a terminal of 30 rows and 90 columns, who has typed one command.
pub struct Person {
    master: File,
    child: Running,
    seen: String,
}

impl Person {
    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Makes the terminal larger or smaller.
    pub fn resizes(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    pub fn types(command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        resize(&master, 30, 90);
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let slave = File::options().read(true).write(true).open(name.to_str().expect("UTF-8")).expect("open");
        // setsid makes it the terminal of a session of its own, as a login does.
        let mut login = Command::new("setsid");
        login
            .arg("--ctty")
            .arg("--wait")
            .arg(command.get_program())
            .args(command.get_args())
            .env("TERM", "dumb");
        let slave = || Stdio::from(OwnedFd::from(slave.try_clone().expect("dup")));
        let child = login.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("spawn");
        Self { master: File::from(master), child: Running(child), seen: String::new() }
    }

    pub fn says(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write");
    }

    /// Waits until `text` is on the screen after what was waited for before.
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < end && self.reads(), "{text:?} did not come; there is {:?}", self.seen);
        }
    }

    /// Takes what comes within a second; false at the end.
    fn reads(&mut self) -> bool {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&second)).expect("poll") == 0 {
            return true;
        }
        let mut bytes = [0; 4096];
        // EIO is how a terminal says that nobody is at its other end.
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }

    pub fn ends_with(&mut self, code: i32) {
        while self.reads() {}
        assert_eq!(self.child.0.wait().expect("wait").code(), Some(code), "{:?}", self.seen);
    }
}

fn resize(master: &impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("resize");
}

fn packed(house: &House) -> String {
    house.dev("app", &small(house), "true");
    house.test_job("app", &["/bin/sh", "-c", "echo x"]);
    house.pack_with("app", "exact", &["--keep", "/usr/bin"])
}

/// What every interactive shell must be able to do.
#[track_caller]
fn is_a_good_shell(person: &mut Person) {
    person.says("echo $((6*7))\n");
    person.sees("42");
    person.says("test -t 0 && stty size\n");
    person.sees("30 90");
    resize(&person.master, 40, 100);
    person.says("sleep 0.3; stty size\n");
    person.sees("40 100");
    person.says("sleep 1000\n");
    person.sees("sleep 1000");
    std::thread::sleep(Duration::from_millis(300));
    person.says("\x03");
    person.says("echo inter$((1))rupted\n");
    person.sees("inter1rupted");
    person.says("exit 7\n");
    person.ends_with(7);
}

#[test]
fn run_on_a_terminal_resizes_and_interrupts() {
    let house = House::new();
    let file = packed(&house);
    let mut person = Person::types(house.command_elsewhere(["run", "--rm", "-it", &file, "/bin/sh"]));
    is_a_good_shell(&mut person);
}

#[test]
fn exec_on_a_terminal_resizes_and_interrupts() {
    let house = House::new();
    let file = packed(&house);
    house.ok_elsewhere(["run", "-d", "--name", "one", &file, "sleep", "1000"]);
    let mut person = Person::types(house.command_elsewhere(["exec", "-it", "one", "/bin/sh"]));
    is_a_good_shell(&mut person);
}

#[test]
fn a_shell_in_a_development_container_resizes_and_interrupts() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let mut person = Person::types(house.command(["dev", "app"]));
    is_a_good_shell(&mut person);
}

#[test]
fn a_person_leaves_a_terminal_and_comes_back() {
    let house = House::new();
    let file = packed(&house);
    let mut person =
        Person::types(house.command_elsewhere(["run", "--name", "one", "-it", &file, "/bin/sh"]));
    person.says("here=first\n");
    person.says("echo is $here\n");
    person.sees("is first");
    // Ctrl-P alone goes to the shell, which fetches the last line back.
    person.says("\x10\x11");
    person.ends_with(0);
    assert_eq!(house.json_elsewhere(["inspect", "one"])["state"]["running"], true);
    let mut person = Person::types(house.command_elsewhere(["attach", "--detach-keys", "ctrl-x", "one"]));
    person.says("echo still $here\n");
    person.sees("still first");
    person.says("\x18");
    person.ends_with(0);
    let mut person = Person::types(house.command_elsewhere([
        "exec",
        "--detach-keys",
        "ctrl-a,d",
        "-it",
        "one",
        "/bin/sh",
    ]));
    person.says("echo in $((6*7))\n");
    person.sees("in 42");
    person.says("\x01d");
    person.ends_with(0);
    until("two shells", || {
        house.json_elsewhere(["top", "one", "--format", "json"]).as_array().map(Vec::len) == Some(2)
    });
    let mut person = Person::types(house.command_elsewhere(["attach", "one"]));
    person.says("exit 6\n");
    person.ends_with(6);
    assert_eq!(house.json_elsewhere(["inspect", "one"])["state"]["exit_code"], 6);
}

#[test]
fn one_that_nobody_watches_has_a_terminal_for_whoever_comes() {
    let house = House::new();
    let file = packed(&house);
    house.ok_elsewhere(["run", "-dit", "--name", "one", &file, "/bin/sh"]);
    let mut person = Person::types(house.command_elsewhere(["attach", "one"]));
    person.says("stty size\n");
    person.sees("30 90");
    person.says("exit 3\n");
    person.ends_with(3);
}

#[test]
fn control_c_ends_a_container_in_the_foreground() {
    let house = House::new();
    let file = packed(&house);
    let mut person = Person::types(house.command_elsewhere([
        "run",
        "--rm",
        &file,
        "/bin/sh",
        "-c",
        "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.05; done",
    ]));
    person.sees("up");
    person.says("\x03");
    person.sees("caught");
    person.ends_with(4);
}
