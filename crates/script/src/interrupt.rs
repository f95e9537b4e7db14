//! The end of scripts that do not end.
//!
//! Luau asks at each call, each turn of a loop and within string patterns. An error alone would be caught by
//! `pcall`, and again; yielding alone does nothing where a function of C is in between (a sort's comparator,
//! a metamethod). So once the time is over each question is answered the other way than the one before: who
//! catches the errors is left by the next yield, who cannot be left is ended by the next error.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use mlua::{Error, Lua, Result, VmState};

use crate::mistake;

/// The clock is asked once in so many questions.
const RARELY: u32 = 32;

/// What a machine remembers of its time.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Cell<Instant>,
    asked: Cell<u32>,
    is_over: Cell<bool>,
    has_raised: Cell<bool>,
    place: RefCell<Option<String>>,
}

impl Watch {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            deadline: Cell::new(deadline),
            asked: Cell::new(0),
            is_over: Cell::new(false),
            has_raised: Cell::new(false),
            place: RefCell::new(None),
        }
    }

    /// More time, for something else.
    pub(crate) fn renew(&self, deadline: Instant) {
        self.deadline.set(deadline);
        self.is_over.set(false);
        self.place.borrow_mut().take();
    }

    /// When it is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Whether the script was ended for its time.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get() || Instant::now() >= self.deadline.get()
    }

    /// Where it was then.
    pub(crate) fn place(&self) -> Option<String> {
        self.place.borrow().clone()
    }

    /// The answer to one question.
    pub(crate) fn answer(&self, lua: &Lua) -> Result<VmState> {
        if !self.is_over.get() {
            self.asked.set(self.asked.get().wrapping_add(1));
            if !self.asked.get().is_multiple_of(RARELY) || Instant::now() < self.deadline.get() {
                return Ok(VmState::Continue);
            }
            self.is_over.set(true);
            *self.place.borrow_mut() = mistake::here(lua);
        }
        self.has_raised.set(!self.has_raised.get());
        if self.has_raised.get() { Err(Error::runtime("its time is over")) } else { Ok(VmState::Yield) }
    }
}
