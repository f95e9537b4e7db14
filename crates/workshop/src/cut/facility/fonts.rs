//! Fonts: fontconfig's rules, and the fonts beside those that were used.

use spec::report::Reason;

use super::super::scene::{Scene, at};
use super::super::selection::Selection;

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let tops = ["/usr/share/fonts", "/usr/local/share/fonts"];
    if !tops.iter().chain(&["/etc/fonts"]).any(|top| scene.touched(top)) {
        return;
    }
    ["/etc/fonts", "/usr/share/fontconfig"]
        .iter()
        .for_each(|directory| super::keep_directory(selection, directory));
    for top in tops.map(at) {
        for used in scene.used_below(&top).filter(|used| used.was_read() && used.is_file(scene)) {
            if let Some(directory) = used.real.parent().filter(|directory| *directory != top) {
                selection.keep_tree(&directory, Reason::Facility, Some(&used.real), &|_, _| false);
            }
        }
    }
}
