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
        inside("lib-dynload/_curses.cpython-311.so"),
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
            ("/usr/share/perl/5.36.0/strict.pm", ""),
            ("/usr/share/perl5/CGI/Cookie.pm", ""),
            ("/usr/share/perl5/CGI/Util.pm", ""),
            ("/usr/share/perl5/Other.pm", ""),
        ],
        &["/usr/lib/x-linux-gnu/perl-base/strict.pm", "/usr/share/perl5/CGI/Cookie.pm"],
        &["/usr/lib/x-linux-gnu/perl-base/POSIX.pm", "/usr/share/perl5/CGI/Util.pm"],
        &["/usr/share/perl/5.36.0", "/usr/share/perl5/Other.pm"],
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
