//! One file per verb.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec_file;
mod start;
mod state;
mod update;

use crate::cli::Verb;

/// All of them.
pub(crate) const VERBS: [&Verb; 17] = [
    &create::VERB,
    &start::VERB,
    &state::VERB,
    &kill::VERB,
    &delete::VERB,
    &run::VERB,
    &exec::VERB,
    &ps::VERB,
    &list::VERB,
    &pause::VERB,
    &resume::VERB,
    &events::VERB,
    &update::VERB,
    &features::VERB,
    &spec_file::VERB,
    &checkpoint::VERB,
    &restore::VERB,
];
