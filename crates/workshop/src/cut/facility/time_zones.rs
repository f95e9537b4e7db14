//! Time zones: whoever asked what time it is somewhere may ask for anywhere.

use spec::report::Reason;

use super::super::scene::{Scene, at};
use super::super::selection::Selection;

const ZONES: &str = "/usr/share/zoneinfo";
/// The same zones once more, with and without leap seconds.
const TWICE: [&[u8]; 2] = [b"right", b"posix"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let told = scene.request.env.contains_key("TZ");
    if told || ["/etc/localtime", "/etc/timezone", ZONES].iter().any(|path| scene.touched(path)) {
        super::keep_files(selection, &["/etc/localtime", "/etc/timezone"]);
        let zones = at(ZONES);
        let twice = |path: &spec::RootPath| TWICE.iter().any(|name| *path == zones.join(name));
        selection.keep_tree(&zones, Reason::Facility, Some(&at("/etc/localtime")), &|path, _| twice(path));
    }
}
