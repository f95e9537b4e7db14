//! Character sets: iconv was used for one, the next request may come in another. The common ones,
//! not the eight megabytes of all.

use spec::report::Reason;

use super::super::boundaries::library_directories;
use super::super::scene::{Scene, at};
use super::super::selection::Selection;

/// Converters of glibc by the start of their names.
const COMMON: [&[u8]; 8] =
    [b"gconv-modules", b"UTF-", b"UNICODE", b"ISO8859-", b"CP125", b"libJIS", b"EUC-", b"SJIS"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    for directory in library_directories(scene) {
        let converters = directory.join(b"gconv");
        let used = scene.touched(&converters.to_string());
        for (path, node) in scene.entries(&converters).into_iter().filter(|_| used) {
            let common = path.name().is_some_and(|name| COMMON.iter().any(|start| name.starts_with(start)));
            if common && node.is_directory() {
                selection.keep_tree(&path, Reason::Facility, Some(&converters), &|_, _| false);
            } else if common {
                selection.keep(&path, Reason::Facility, Some(&converters));
            }
        }
    }
    if scene.touched("/usr/share/i18n/charmaps") {
        let charmaps = scene.entries(&at("/usr/share/i18n/charmaps"));
        let common = |name: &[u8]| name.starts_with(b"UTF-8") || name.starts_with(b"ISO-8859-");
        let common = charmaps.iter().filter(|(path, _)| path.name().is_some_and(common));
        common.for_each(|(path, _)| selection.keep(path, Reason::Facility, None));
    }
}
