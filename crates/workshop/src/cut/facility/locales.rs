//! Locales: the neutral one and those that the environment names.

use std::collections::BTreeSet;

use spec::report::Reason;

use super::super::scene::{Scene, at};
use super::super::selection::Selection;

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let directory = "/usr/lib/locale";
    if !scene.touched(directory) {
        return;
    }
    let wanted = wanted(scene);
    for (path, _) in scene.entries(&at(directory)) {
        let name = String::from_utf8_lossy(path.name().unwrap_or_default()).to_lowercase();
        if wanted.contains(&name) {
            selection.keep_tree(&path, Reason::Facility, Some(&at(directory)), &|_, _| false);
        }
    }
}

/// The names of the directories, in small letters: `en_US.UTF-8` lies in `en_US.utf8`.
fn wanted(scene: &Scene<'_>) -> BTreeSet<String> {
    let env = scene.request.env.iter();
    let set = env.filter(|(name, _)| name.starts_with("LC_") || *name == "LANG" || *name == "LANGUAGE");
    let values = set.flat_map(|(_, value)| value.split(':'));
    let mut wanted: BTreeSet<String> =
        values.map(|value| value.to_lowercase().replace("utf-8", "utf8")).collect();
    wanted.insert("c.utf8".to_owned());
    wanted
}
