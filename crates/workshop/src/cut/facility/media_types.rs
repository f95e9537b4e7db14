//! Media types: the shared database's indices, not its eight hundred single descriptions.

use spec::report::Reason;

use super::super::scene::{Scene, at};
use super::super::selection::Selection;

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let database = "/usr/share/mime";
    if scene.touched(database) {
        let entries = scene.entries(&at(database));
        let indices = entries.iter().filter(|(_, node)| node.is_file());
        indices.for_each(|(path, _)| selection.keep(path, Reason::Facility, Some(&at(database))));
    }
    if scene.touched("/etc/mime.types") {
        super::keep_files(selection, &["/etc/mime.types"]);
    }
}
