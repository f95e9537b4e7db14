//! Starting, the gate, signals, init, ends.

use std::time::{Duration, Instant};

use spec::ErrorKind;
use tsubo_runtime::Options;

use crate::harness::{container, pipe, shell, stdio};

#[test]
fn output_and_exit_code_come_back() {
    let ended = shell("echo hello; exit 7").run();
    assert_eq!((ended.code, ended.output.as_str()), (7, "hello"));
}

#[test]
fn nothing_is_executed_before_the_gate_opens() {
    let made = shell("echo ran");
    let (read, write) = pipe();
    let mut child = made.gated(write).expect("at the gate");
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(child.try_wait().expect("alive"), None);
    child.release().expect("exec");
    assert_eq!(child.wait().expect("end"), 0);
    let mut buffer = [0; 16];
    assert_eq!(rustix::io::read(&read, &mut buffer).expect("read"), 4);
}

#[test]
fn a_child_that_is_dropped_at_the_gate_is_gone() {
    let child = shell("echo ran").gated(pipe().1).expect("at the gate");
    let pid = child.pid();
    drop(child);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn commands_that_cannot_run_have_the_usual_exit_codes() {
    assert_eq!(container(&["nonsense"]).fails().kind(), ErrorKind::CommandNotFound);
    assert_eq!(container(&["/bin/nonsense"]).fails().kind(), ErrorKind::CommandNotFound);
    assert_eq!(container(&["/etc"]).fails().kind(), ErrorKind::NotExecutable);
    let text = container(&["/etc/text"]);
    std::fs::write(text.tree().join("etc/text"), "no program").expect("write");
    assert_eq!(text.fails().kind(), ErrorKind::NotExecutable);
    assert_eq!(container(&["true"]).run().code, 0, "found in PATH");
}

#[test]
fn a_signal_ends_it_with_128_and_its_number() {
    let made = container(&["sleep", "100"]);
    let (mut child, _) = made.start().expect("start");
    child.signal(9).expect("kill");
    assert_eq!(child.wait().expect("end"), 137);
}

#[test]
fn process_1_of_its_own_namespace() {
    assert_eq!(shell("echo $$").said(), "1");
    let mut made = shell("echo $$; ls /proc | grep -c '^[0-9]'");
    made.spec.init = true;
    assert!(made.said().starts_with("2\n"), "the command is the child of init");
}

#[test]
fn init_passes_signals_on_and_the_status_back() {
    let mut made = shell("trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done");
    made.spec.init = true;
    let (mut child, mut output) = made.start().expect("start");
    std::io::Read::read_exact(&mut output, &mut [0; 3]).expect("up");
    child.signal(15).expect("TERM");
    assert_eq!(child.wait().expect("end"), 42);
}

#[test]
fn init_reaps_orphans() {
    let mut made = shell(
        "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 & exec true); done; sleep 0.3; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l",
    );
    made.spec.init = true;
    assert_eq!(made.said(), "0");
}

#[test]
fn it_dies_with_the_thread_that_started_it() {
    let made = container(&["sleep", "100"]);
    let plan = spec::plan::plan(&made.spec);
    let starter = std::thread::spawn(move || {
        let options = Options { die_with_parent: true, ..Options::new(stdio(pipe().1)) };
        let mut child = tsubo_runtime::spawn(&plan, options).expect("spawn");
        child.release().expect("exec");
        child
    });
    let mut child = starter.join().expect("thread");
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().expect("wait").is_none() {
        assert!(Instant::now() < deadline, "it lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().expect("end"), 137);
}

#[test]
fn a_listener_sees_the_first_exec() {
    // Everything is allowed but execve, which is asked about; the answer is "go on".
    let notify = [(0x20, 0, 0, 0), (0x15, 0, 1, 59), (0x06, 0, 0, 0x7fc0_0000), (0x06, 0, 0, 0x7fff_0000)]
        .map(|(code, jt, jf, k)| sys::seccomp::Instruction { code, jt, jf, k });
    for init in [false, true] {
        let mut made = shell("ls -l /proc/self/fd | wc -l");
        made.spec.init = init;
        let (_output, write) = pipe();
        let options = Options { listen: Some(&notify), ..Options::new(stdio(write)) };
        let mut child = tsubo_runtime::spawn(&spec::plan::plan(&made.spec), options).expect("spawn");
        let listener = child.listener().expect("a listener");
        assert!(child.listener().is_none());
        let served = std::thread::spawn(move || serve(&listener));
        child.release().expect("exec");
        assert_eq!(child.wait().expect("end"), 0);
        assert!(served.join().expect("thread") >= 2, "sh and ls");
    }
}

/// Lets every notified call continue until nobody is left to make one; returns how many there were.
fn serve(listener: &std::os::fd::OwnedFd) -> usize {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    loop {
        let mut polled = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, None).expect("poll");
        if !polled[0].revents().contains(rustix::event::PollFlags::IN) {
            return count;
        }
        // SAFETY: both structures are plain data of the size that the ioctl expects.
        #[allow(unsafe_code, reason = "the listener's protocol is another crate's")]
        unsafe {
            let mut request: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(listener.as_raw_fd(), 0xc050_2100, &raw mut request) == 0 {
                let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
                (answer.id, answer.flags) = (request.id, 1);
                libc::ioctl(listener.as_raw_fd(), 0xc018_2101, &raw mut answer);
                count += 1;
            }
        }
    }
}

#[test]
fn two_starts_at_once_do_not_wait_for_each_other() {
    let (first, second) = (shell("exit 1"), shell("exit 2"));
    let mut standing = first.gated(pipe().1).expect("first at the gate");
    assert_eq!(second.run().code, 2, "the second runs while the first stands at its gate");
    standing.release().expect("exec");
    assert_eq!(standing.wait().expect("end"), 1);
}

#[test]
fn how_long_a_start_takes() {
    let made = container(&["/bin/true"]);
    let plan = spec::plan::plan(&made.spec);
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let stdio = tsubo_runtime::Stdio::null().expect("stdio");
            let begin = Instant::now();
            let mut child = tsubo_runtime::spawn(&plan, Options::new(stdio)).expect("spawn");
            child.release().expect("exec");
            child.wait().expect("end");
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!("start to end: median {:?}, least {:?}", times[25], times[0]);
}

#[test]
fn attack_28_one_that_hangs_while_it_sets_itself_up_is_killed_and_told_of() {
    // What it takes for the file of a control group never takes what it writes.
    let (_read, full) = pipe();
    rustix::io::ioctl_fionbio(&full, true).expect("non-blocking");
    while rustix::io::write(&full, &[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).expect("blocking");
    for init in [false, true] {
        let mut made = shell("echo ran");
        made.spec.init = init;
        let mut options = Options::new(stdio(pipe().1));
        options.cgroup_tasks = vec![full.try_clone().expect("dup")];
        options.patience = Duration::from_millis(300);
        let mut seen = 0;
        let see = |child: &mut tsubo_runtime::Child| {
            seen = child.pid();
            Ok(())
        };
        let plan = spec::plan::plan(&made.spec);
        let error = tsubo_runtime::execute(&plan, options, None, see).expect_err("hangs");
        let chain = error.chain();
        assert!(
            chain.contains("hangs while it sets itself up") && chain.contains("system call 1"),
            "{chain}"
        );
        assert!(!std::path::Path::new(&format!("/proc/{seen}")).exists(), "it is gone");
    }
}
