//! What went wrong elsewhere, and which of our tests tries it: a test says so by its name
//! (`attack_13_…`, `attacks_33_to_36_…`, `fault_f2_…`, `lesson_cve_2025_52881_…`). The page
//! `docs/security.md` has the list, and a test here fails where a lesson has no test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::shell::Result;
use crate::{house, sources, table};

/// Number and lesson: the attacks on a runtime, then the faults.
const LESSONS: &[(&str, &str)] = &[
    ("1", "config.json of 100 MB, or nested 100,000 deep"),
    ("2", "keys that are there twice, NUL, invalid UTF-8, what is no bundle"),
    ("3", "a root that is a link, or leads out with `..`"),
    ("4", "a mount destination through a link, dangling or not, or /proc/self/fd/N"),
    ("5", "/proc, /sys or /dev of the image is a link"),
    ("6", "a fake /dev/null or /dev/pts/ptmx"),
    ("7", "a working directory that leads outside"),
    ("8", "unknown capabilities, an inheritable set"),
    ("9", "users and groups of 2^31, 2^32 and -1"),
    ("10", "id mappings that overlap, or 10,000 of them"),
    ("11", "hostile kernel parameters: core_pattern, `..`, `/`, a new line"),
    ("12", "hooks: a relative path, a huge state, one that never reads it"),
    ("13", "the destination or source of a mount is swapped during setup"),
    ("14", "a volume is shared, and masked paths are swapped in it"),
    ("15", "read-only paths are swapped"),
    ("16", "/dev/console, /dev/pts or /dev is swapped"),
    ("17", "`cp` while the container swaps components of the path"),
    ("18", "mounts inside appear on the host (rshared)"),
    ("19", "a read-only bind is made writable, or has writable holes below"),
    ("20", "the runtime's program is overwritten through /proc/self/exe"),
    ("21", "descriptors that leak into run and exec"),
    ("22", "exec into a container that is stopped, paused, dying"),
    ("23", "a set-uid program under no_new_privs"),
    ("24", "ptrace of the process that joins"),
    ("25", "TIOCSTI, with high bits too; a terminal of the caller"),
    ("26", "a number that is somebody else's by the time of the signal"),
    ("27", "the caller's keyring"),
    ("28", "the first process is stopped (SIGSTOP) while it starts"),
    ("29", "release_agent of version 1"),
    ("30", "core_pattern, modprobe, sysrq, uevent_helper, binfmt_misc"),
    ("31", "kcore, kmsg, timer_list, sched_debug"),
    ("32", "mknod of a disk, open_by_handle_at"),
    ("33", "a new user namespace by clone, unshare, clone3"),
    ("34", "mount, fsopen, open_tree, move_mount"),
    ("35", "bpf, perf_event_open, userfaultfd, io_uring, keyctl"),
    ("36", "calls of x32 and i386"),
    ("37", "an answer to a call whose caller has died, or has changed its pointer"),
    ("38", "AF_ALG, AF_VSOCK, packet sockets, netlink"),
    ("F1", "killed at any system call of create, start, exec, delete"),
    ("F2", "ENOSPC, EMFILE, ENOMEM, EINTR, EIO at any call; no more processes"),
    ("F3", "who keeps or called it is killed"),
    ("F4", "hundreds are made, started, stopped, removed at once"),
    ("F6", "a full disk, no inodes"),
    ("F7", "read-only state, read-only control groups"),
    ("F8", "who keeps it has no memory left"),
    ("F9", "numbers of processes are used again"),
    ("F10", "the clock jumps"),
    ("F11", "state of another boot"),
    ("F12", "it ignores TERM; zombies, orphans"),
    ("F13", "nobody reads its output; floods, a line of 100 MB"),
    ("F14", "who keeps it is stopped (SIGSTOP), and goes on"),
    ("F15", "its groups, network, root are taken away behind our back"),
    ("F16", "the program is replaced while containers run"),
    ("F17", "many one after the other"),
];

/// CVE, what it was, and the lesson above whose tests try it; nothing where tests bear its own name.
const CVES: &[(&str, &str, &[&str])] = &[
    ("2019-5736", "the host's runtime is overwritten after exec of `#!/proc/self/exe`", &["20"]),
    ("2019-16884", "an image with its own /proc redirects what is written there", &[]),
    ("2019-19921", "a root whose /proc or /sys is a link; also 2023-27561, 2023-28642", &["5", "14"]),
    ("2021-30465", "targets of mounts are swapped; 2024-45310: and made on the host", &["13"]),
    ("2021-43784", "more than 64 KiB of mappings between parent and child", &[]),
    ("2022-29162", "inheritable capabilities; also 2022-27650, 2022-24769", &["8"]),
    ("2023-25809", "/sys/fs/cgroup is writable without a control group namespace", &[]),
    ("2024-21626", "a descriptor or working directory of the host", &["7", "21"]),
    ("2025-31133", "masking with a /dev/null that is something else", &["6", "14"]),
    ("2025-52565", "/dev/pts/N is swapped for a link", &["16"]),
    ("2025-52881", "a fake file of procfs takes what is written", &[]),
    ("2026-41579", "/dev of the image is a link; also 2026-47766", &["5", "16"]),
    ("2026-30892", "`exec -u` of nonsense is another user", &[]),
    ("2022-0811", "a parameter's value with `+` or a new line sets core_pattern", &["11"]),
    ("2022-0492", "release_agent without the host's privilege", &["29"]),
    ("2022-0185", "a user namespace made inside", &["33"]),
    ("2016-8649", "descriptors that a joining process leaks", &["21"]),
    ("2018-6556", "a set-uid helper tells of files; also 2022-47952", &[]),
    ("2017-5226", "TIOCSTI; 2019-10063: with high bits", &["25"]),
    ("2025-24965", "files for a helper are written through a link of the image", &["4"]),
];

/// Where the list stands in the page.
const MARKS: [&str; 2] = ["<!-- attacks -->", "<!-- /attacks -->"];

/// The page.
pub(crate) const PAGE: &str = "docs/security.md";

/// Tests by lesson.
type Tests = BTreeMap<String, Vec<Test>>;

struct Test {
    /// The crate's directory.
    home: String,
    name: String,
}

/// Writes the list anew.
pub(crate) fn write() -> Result {
    let path = house::top().join(PAGE);
    let page = fs::read_to_string(&path)?;
    Ok(fs::write(path, between(&page, MARKS, &list()?)?)?)
}

/// A page with something else between two marks.
pub(crate) fn between(page: &str, [from, to]: [&str; 2], text: &str) -> Result<String> {
    let split = || page.split_once(from).and_then(|(before, rest)| Some((before, rest.split_once(to)?.1)));
    let (before, after) = split().ok_or_else(|| format!("there is no {from} … {to}"))?;
    Ok(format!("{before}{from}\n{}\n{to}{after}", text.trim_end()))
}

/// Both tables.
fn list() -> Result<String> {
    let tests = find(&house::top())?;
    let mut rows = vec![["", "lesson", "`tsubo-oci`", "`tsubo`", "below both"].map(str::to_owned).to_vec()];
    for (number, lesson) in LESSONS {
        let of = |home: fn(&str) -> bool| {
            named(tests.get(*number).into_iter().flatten().filter(|t| home(&t.home)))
        };
        let columns = [of(|home| home == "oci"), of(upper), of(|home| home != "oci" && !upper(home))];
        rows.push([vec![(*number).to_owned(), (*lesson).to_owned()], columns.to_vec()].concat());
    }
    let mut cves = vec![["CVE", "what it was", "tried by"].map(str::to_owned).to_vec()];
    for (cve, what, lessons) in CVES {
        let own = named(tests.get(*cve).into_iter().flatten());
        let others = lessons.join(", ");
        let tried = [others, own].into_iter().filter(|one| !one.is_empty()).collect::<Vec<_>>().join("; ");
        cves.push(vec![(*cve).to_owned(), (*what).to_owned(), tried]);
    }
    Ok(format!("\n{}\n\n{}\n", table::markdown(&rows), table::markdown(&cves)))
}

fn upper(home: &str) -> bool {
    matches!(home, "tsubo" | "keeper")
}

fn named<'a>(tests: impl Iterator<Item = &'a Test>) -> String {
    tests.map(|test| format!("`{}`", test.name)).collect::<Vec<_>>().join(" ")
}

/// Every test that bears the name of a lesson.
fn find(top: &Path) -> Result<Tests> {
    let mut files = Vec::new();
    sources::collect(&top.join("crates"), &mut files)?;
    files.sort();
    let mut tests = Tests::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let home = file.strip_prefix(top.join("crates"))?.iter().next().unwrap_or_default();
        for name in functions(&text) {
            for lesson in lessons(name) {
                let test = Test { home: home.to_string_lossy().into_owned(), name: name.to_owned() };
                tests.entry(lesson).or_default().push(test);
            }
        }
    }
    Ok(tests)
}

/// The names of the test functions in a source.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line == "#[test]" {
            marked = true;
        }
        let name = line.strip_prefix("fn ").filter(|_| marked)?.split('(').next()?;
        marked = false;
        Some(name)
    })
}

/// What a test's name says that it tries.
fn lessons(name: &str) -> Vec<String> {
    if let Some(cve) = name.strip_prefix("lesson_cve_") {
        let mut words = cve.split('_');
        return vec![format!("{}-{}", words.next().unwrap_or_default(), words.next().unwrap_or_default())];
    }
    let (letter, words) = match (name.strip_prefix("fault_"), name.strip_prefix("attack")) {
        (Some(fault), _) => ("F", fault),
        (_, Some(attack)) => ("", attack.trim_start_matches('s').trim_start_matches('_')),
        _ => return Vec::new(),
    };
    let (mut found, mut through): (Vec<u32>, bool) = (Vec::new(), false);
    for word in words.split('_') {
        let digits = if letter.is_empty() { Some(word) } else { word.strip_prefix('f') };
        match (word, digits.and_then(|digits| digits.parse::<u32>().ok())) {
            ("and", _) => {}
            ("to", _) => through = true,
            (_, Some(number)) => {
                let from = found.last().copied().filter(|_| through).map_or(number, |last| last + 1);
                found.extend(from..=number);
                through = false;
            }
            _ => break,
        }
    }
    found.iter().map(|number| format!("{letter}{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_tried() {
        for (name, expected) in [
            ("attack_13_a_place", "13"),
            ("attacks_25_and_32_to_34_and_38_all", "25 32 33 34 38"),
            ("attack_1_a_file_of_100_megabytes", "1"),
            ("fault_f2_errno", "F2"),
            ("fault_f6_and_f7_no_room", "F6 F7"),
            ("fault_of_mine", ""),
            ("lesson_cve_2025_52881_fake", "2025-52881"),
            ("something_else", ""),
        ] {
            assert_eq!(lessons(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn every_lesson_has_a_test_and_the_page_lists_them() {
        let tests = find(&house::top()).expect("sources");
        let wanted = LESSONS.iter().map(|(number, _)| *number);
        let alone = CVES.iter().filter(|(.., others)| others.is_empty()).map(|(cve, ..)| *cve);
        let missing: Vec<&str> = wanted.chain(alone).filter(|lesson| !tests.contains_key(*lesson)).collect();
        assert_eq!(missing, [""; 0], "no test bears the name of these lessons");
        for (cve, _, others) in CVES {
            assert!(others.iter().all(|other| LESSONS.iter().any(|(number, _)| number == other)), "{cve}");
        }
        let numbers: Vec<&str> = LESSONS.iter().map(|(number, _)| *number).collect();
        let attacks = (1..=38).map(|number| number.to_string());
        let faults = (1..=17).filter(|number| *number != 5).map(|number| format!("F{number}"));
        assert_eq!(numbers, attacks.chain(faults).collect::<Vec<_>>());
        let page = fs::read_to_string(house::top().join(PAGE)).expect(PAGE);
        let fresh = between(&page, MARKS, &list().expect("a list")).expect("marks");
        assert!(page == fresh, "{PAGE} has an old list: ./x soak --list writes it anew");
    }
}
