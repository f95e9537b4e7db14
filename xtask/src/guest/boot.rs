//! One run of the guest: qemu without help of the processor, watched until it switches itself off.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::fetch;
use super::image::Image;
use super::kernel::Kernel;
use super::results::Results;
use crate::shell::{self, Result};

/// On two processors that do nothing else it takes a quarter of it.
const LONGEST: Duration = Duration::from_secs(600);

/// What the kernel is told. What guards against other tenants of a processor only costs time here.
const WORDS: &str =
    "console=ttyS0 panic=-1 quiet cgroup_no_v1=all mitigations=off nokaslr init_on_alloc=0 audit=0";

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// Boots it and takes in what it tells; an error where it did not come to its end.
pub(super) fn run(kernel: &Kernel, image: &Image, results: &mut Results<'_>) -> Result {
    let console = fetch::home("image")?.join("console.log");
    let mut guest = Guest(command(kernel, image, &console).spawn().map_err(|e| format!("{QEMU}: {e}"))?);
    let lines = lines(guest.0.stdout.take().ok_or("qemu without a line")?);
    let told = listen(&lines, results);
    drop(guest);
    if told.is_ok() && results.ended() {
        return Ok(());
    }
    shell::unless_interrupted()?;
    let why = told.err().map_or("the guest ended too early".to_owned(), |error| error.to_string());
    Err(format!("{why}; its console:\n{}", last(&fs::read(&console).unwrap_or_default())).into())
}

/// The end of what the console shows, and the reason of a panic, after which much more follows.
fn last(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<&str> = text.lines().collect();
    let (before, last) = lines.split_at(lines.len().saturating_sub(40));
    let panic = before.iter().filter(|line| line.contains("Kernel panic"));
    panic.chain(last).copied().collect::<Vec<_>>().join("\n")
}

fn command(kernel: &Kernel, image: &Image, console: &std::path::Path) -> Command {
    let mut command = Command::new(QEMU);
    command
        .args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "2048"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&image.archive)
        .args(["-append", WORDS])
        .arg("-drive")
        .arg(format!("file={},if=virtio,format=raw,cache=unsafe", image.disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Ends when we fail or are interrupted, too.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It has switched itself off, or else it has to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(stream: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Until the line is closed, or it takes too long.
fn listen(lines: &Receiver<String>, results: &mut Results<'_>) -> Result {
    let end = Instant::now() + LONGEST;
    loop {
        shell::unless_interrupted()?;
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => results.take(&line).iter().for_each(|shown| println!("{shown}")),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if Instant::now() > end => {
                return Err(format!("the guest did not end within {} s", LONGEST.as_secs()).into());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reason_of_a_panic_is_shown_though_it_is_long_gone() {
        let trace = "? frame\n".repeat(60);
        let shown = super::last(format!("noise\nKernel panic - not syncing: x\n{trace}").as_bytes());
        assert!(shown.starts_with("Kernel panic") && shown.lines().count() == 41, "{shown}");
    }
}
