//! The distribution packages of the application: what the distribution ships together belongs
//! together (nginx, nginx-common, libnginx-mod-…).

use std::collections::BTreeSet;

use spec::RootPath;
use spec::observation::{Stage, Use};
use spec::report::Reason;

use super::scene::{Scene, at};
use super::selection::Selection;
use crate::base_tree::{Kind, Node};
use crate::distribution::Package;

/// Interpreters and shells: the application is what they run. Prefixes of program names.
const INTERPRETERS: [&str; 16] = [
    "python", "pypy", "perl", "ruby", "node", "php", "java", "lua", "tclsh", "wish", "bash", "dash",
    "busybox", "env", "guile", "ld-",
];
/// Sources of packages that are everybody's tools, though not essential by name.
const TOOLS: [&str; 14] = [
    "glibc",
    "musl",
    "busybox",
    "coreutils",
    "util-linux",
    "systemd",
    "procps",
    "sed",
    "grep",
    "gawk",
    "mawk",
    "findutils",
    "curl",
    "wget",
];
/// What no running service reads: documentation, and what the host's init and its tools read.
const UNREAD: [&str; 38] = [
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/bug",
    "/usr/share/locale",
    "/usr/share/applications",
    "/usr/share/icons",
    "/usr/share/pixmaps",
    "/usr/share/bash-completion",
    "/usr/share/zsh",
    "/usr/share/fish",
    "/usr/share/doc-base",
    "/usr/share/menu",
    "/usr/share/metainfo",
    "/usr/share/vim",
    "/usr/share/linda",
    "/usr/share/reportbug",
    "/usr/share/apport",
    "/usr/share/gdb",
    "/usr/share/gtk-doc",
    "/usr/share/aclocal",
    "/usr/share/pkgconfig",
    "/usr/include",
    "/usr/lib/systemd",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/sysusers.d",
    "/usr/lib/debug",
    "/etc/init.d",
    "/etc/default",
    "/etc/logrotate.d",
    "/etc/ufw",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/systemd",
    "/etc/apparmor.d",
    "/etc/bash_completion.d",
];

/// Keeps the packages that own what was executed to start the service.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    let mut done = BTreeSet::new();
    for program in programs(scene) {
        let Some(owner) = scene.distribution.owner(&program) else { continue };
        if is_everybodys(owner) {
            continue;
        }
        for package in scene.distribution.packages().iter().filter(|package| belongs(package, owner)) {
            if done.insert(&package.name) {
                keep_package(scene, selection, package, &program);
            }
        }
    }
}

/// The programs and scripts that the service consists of.
fn programs(scene: &Scene<'_>) -> BTreeSet<RootPath> {
    let executed =
        scene.used.iter().filter(|used| used.was(Use::Executed) && used.usage.stage == Stage::Start);
    let mut programs: BTreeSet<RootPath> = executed.map(|used| used.real.clone()).collect();
    programs.extend(scene.request.command.iter().take(1).filter_map(|program| scene.program(program)));
    // The script is what the first argument that is a file names.
    let arguments = scene.request.command.iter().skip(1).filter(|argument| argument.contains('/'));
    programs.extend(arguments.filter_map(|argument| scene.program(argument)).take(1));
    programs.retain(|program| !is_interpreter(program));
    programs
}

fn is_interpreter(program: &RootPath) -> bool {
    let name = String::from_utf8_lossy(program.name().unwrap_or_default()).into_owned();
    name == "sh" || INTERPRETERS.iter().any(|interpreter| name.starts_with(interpreter))
}

fn is_everybodys(package: &Package) -> bool {
    package.system || TOOLS.contains(&package.source.as_str())
}

/// Whether `package` is part of the application that `owner` is: built from the same source, or a
/// part that it depends on and that is called after it.
fn belongs(package: &Package, owner: &Package) -> bool {
    let part_of = |name: &str| package.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    let needed = owner.depends.contains(&package.name) && (part_of(&owner.name) || part_of(&owner.source));
    let for_building = ["-dev", "-doc", "-dbg", "-dbgsym", "-tests", "-test"];
    let running = !for_building.iter().any(|suffix| package.name.ends_with(suffix));
    package.name == owner.name || running && !package.system && (package.source == owner.source || needed)
}

fn keep_package(scene: &Scene<'_>, selection: &mut Selection<'_>, package: &Package, because_of: &RootPath) {
    let unread: Vec<RootPath> = UNREAD.iter().map(|path| at(path)).collect();
    for path in &package.files {
        let is_unread = unread.iter().any(|top| path.is_within(top));
        let archive = path.name().is_some_and(|name| name.ends_with(b".a") || name.ends_with(b".h"));
        let leads_nowhere = matches!(scene.node(path), Some(Node { kind: Kind::Link(_), .. }))
            && scene.tree.real(path).is_none();
        if !(is_unread || archive || leads_nowhere) {
            selection.keep(path, Reason::Application, Some(because_of));
        }
    }
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Asked, Sample, assert_files, has};

    #[test]
    fn the_packages_of_the_service_and_no_others() {
        let root = Sample::new("application");
        let package = |name: &str, more: &str, files: &[&str]| {
            files.iter().for_each(|file| root.program(file, "x"));
            root.file(&format!("/var/lib/dpkg/info/{name}.list"), files.join("\n"));
            format!("Package: {name}\nStatus: install ok installed\nVersion: 1\n{more}\n\n")
        };
        let status = [
            package("web", "Source: web-src", &["/usr/bin/web", "/usr/share/doc/web/README"]),
            package("web-common", "Source: web-src", &["/usr/share/web/error.html", "/etc/init.d/web"]),
            package("web-dev", "Source: web-src", &["/usr/lib/web/x"]),
            package("other", "", &["/usr/bin/other"]),
            package("bash", "Essential: yes", &["/usr/bin/bash", "/usr/share/bash/x"]),
        ];
        root.file("/var/lib/dpkg/status", status.concat());
        let mut seen = root.seen(&[("/usr/bin/web", Use::Executed), ("/usr/bin/bash", Use::Executed)]);
        seen.paths.values_mut().for_each(|usage| usage.stage = spec::observation::Stage::Start);
        let cut = Asked::default().cut(&root, &seen).expect("cut");
        assert_files(&cut, &["/", "/usr/bin/bash", "/usr/bin/web", "/usr/share/web/error.html"]);
        let by_name = Asked { command: vec!["web".to_owned()], ..Asked::default() };
        assert!(has(&by_name.cut(&root, &root.seen(&[])).expect("cut"), "/usr/share/web/error.html"));
        let lower = Asked { level: Level::Directory, ..Asked::default() }.cut(&root, &seen).expect("cut");
        assert!(!has(&lower, "/usr/share/web/error.html"));
    }
}
