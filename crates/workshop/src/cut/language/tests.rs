use spec::observation::Use;

use super::super::Level;
use super::super::sample::{Sample, has};

/// What these uses keep of `files` at the default level.
fn check(files: &[(&str, &str)], uses: &[&str], wanted: &[&str], unwanted: &[&str]) {
    let root = Sample::new("language");
    files.iter().for_each(|(file, content)| root.file(file, content));
    let uses: Vec<(&str, Use)> = uses.iter().map(|path| (*path, Use::Opened)).collect();
    let cut = root.cut(Level::Package, &uses);
    wanted.iter().for_each(|path| assert!(has(&cut, path), "{path} is missing"));
    unwanted.iter().for_each(|path| assert!(!has(&cut, path), "{path} is there"));
    let exact = root.cut(Level::Exact, &uses);
    wanted.iter().for_each(|path| assert!(!has(&exact, path), "{path} at exact"));
}

#[test]
fn python() {
    let library = "/usr/lib/python3.11";
    let site = "/usr/lib/python3/dist-packages";
    let inside = |path: &str| format!("{library}/{path}");
    let installed = |path: &str| format!("{site}/{path}");
    let owned: Vec<(String, &str)> = vec![
        (inside("os.py"), ""),
        (inside("json/decoder.py"), ""),
        (inside("__pycache__/os.cpython-311.pyc"), ""),
        (inside("__pycache__/json.cpython-311.pyc"), ""),
        (inside("test/test_os.py"), ""),
        (inside("tkinter/x.py"), ""),
        (inside("lib-dynload/_json.cpython-311.so"), ""),
        (inside("lib-dynload/_curses.cpython-311.so"), ""),
        (inside("lib-dynload/_tkinter.cpython-311.so"), ""),
        (installed("flask/app.py"), ""),
        (installed("flask/cli.py"), ""),
        (installed("Flask-2.egg-info/requires.txt"), "Werkzeug>=2\n\n[async]\nasgiref\n"),
        (installed("werkzeug/x.py"), ""),
        (installed("werkzeug-2.dist-info/METADATA"), ""),
        (installed("asgiref/x.py"), ""),
        (installed("lazy.py"), ""),
        (installed("unrelated/x.py"), ""),
        ("/srv/app/main.py".to_owned(), "import flask\ndef f():\n    import lazy\n"),
        ("/srv/app/templates/x.html".to_owned(), ""),
        ("/srv/app/pkg/__init__.py".to_owned(), ""),
        ("/srv/app/venv/pyvenv.cfg".to_owned(), ""),
        ("/srv/other/x.py".to_owned(), ""),
    ];
    let files: Vec<(&str, &str)> = owned.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    let uses = [
        inside("os.py"),
        inside("__pycache__/os.cpython-311.pyc"),
        installed("flask/app.py"),
        "/srv/app/main.py".into(),
    ];
    let wanted = [
        inside("json/decoder.py"),
        inside("lib-dynload/_json.cpython-311.so"),
        inside("lib-dynload/_curses.cpython-311.so"),
        installed("flask/cli.py"),
        installed("Flask-2.egg-info/requires.txt"),
        installed("werkzeug/x.py"),
        installed("werkzeug-2.dist-info/METADATA"),
        installed("lazy.py"),
        "/srv/app/templates/x.html".into(),
        "/srv/app/pkg/__init__.py".into(),
    ];
    let unwanted = [
        inside("__pycache__/json.cpython-311.pyc"),
        inside("test"),
        inside("tkinter"),
        inside("lib-dynload/_tkinter.cpython-311.so"),
        installed("asgiref"),
        installed("unrelated"),
        "/srv/app/venv".into(),
        "/srv/other".into(),
    ];
    let texts = |list: &[String]| {
        list.iter().map(|path| Box::leak(path.clone().into_boxed_str()) as &str).collect::<Vec<_>>()
    };
    check(&files, &texts(&uses), &texts(&wanted), &texts(&unwanted));
}

#[test]
fn node() {
    check(
        &[
            ("/app/package.json", r#"{"dependencies": {"a": "1"}}"#),
            ("/app/main.js", ""),
            ("/app/views/x.ejs", ""),
            ("/app/node_modules/a/package.json", r#"{"dependencies": {"@s/b": "1", "../../etc": "1"}}"#),
            ("/app/node_modules/a/lib/lazy.js", ""),
            ("/app/node_modules/a/test/x.js", ""),
            ("/app/node_modules/@s/b/package.json", "{}"),
            ("/app/node_modules/@s/b/index.js", ""),
            ("/app/node_modules/dev/index.js", ""),
        ],
        &["/app/main.js"],
        &["/app/views/x.ejs", "/app/node_modules/a/lib/lazy.js", "/app/node_modules/@s/b/index.js"],
        &["/app/node_modules/dev", "/app/node_modules/a/test"],
    );
}

#[test]
fn perl() {
    check(
        &[
            ("/usr/lib/x-linux-gnu/perl-base/strict.pm", ""),
            ("/usr/lib/x-linux-gnu/perl-base/POSIX.pm", ""),
            ("/usr/lib/x-linux-gnu/perl-base/Pod/Usage.pm", ""),
            ("/usr/lib/x-linux-gnu/perl-base/Locale/Maketext.pm", ""),
            ("/usr/lib/x-linux-gnu/perl-base/pod/perl.pod", ""),
            ("/usr/share/perl/5.36.0/strict.pm", ""),
            ("/usr/share/perl5/CGI/Cookie.pm", ""),
            ("/usr/share/perl5/CGI/Util.pm", ""),
            ("/usr/share/perl5/Other.pm", ""),
        ],
        &["/usr/lib/x-linux-gnu/perl-base/strict.pm", "/usr/share/perl5/CGI/Cookie.pm"],
        &[
            "/usr/lib/x-linux-gnu/perl-base/POSIX.pm",
            "/usr/lib/x-linux-gnu/perl-base/Pod/Usage.pm",
            "/usr/lib/x-linux-gnu/perl-base/Locale/Maketext.pm",
            "/usr/share/perl5/CGI/Util.pm",
        ],
        &["/usr/lib/x-linux-gnu/perl-base/pod", "/usr/share/perl/5.36.0", "/usr/share/perl5/Other.pm"],
    );
}

#[test]
fn ruby_php_java_lua() {
    check(
        &[
            ("/usr/lib/ruby/3.1.0/set.rb", ""),
            ("/usr/lib/ruby/3.1.0/json/x.rb", ""),
            ("/var/lib/gems/3.1.0/gems/rack-2/lib/rack.rb", ""),
            ("/var/lib/gems/3.1.0/gems/rack-2/lib/more.rb", ""),
            ("/var/lib/gems/3.1.0/gems/puma-1/lib/puma.rb", ""),
            ("/var/lib/gems/3.1.0/specifications/rack-2.gemspec", ""),
            ("/usr/lib/php/20220829/opcache.so", ""),
            ("/usr/lib/php/20220829/ctype.so", ""),
            ("/usr/lib/jvm/java-17/lib/modules", ""),
            ("/usr/lib/jvm/java-17/lib/security/cacerts", ""),
            ("/usr/lib/jvm/java-17/lib/src.zip", ""),
            ("/opt/app/a.jar", ""),
            ("/opt/app/b.jar", ""),
            ("/usr/share/lua/5.1/socket.lua", ""),
            ("/usr/share/lua/5.1/mime.lua", ""),
        ],
        &[
            "/usr/lib/ruby/3.1.0/set.rb",
            "/var/lib/gems/3.1.0/gems/rack-2/lib/rack.rb",
            "/usr/lib/php/20220829/opcache.so",
            "/usr/lib/jvm/java-17/lib/modules",
            "/opt/app/a.jar",
            "/usr/share/lua/5.1/socket.lua",
        ],
        &[
            "/usr/lib/ruby/3.1.0/json/x.rb",
            "/var/lib/gems/3.1.0/gems/rack-2/lib/more.rb",
            "/var/lib/gems/3.1.0/specifications/rack-2.gemspec",
            "/usr/lib/php/20220829/ctype.so",
            "/usr/lib/jvm/java-17/lib/security/cacerts",
            "/opt/app/b.jar",
            "/usr/share/lua/5.1/mime.lua",
        ],
        &["/var/lib/gems/3.1.0/gems/puma-1", "/usr/lib/jvm/java-17/lib/src.zip"],
    );
}

#[test]
fn a_compiled_module_is_cut_only_where_its_libraries_are_missing() {
    let root = Sample::new("compiled");
    let library = "/usr/lib/python3.11";
    let module = format!("{library}/lib-dynload/readline.cpython-311.so");
    root.file(&format!("{library}/os.py"), "x");
    root.file(&module, std::fs::read("/bin/sh").expect("anything that needs a library"));
    let uses = [(format!("{library}/os.py"), Use::Opened)];
    let uses = uses.each_ref().map(|(path, how)| (path.as_str(), *how));
    assert!(!has(&root.cut(Level::Package, &uses), &module), "no library, no module");
    let output = std::process::Command::new("ldd").arg("/bin/sh").output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        root.file(library, std::fs::read(library).expect(library));
    }
    assert!(has(&root.cut(Level::Package, &uses), &module));
}

#[test]
fn executable_scripts_in_a_shared_directory_are_sources() {
    let root = Sample::new("shared");
    for script in ["/srv/main.py", "/srv/helper.py", "/srv/page.php", "/srv/other.php"] {
        root.program(script, "#!/bin/sh\n");
    }
    root.program("/srv/tool.py", std::fs::read("/bin/sh").expect("a program"));
    let uses = [("/srv/main.py", Use::Executed), ("/srv/page.php", Use::Executed)];
    let cut = root.cut(Level::Package, &uses);
    assert!(has(&cut, "/srv/helper.py") && has(&cut, "/srv/other.php"), "{:?}", cut.paths);
    assert!(!has(&cut, "/srv/tool.py"), "a program that is only called like a source");
}
