//! Perl: the standard library's directories of which something was used, and the modules of
//! vendor and site.

use spec::RootPath;
use spec::report::Reason;

use super::super::scene::Scene;
use super::super::selection::Selection;
use super::{directories_above, exists, keep_used_modules, name_is};
use crate::base_tree::Node;

/// Parts of the standard library for the making of modules, the books, and the tables of
/// alphabets' orders. Not `Pod`: programs load it late, to show how they are used.
const NOT_FOR_SERVICES: [&[u8]; 7] = [b"pod", b"CPAN", b"CPAN.pm", b"ExtUtils", b"TAP", b"Test2", b"Collate"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let is_standard = |path: &RootPath| {
        let modules: [&[u8]; 2] = [b"strict.pm", b"Config.pm"];
        let perl = path.as_bytes().windows(5).any(|part| part == b"/perl");
        perl && modules.iter().any(|module| exists(scene, &path.join(module)))
    };
    for (library, because) in directories_above(scene, &is_standard) {
        let skip = |path: &RootPath, _: &Node| {
            name_is(path, |name| {
                NOT_FOR_SERVICES.contains(&name) || name.ends_with(b".pod") || name.ends_with(b".h")
            })
        };
        selection.keep_tree(&library, Reason::Language, Some(&because), &skip);
    }
    let vendor =
        directories_above(scene, &|path| name_is(path, |name| name == b"perl5" || name == b"site_perl"));
    vendor.keys().for_each(|library| keep_used_modules(scene, selection, library));
}
