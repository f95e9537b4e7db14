//! What was seen: every path of the base that the service or an exercise used.

use spec::RootPath;
use spec::observation::{Use, Written};
use spec::report::Reason;

use super::scene::{Scene, is_foreign};
use super::selection::Selection;

/// Keeps what was used.
///
/// * A file that was only looked at keeps its content: its size was part of the answer.
/// * A symlink that was only read (readlink) does not bring its target: had the program gone on to
///   it, the target would have been seen by itself.
/// * A file that was changed or removed by the run is kept as it was before.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    for used in &scene.used {
        let only_read = used.usage.how.iter().all(|how| matches!(how, Use::Followed | Use::Missing));
        selection.keep_used(used.path, used.usage, !only_read, used.was(Use::Executed));
    }
    for (path, written) in &scene.request.observation.written {
        keep_written(scene, selection, path, written);
    }
    // The runtime starts the service in it.
    selection.keep(scene.request.cwd, Reason::Used, None);
}

/// What was written must be there to be written: the file, or the directory that it came into.
fn keep_written(scene: &Scene<'_>, selection: &mut Selection<'_>, path: &RootPath, written: &Written) {
    let there = !matches!(written, Written::Created { .. }) && scene.tree.resolve_entry(path).found;
    let place =
        if there { Some(path.clone()) } else { path.ancestors().find(|p| scene.tree.resolve(p).found) };
    if let Some(place) = place.filter(|place| !is_foreign(place)) {
        selection.keep(&place, Reason::Used, None);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, assert_files, has, path};

    #[test]
    fn prog_beside_prog_11() {
        let root = Sample::new("prog");
        root.program("/bin/prog", "#!/bin/prog.11\n");
        root.program("/bin/prog.11", "x");
        root.program("/bin/prog.1", "x");
        let cut = root.cut(Level::Exact, &[("/bin/prog", Use::Executed)]);
        assert_files(&cut, &["/", "/bin/prog", "/bin/prog.11"]);
    }

    #[test]
    fn a_chain_of_links_is_kept_whole() {
        let root = Sample::new("chain");
        root.file("/real/deep/data", "x");
        root.file("/real/deep/other", "x");
        root.link("/e", "/real/deep/../deep/data");
        root.link("/four/d", "../e");
        root.link("/three", "four");
        root.link("/two/b", "../three/d");
        root.link("/one", "/../two/./b");
        let cut = root.cut(Level::Exact, &[("/one", Use::Opened)]);
        assert_files(&cut, &["/", "/e", "/four/d", "/one", "/real/deep/data", "/three", "/two/b"]);
        assert_eq!(cut.report.kept[&path("/e")].because_of, Some(path("/one")));
        assert_eq!(cut.report.kept[&path("/one")].by.len(), 1);
        let read = root.cut(Level::Exact, &[("/one", Use::Followed)]);
        assert_files(&read, &["/", "/one"]);
    }

    #[test]
    fn through_a_symlinked_directory() {
        let root = Sample::new("merged");
        root.file("/usr/lib/x", "x");
        root.link("/lib", "usr/lib");
        let cut = root.cut(Level::Exact, &[("/lib/x", Use::LookedAt)]);
        assert_files(&cut, &["/", "/lib", "/usr/lib/x"]);
        assert!(has(&cut, "/usr"));
    }

    #[test]
    fn of_a_socket_the_way_to_it() {
        let root = Sample::new("socket");
        let _socket = UnixListener::bind(root.at("/run/db/.s")).expect("a socket");
        root.link("/var/run", "/run");
        root.link("/var/db", "run/db/.s");
        let cut = root.cut(Level::Exact, &[("/var/run/db/.s", Use::Opened), ("/var/db", Use::LookedAt)]);
        assert!(["/var/run", "/run/db", "/var/db"].iter().all(|way| has(&cut, way)), "{:?}", cut.paths);
        assert!(!has(&cut, "/run/db/.s"), "never itself");
        let cut = root.cut(Level::Exact, &[("/var/db", Use::LookedAt)]);
        assert!(["/var/run", "/run/db", "/var/db"].iter().all(|way| has(&cut, way)), "{:?}", cut.paths);
    }

    #[test]
    fn listed_and_empty_directories_stay_without_their_entries() {
        let root = Sample::new("listed");
        root.directory("/var/lib/data");
        root.file("/etc/conf.d/unused", "x");
        let cut = root.cut(Level::Exact, &[("/var/lib/data", Use::LookedAt), ("/etc/conf.d", Use::Listed)]);
        assert_files(&cut, &["/", "/etc/conf.d", "/var/lib/data"]);
    }

    #[test]
    fn of_hard_links_only_the_names_that_were_used() {
        let root = Sample::new("hard");
        root.file("/a", "12345");
        for name in ["/b", "/c"] {
            fs::hard_link(root.at("/a"), root.at(name)).expect("link");
        }
        let cut = root.cut(Level::Exact, &[("/a", Use::Opened), ("/b", Use::Opened)]);
        assert_files(&cut, &["/", "/a", "/b"]);
        assert_eq!((cut.report.files, cut.report.bytes), (2, 5));
        assert_eq!((cut.report.base_files, cut.report.base_bytes), (3, 5));
    }

    #[test]
    fn what_the_run_made_and_what_is_the_kernels_never_ships() {
        let root = Sample::new("made");
        root.file("/dev/null", "x");
        root.file("/secret", "x");
        let mut seen =
            root.seen(&[("/dev/null", Use::Opened), ("/new", Use::Opened), ("/secret", Use::Opened)]);
        seen.paths.get_mut(&path("/secret")).expect("noted").stamp = None;
        let cut = super::super::sample::Asked::default().cut(&root, &seen).expect("cut");
        assert!(!has(&cut, "/dev/null") && !has(&cut, "/new") && !has(&cut, "/secret"));
        assert!(cut.warnings.iter().any(|warning| warning.contains("/secret")), "{:?}", cut.warnings);
    }
}
