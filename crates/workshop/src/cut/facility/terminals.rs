//! Terminals: who draws on one kind of terminal draws on the usual ones.

use spec::report::Reason;

use super::super::scene::{Scene, at};
use super::super::selection::Selection;

const DATABASES: [&str; 3] = ["/usr/lib/terminfo", "/lib/terminfo", "/usr/share/terminfo"];
/// Entries by the start of their names.
const USUAL: [&str; 10] =
    ["xterm", "screen", "tmux", "linux", "vt100", "vt220", "ansi", "dumb", "rxvt-unicode", "alacritty"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    if !DATABASES.iter().chain(&["/etc/terminfo"]).any(|database| scene.touched(database)) {
        return;
    }
    for database in DATABASES.map(at) {
        for usual in USUAL {
            let directory = database.join(&usual.as_bytes()[..1]);
            for (path, _) in scene.entries(&directory) {
                if path.name().is_some_and(|name| name.starts_with(usual.as_bytes())) {
                    selection.keep(&path, Reason::Facility, Some(&database));
                }
            }
        }
    }
}
