//! Clients that ask all the while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::client::Client;

/// Some threads, each of which asks again as soon as it is answered.
pub struct Load {
    ends: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Told>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Told {
    /// Requests that were answered by 200.
    pub good: usize,
    /// Everything else.
    pub bad: Vec<String>,
    /// The runs of the program that have answered.
    pub runs: BTreeSet<String>,
}

impl Load {
    /// Every other thread keeps its connection, as long as it may.
    pub fn start(port: u16, threads: usize, path: &'static str) -> Self {
        let (ends, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begin = |number: usize| {
            let (ends, asked) = (Arc::clone(&ends), Arc::clone(&asked));
            std::thread::spawn(move || ask(port, path, number % 2 == 0, &ends, &asked))
        };
        let threads = (0..threads).map(begin).collect();
        Self { ends, asked, threads }
    }

    /// How many answers there were until now.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits for so many answers more.
    #[track_caller]
    pub fn until_more(&self, count: usize) {
        let before = self.asked();
        super::until("requests are answered", || self.asked() >= before + count);
    }

    pub fn end(self) -> Told {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a client")).fold(Told::default(), add)
    }
}

fn add(mut all: Told, one: Told) -> Told {
    all.good += one.good;
    all.bad.extend(one.bad);
    all.runs.extend(one.runs);
    all
}

fn ask(port: u16, path: &str, keeps: bool, ends: &AtomicBool, asked: &AtomicUsize) -> Told {
    let mut told = Told::default();
    let mut kept: Option<Client> = None;
    while !ends.load(Ordering::Relaxed) {
        let used = kept.take().and_then(|mut client| Some((client.again(path)?, client)));
        let answer = match used {
            Some((answer, client)) => answer.map(|answer| (answer, client)),
            None => Client::try_new(port).and_then(|mut client| Ok((client.get(path)?, client))),
        };
        match answer {
            Ok((answer, client)) if answer.status == 200 => {
                told.good += 1;
                told.runs.insert(answer.run().to_owned());
                kept = Some(client).filter(|_| keeps);
            }
            Ok((answer, _)) => told.bad.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => told.bad.push(error.to_string()),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    told
}
