//! Programs that end by themselves: what they print says whether the package has all they need.

use crate::support::base::{compile, small};
use crate::support::{House, have};

#[test]
fn a_shell_script_runs_from_its_package() {
    let house = House::new();
    house.source("hello.sh", "#!/bin/sh\n. /srv/lib.sh\ncat /srv/text | sort\nsay done\n");
    house.source("lib.sh", "say() { echo \"$@\"; }\n");
    house.source("text", "b\na\n");
    let script = "cp /src/* /srv/; chmod +x /srv/hello.sh";
    let files = house.everywhere(&small(&house), script, &[], &["/srv/hello.sh"], "a\nb\ndone\n");
    let contents = house.contents(&files[0]);
    for path in ["/srv/hello.sh", "/srv/lib.sh", "/srv/text", "/usr/bin/cat", "/usr/bin/sort", "/usr/bin/sh"]
    {
        assert!(contents["kept"][path].is_object(), "{path} in {contents:#}");
    }
    assert!(contents["kept"]["/usr/bin/mount"].is_null());
}

#[test]
fn a_static_program_is_a_package_of_one_file() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "hello", "#include <stdio.h>\nint main(){puts(\"static\");}", &["-static"]);
    let files = house.everywhere(&small(&house), "cp /src/hello /srv/", &[], &["/srv/hello"], "static\n");
    assert_eq!(house.contents(&files[0])["files"], 1);
}

const HOST_OF_PLUGINS: &str = r#"
#include <dlfcn.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    DIR *dir = opendir("/srv/plugins"); struct dirent *entry; int count = 0;
    while ((entry = readdir(dir))) count += strstr(entry->d_name, ".so") != 0;
    char path[200]; sprintf(path, "/srv/plugins/%s.so", argc > 1 ? argv[1] : "one");
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin) { puts(dlerror()); return 3; }
    printf("%s of %d\n", ((const char *(*)(void))dlsym(plugin, "name"))(), count);
    return 0;
}
"#;

#[test]
fn a_program_finds_plugins_that_the_test_did_not_load() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "host", HOST_OF_PLUGINS, &["-ldl"]);
    for name in ["one", "two"] {
        let code = format!("const char *name(void) {{ return \"{name}\"; }}");
        compile(&house, &format!("{name}.so"), &code, &["-shared", "-fPIC"]);
    }
    let script = "mkdir /srv/plugins; cp /src/*.so /srv/plugins; cp /src/host /srv";
    house.dev("app", &small(&house), script);
    house.test_job("app", &["/srv/host"]);
    let exact = house.pack("app", "exact");
    assert!(house.contents(&exact)["kept"]["/srv/plugins/two.so"].is_null());
    let default = house.pack("app", "package");
    assert_eq!(house.run(&default, &[]), "one of 2\n");
    assert_eq!(house.run(&default, &["/srv/host", "two"]), "two of 2\n");
}

#[test]
fn user_environment_and_folder_of_the_test_are_those_of_the_container() {
    let house = House::new();
    let options = ["--user", "ann", "-e", "COLOR=red", "-e", "EMPTY=", "--workdir", "/srv"];
    let script = "id -u; id -g; id -G; echo $COLOR; echo ${EMPTY-unset}; pwd";
    let expected = "1234\n1234\n1234 4321\nred\n\n/srv\n";
    house.everywhere(&small(&house), "true", &options, &["/bin/sh", "-c", script], expected);
}

#[test]
fn a_test_that_fails_keeps_nothing_of_what_it_saw() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let complaint = house.fails(1, ["test", "app", "--", "/bin/sh", "-c", "echo last words; exit 3"]);
    assert!(complaint.contains("code 3") && complaint.contains("last words"), "{complaint}");
    let complaint = house.fails(125, ["pack", "app"]);
    assert!(complaint.contains("has not been tested"), "{complaint}");
}

#[test]
fn interpreters_behind_interpreters_are_found() {
    let house = House::new();
    house.source("outer", "#!/srv/inner first\nignored\n");
    house.source("inner", "#!/usr/bin/env sh\necho \"$@\"\n");
    let script = "cp /src/inner /src/outer /srv; chmod 755 /srv/inner /srv/outer";
    let files = house.everywhere(&small(&house), script, &[], &["/srv/outer", "x"], "first /srv/outer x\n");
    assert!(house.contents(&files[0])["kept"]["/usr/bin/env"].is_object());
}

#[test]
fn a_named_pipe_in_the_base_is_one_in_the_container() {
    if !have(&["mkfifo"]) {
        return;
    }
    let house = House::new();
    let base = small(&house);
    crate::support::shell(&format!("mkfifo -m 640 {}", base.join("srv/pipe").display()));
    let script = "(echo through > /srv/pipe &); cat /srv/pipe; stat -c '%F %a' /srv/pipe";
    house.everywhere(&base, "true", &[], &["/bin/sh", "-c", script], "through\nfifo 640\n");
}

#[test]
fn nothing_of_a_test_lives_on_after_it() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let marker = format!("86400.{}", std::process::id());
    let script = format!("(trap '' TERM HUP; sleep {marker}) & echo up; sleep {marker}");
    house.ok(["test", "app", "--ready", "log:up", "--inside", "true", "--", "/bin/sh", "-c", &script]);
    let left = crate::support::leftovers::processes(std::path::Path::new(&marker));
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_perl_program_loads_by_default_what_the_test_did_not() {
    if !std::path::Path::new("/usr/bin/perl").exists() {
        eprintln!("SKIPPED: needs /usr/bin/perl");
        return;
    }
    let house = House::new();
    house.source("lazy.pl", "use strict; if (@ARGV) { require Text::Wrap; print Text::Wrap::wrap('', '', 'lazy'), \"\\n\" } else { print \"plain\\n\" }\n");
    house.dev("app", std::path::Path::new("host"), "cp /src/lazy.pl /srv/lazy.pl");
    house.test_job("app", &["/usr/bin/perl", "/srv/lazy.pl"]);
    let file = house.pack("app", "package");
    assert_eq!(house.run(&file, &[]), "plain\n");
    assert_eq!(house.run(&file, &["/usr/bin/perl", "/srv/lazy.pl", "x"]), "lazy\n");
}
