//! What is shown, and what keys do to it.

use std::cmp::Reverse;

use lifecycle::Home;
use lifecycle::figures::{Figures, Snapshot, Survey};
use lifecycle::history::{Bucket, Mark};
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use spec::{Id, Result};

use crate::past::{Past, minutes};
use crate::{depth, list};

/// By what the list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Cpu,
    Memory,
    Io,
    Pids,
    Name,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Quit,
}

/// Everything that is on the screen.
pub(crate) struct App {
    home: Home,
    survey: Survey,
    pub(crate) snapshot: Snapshot,
    pub(crate) past: Vec<Past>,
    pub(crate) order: Order,
    /// Also those that do not run.
    pub(crate) all: bool,
    pub(crate) selected: Option<Id>,
    pub(crate) table: TableState,
    /// The selected one alone.
    pub(crate) deep: bool,
    pub(crate) minutes: Vec<Bucket>,
    pub(crate) marks: Vec<Mark>,
}

impl App {
    pub(crate) fn new(home: &Home) -> Result<Self> {
        let mut survey = Survey::of(home);
        let snapshot = survey.look(&|_, _, running| running)?;
        let mut app = Self {
            home: home.clone(),
            survey,
            snapshot,
            past: Vec::new(),
            order: Order::Cpu,
            all: false,
            selected: None,
            table: TableState::default(),
            deep: false,
            minutes: Vec::new(),
            marks: Vec::new(),
        };
        app.arrange();
        Ok(app)
    }

    /// Looks again.
    pub(crate) fn look(&mut self) -> Result<()> {
        let all = self.all;
        self.snapshot = self.survey.look(&|_, _, running| all || running)?;
        self.past.retain(|past| self.snapshot.containers.iter().any(|one| one.id == past.id));
        for one in &self.snapshot.containers {
            let at = self.past.iter().position(|past| past.id == one.id).unwrap_or_else(|| {
                self.past.push(Past::new(one.id));
                self.past.len() - 1
            });
            self.past[at].add(one);
        }
        self.arrange();
        self.remember();
        Ok(())
    }

    /// What a sampler knows of the one that is shown alone. Without one there is nothing to tell.
    fn remember(&mut self) {
        let Some(one) = self.current().filter(|_| self.deep) else { return };
        let containers = lifecycle::Containers::of(&self.home);
        let found = containers
            .find(one.name.as_str())
            .and_then(|own| lifecycle::history::History::of(&self.home, &own));
        let history = found.unwrap_or_default();
        self.minutes = minutes(&history, self.snapshot.time_ms);
        self.marks = history.marks;
    }

    /// Sorts, and keeps the selection where it was.
    fn arrange(&mut self) {
        let order = self.order;
        self.snapshot.containers.sort_by_key(|one| (Reverse(weight(one, order)), one.name.clone()));
        let at = |id| self.snapshot.containers.iter().position(|one| Some(one.id) == id);
        let last = self.snapshot.containers.len().saturating_sub(1);
        let index = at(self.selected).or_else(|| self.table.selected()).map_or(0, |at| at.min(last));
        self.select(index);
    }

    fn select(&mut self, index: usize) {
        let last = self.snapshot.containers.len().saturating_sub(1);
        let chosen = self.snapshot.containers.get(index.min(last));
        self.selected = chosen.map(|one| one.id);
        self.table.select(chosen.map(|_| index.min(last)));
    }

    /// The selected one.
    pub(crate) fn current(&self) -> Option<&Figures> {
        self.snapshot.containers.iter().find(|one| Some(one.id) == self.selected)
    }

    pub(crate) fn past_of(&self, id: Id) -> Option<&Past> {
        self.past.iter().find(|past| past.id == id)
    }

    /// What a key does.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::GoOn;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Next::Quit,
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left if self.deep => self.deep = false,
            KeyCode::Esc => return Next::Quit,
            KeyCode::Enter | KeyCode::Right => self.dive(),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('a') => self.all = !self.all,
            KeyCode::Char(letter) => self.sort(letter),
            _ => {}
        }
        Next::GoOn
    }

    fn dive(&mut self) {
        self.deep = self.current().is_some();
        self.remember();
    }

    fn step(&mut self, by: isize) {
        let at = self.table.selected().unwrap_or(0);
        self.select(at.saturating_add_signed(by));
        self.remember();
    }

    fn sort(&mut self, letter: char) {
        self.order = match letter {
            'c' => Order::Cpu,
            'm' => Order::Memory,
            'i' => Order::Io,
            'p' => Order::Pids,
            'n' => Order::Name,
            _ => return,
        };
        self.arrange();
    }

    /// Draws everything.
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>) {
        if self.deep && self.current().is_some() { depth::draw(frame, self) } else { list::draw(frame, self) }
    }
}

fn weight(one: &Figures, order: Order) -> u64 {
    let hundredths = |value: Option<f64>| value.map_or(0, |value| (value * 100.0) as u64);
    match order {
        Order::Cpu => hundredths(one.cpu.percent),
        Order::Memory => one.memory.counts.working_set.unwrap_or(0),
        Order::Io => one
            .io
            .as_ref()
            .map_or(0, |io| hundredths(io.read_bytes_per_second) + hundredths(io.written_bytes_per_second)),
        Order::Pids => one.pids.current.unwrap_or(0),
        Order::Name => 0,
    }
}
