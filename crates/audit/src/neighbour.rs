//! The neighbour: a small service that answers requests and keeps what it is told, and a client that
//! takes the time. `r TIME TOOK` is a request, `f TIME TOOK` a flushed write, in microseconds of the
//! host's monotonic clock; `h USED` is the processor time it got when it wanted all.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

/// The next request, or write, is so much later.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(2);
const BETWEEN_WRITES: Duration = Duration::from_millis(20);

/// Microseconds of the monotonic clock, which is one for all processes of the host.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Runs until its input ends; writes go to `dir`, into a file without a name.
pub fn run(dir: &str) -> u8 {
    // Together with the end of the input: nothing is left of it.
    let bound = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if bound.is_err() || serve(dir).is_err() { 1 } else { 0 }
}

fn serve(dir: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    std::thread::spawn(move || answers(server));
    std::thread::spawn(move || asks(client));
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    if let Ok(file) = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        std::thread::spawn(move || keeps(&File::from(file)));
    }
    listens()
}

/// Some work for each request: a hundredth of a millisecond.
fn answers(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 64];
    loop {
        stream.read_exact(&mut request)?;
        let mut word = u64::from(request[0]);
        for _ in 0..5000 {
            word = std::hint::black_box(word.wrapping_mul(6364136223846793005).wrapping_add(1));
        }
        request[..8].copy_from_slice(&word.to_le_bytes());
        stream.write_all(&request)?;
    }
}

fn asks(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [1; 64];
    loop {
        let start = now();
        stream.write_all(&request)?;
        stream.read_exact(&mut request)?;
        tell('r', start, now() - start);
        std::thread::sleep(BETWEEN_REQUESTS);
    }
}

fn keeps(file: &File) -> std::io::Result<()> {
    let block = [1; 4096];
    for number in 0_u64.. {
        let start = now();
        file.write_all_at(&block, number % 64 * 4096)?;
        file.sync_data()?;
        tell('f', start, now() - start);
        std::thread::sleep(BETWEEN_WRITES);
    }
    Ok(())
}

fn tell(kind: char, at: u64, took: u64) {
    // Who does not read is gone, and ends us.
    let _ = std::io::stdout().lock().write_all(format!("{kind} {at} {took}\n").as_bytes());
}

/// `h` has it want all processors, `q` no more.
fn listens() -> std::io::Result<()> {
    let mut hog: Option<Hog> = None;
    let mut byte = [0];
    while std::io::stdin().read(&mut byte)? > 0 {
        match byte[0] {
            b'h' => hog = Some(Hog::new()),
            b'q' => {
                let used = hog.take().map_or(0, Hog::stop);
                tell('h', now(), used);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A thread for each processor that wants all of it.
struct Hog {
    stop: Arc<AtomicBool>,
    used: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Hog {
    fn new() -> Self {
        let (stop, used) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let (stop, used) = (Arc::clone(&stop), Arc::clone(&used));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..50_000 {
                        std::hint::black_box(0);
                    }
                }
                let time = clock_gettime(ClockId::ThreadCPUTime);
                used.fetch_add(
                    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000,
                    Ordering::Relaxed,
                );
            })
        };
        let threads = (0..count).map(start).collect();
        Self { stop, used, threads }
    }

    /// The processor time that it got.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that only counts does not fail.
        self.threads.into_iter().for_each(|thread| _ = thread.join());
        self.used.load(Ordering::Relaxed)
    }
}
