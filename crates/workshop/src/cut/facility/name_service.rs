//! Names of users, groups, hosts and services: whoever asked for one may ask for any. At the
//! level `package` they are kept in any case: a few kilobytes that nearly every program comes to.

use std::collections::BTreeSet;

use spec::report::Reason;

use super::super::Level;
use super::super::boundaries::library_directories;
use super::super::scene::{Scene, at};
use super::super::selection::Selection;

/// The files that are asked, and that say who is asked.
const FILES: [&str; 13] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    "/etc/hostname",
    "/etc/rpc",
    "/etc/ethers",
];
/// What is asked where there is no /etc/nsswitch.conf.
const USUAL: [&str; 2] = ["files", "dns"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let touched = FILES.iter().any(|file| scene.touched(file));
    if !touched && scene.request.level < Level::Package {
        return;
    }
    super::keep_files(selection, &FILES);
    let named = sources(scene);
    for directory in library_directories(scene) {
        for (path, _) in scene.entries(&directory) {
            let name = String::from_utf8_lossy(path.name().unwrap_or_default()).into_owned();
            let source = name.strip_prefix("libnss_").and_then(|rest| rest.split(['.', '-']).next());
            if source.is_some_and(|source| named.contains(source)) || name.starts_with("libresolv.so.") {
                selection.keep(&path, Reason::Facility, Some(&at("/etc/nsswitch.conf")));
            }
        }
    }
}

/// Who nsswitch.conf says is asked: `hosts: files mdns4 [NOTFOUND=return] dns`. Not for netgroup:
/// it names nis everywhere and is used nowhere.
fn sources(scene: &Scene<'_>) -> BTreeSet<String> {
    let text = scene.tree.read_file(&at("/etc/nsswitch.conf"), 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
    let lists = lines.filter(|(database, _)| database.trim() != "netgroup").map(|(_, sources)| sources);
    let named = lists.flat_map(str::split_whitespace).filter(|word| !word.starts_with('['));
    named.chain(USUAL).map(str::to_owned).collect()
}
