//! Which limits this host enforces, where, and what holds where nobody says anything.

use std::path::PathBuf;

use lifecycle::enforceable::{self, Word};
use serde_json::{Value, json};
use spec::Result;
use spec::limits::Size;
use spec::resources::Resources;

use crate::ui;

/// What was found.
pub(super) struct Limits {
    words: Vec<Word>,
    places: Vec<PathBuf>,
    one: Resources,
    all: Resources,
}

impl Limits {
    /// Tries them.
    pub(super) fn look() -> Result<Self> {
        let (one, all) = enforceable::defaults();
        Ok(Self { words: enforceable::words()?, places: enforceable::places(), one, all })
    }

    pub(super) fn json(&self) -> Value {
        let word = |word: &Word| {
            json!({
                "word": word.word,
                "enforced": word.obstacle.is_none(),
                "reason": word.obstacle.as_ref().map(spec::Error::chain),
                "hints": word.obstacle.as_ref().map(|error| error.hints().to_vec()).unwrap_or_default(),
            })
        };
        json!({
            "words": self.words.iter().map(word).collect::<Vec<_>>(),
            "groups": self.places,
            "one": room(&self.one),
            "all": room(&self.all),
        })
    }

    pub(super) fn print(&self) {
        let held: Vec<&str> =
            self.words.iter().filter(|word| word.obstacle.is_none()).map(|word| word.word).collect();
        let mut table = ui::table::new(&["LIMITS", ""]);
        let mut row = |what: &str, value: String| {
            table.add_row([what.to_owned(), value]);
        };
        row("enforced here", held.join(", "));
        for Word { word, obstacle } in &self.words {
            if let Some(obstacle) = obstacle {
                let hint = obstacle.hints().first().map(|hint| format!("; {hint}")).unwrap_or_default();
                row(word, format!("not here: {}{hint}", obstacle.chain().replace('\n', " ")));
            }
        }
        row("one container", told(&self.one));
        row("all together", told(&self.all));
        let places: Vec<String> = self.places.iter().map(|place| place.display().to_string()).collect();
        row("their groups", places.join("\n"));
        ui::line("");
        ui::table::print(&table);
    }
}

fn room(resources: &Resources) -> Value {
    json!({ "memory": resources.memory.max, "swap": resources.memory.swap, "pids": resources.pids })
}

/// Where nobody says anything.
fn told(resources: &Resources) -> String {
    let memory = resources.memory.max.map(|limit| format!("{} of memory", Size(limit)));
    let swap = resources.memory.swap.map(|limit| match limit.number() {
        Some(0) => "no swap".to_owned(),
        _ => format!("{} of swap", Size(limit)),
    });
    let pids = resources.pids.map(|limit| format!("{limit} processes"));
    [memory, swap, pids].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
