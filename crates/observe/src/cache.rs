//! Remembers what a path meant, so that asking for it again costs little more than the trap.
//!
//! Only absolute paths of processes that see the container as its first process does. Before a
//! memory is used it is checked whether the end of the path is still what it was; what could
//! change the way there (renames, links, mounts) makes everything forgotten.

use std::collections::HashMap;

use rustix::fs::AtFlags;
use spec::RootPath;
use spec::observation::{Stage, Use};

use crate::mounts::{Meta, Places};
use crate::programs::Program;

/// What a call asked for: the path, and everything else that decides how it is noted.
pub(crate) type Question = (u64, Vec<u8>);

/// What it meant.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it used.
    pub(crate) uses: Vec<(RootPath, Use)>,
    /// Where it ended, or what was missing.
    pub(crate) end: RootPath,
    /// What was there.
    pub(crate) there: Option<Meta>,
    /// Who asked already, and when.
    pub(crate) noted: Vec<(Option<Program>, Stage)>,
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<Question, Answer>);

/// A service that asks for ever new paths does not fill our memory.
const MOST: usize = 100_000;

impl Cache {
    /// The answer, if it still holds.
    pub(crate) fn get(&mut self, places: &Places, question: &Question) -> Option<&mut Answer> {
        let answer = self.0.get_mut(question)?;
        let now = Meta::at(places.root(), answer.end.relative(), AtFlags::SYMLINK_NOFOLLOW);
        let holds = match (&answer.there, now) {
            (Some(then), Ok(now)) => then.same_file(&now) && then.mode == now.mode,
            (None, Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)) => true,
            _ => false,
        };
        holds.then_some(answer)
    }

    pub(crate) fn put(&mut self, question: Question, answer: Answer) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(question, answer);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
