//! One file for each verb.

mod asked;
pub mod attach;
pub mod audit;
pub mod boot;
pub mod build;
pub mod capacity;
pub mod contents;
pub mod cp;
pub mod create;
pub mod definition;
pub mod dev;
pub mod diff;
pub mod events;
pub mod exec;
mod forecast;
mod free_name;
pub mod gateway;
pub mod gc;
pub mod generate;
pub mod group;
pub mod history;
pub mod hooks;
pub mod images;
pub mod import_haco;
pub mod info;
pub mod inspect;
pub mod install;
pub mod isolation;
pub mod kill;
mod life_flags;
mod limit_flags;
pub mod logs;
pub mod network;
mod network_flags;
mod network_words;
pub mod observation;
pub mod pack;
pub mod path;
pub mod pause;
pub mod place;
pub mod plan;
pub mod port;
pub mod ps;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod sampler;
pub mod script;
pub mod signal;
mod sister;
pub mod specification;
pub mod start;
pub mod stats;
mod stats_table;
pub mod stop;
mod terminal_flags;
pub mod test;
pub mod top;
pub mod unpause;
pub mod update;
pub mod wait;

pub use place::Place;

/// Does `work` for every name; all are tried, the last failure is returned, the others are shown.
fn for_each(names: &[String], mut work: impl FnMut(&str) -> spec::Result<()>) -> spec::Result<u8> {
    let mut failures: Vec<spec::Error> = names.iter().filter_map(|name| work(name).err()).collect();
    match failures.pop() {
        None => Ok(0),
        Some(last) => {
            failures.iter().for_each(crate::ui::error::show);
            Err(last)
        }
    }
}
