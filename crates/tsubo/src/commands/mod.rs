//! One file for each verb.

pub mod build;
pub mod contents;
pub mod dev;
pub mod diff;
pub mod exec;
pub mod gc;
pub mod generate;
pub mod images;
pub mod info;
pub mod inspect;
pub mod install;
pub mod kill;
pub mod logs;
pub mod observation;
pub mod pack;
pub mod path;
pub mod place;
pub mod ps;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod stop;
pub mod test;

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
