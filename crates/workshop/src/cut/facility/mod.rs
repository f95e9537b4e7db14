//! System facilities: data that belongs to the system and of which another request may need
//! another part. A facility is kept only where it was touched; a failed look-up touches it too.

mod certificates;
mod charsets;
mod fonts;
mod locales;
mod media_types;
mod name_service;
mod terminals;
mod time_zones;

use spec::report::Reason;

use super::scene::{Scene, at};
use super::selection::Selection;

/// Keeps what belongs to each facility that was touched.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let facilities = [
        certificates::apply,
        charsets::apply,
        fonts::apply,
        locales::apply,
        media_types::apply,
        name_service::apply,
        terminals::apply,
        time_zones::apply,
    ];
    facilities.iter().for_each(|facility| facility(scene, selection));
}

/// Keeps single files of a facility, where they exist.
fn keep_files(selection: &mut Selection<'_>, files: &[&str]) {
    files.iter().for_each(|file| selection.keep(&at(file), Reason::Facility, None));
}

/// Keeps a directory of a facility with all below it.
fn keep_directory(selection: &mut Selection<'_>, directory: &str) {
    selection.keep_tree(&at(directory), Reason::Facility, None, &|_, _| false);
}

#[cfg(test)]
mod tests;
