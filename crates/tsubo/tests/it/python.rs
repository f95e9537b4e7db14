//! A Python web service over this host's own root: templates, a database, and what it asks for
//! only when somebody asks it.

use std::path::Path;

use crate::support::{House, get, have, port, until_listening};

const SERVICE: &str = r#"
import http.server, os, sqlite3, string, sys

HERE = os.path.dirname(os.path.abspath(__file__))
page = string.Template(open(os.path.join(HERE, "page.html")).read())
database = sqlite3.connect("/srv/app/data/visits.db")
database.execute("create table if not exists visits (path text)")

def lazy():
    import csv, io
    out = io.StringIO()
    csv.writer(out).writerow(["a", "b"])
    return out.getvalue()

def zone():
    import datetime, zoneinfo
    return str(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")).utcoffset())

def user():
    import pwd
    return str(pwd.getpwnam("daemon").pw_uid)

def home():
    import pwd
    database.execute("insert into visits values ('/')")
    count = database.execute("select count(*) from visits").fetchone()[0]
    return page.substitute(visits=count > 0, who=pwd.getpwuid(0).pw_name)

def utc():
    import zoneinfo
    return zoneinfo.ZoneInfo("Europe/Berlin").key

ROUTES = {"/": home, "/lazy": lazy, "/zone": zone, "/user": user, "/utc": utc}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, text = 200, ROUTES[self.path]()
        except Exception as error:
            status, text = 500, repr(error)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn python() -> Option<&'static str> {
    let there = Path::new("/usr/bin/python3").exists() && have(&["curl"]);
    if !there {
        eprintln!("SKIPPED: needs /usr/bin/python3");
    }
    there.then_some("/usr/bin/python3")
}

fn tested(house: &House, python: &str) -> u16 {
    let port = port();
    house.source("app.py", SERVICE);
    house.source("page.html", "<p>$who was here: $visits</p>");
    house.dev("app", Path::new("host"), "mkdir -p /srv/app/data; cp /src/app.py /src/page.html /srv/app");
    let (ready, number) = (format!("tcp:{port}"), port.to_string());
    let exercise = format!("curl -sf http://127.0.0.1:{port}/ && curl -sf http://127.0.0.1:{port}/utc");
    let service = [python, "/srv/app/app.py", &number];
    house.ok(["test", "app", "--ready", &ready, "--exercise", &exercise, "--"].iter().chain(&service));
    port
}

#[test]
fn a_python_service_works_by_default_in_what_the_exercise_left_out() {
    let Some(python) = python() else { return };
    let house = House::new();
    let port = tested(&house, python);
    let file = house.pack("app", "package");
    house.start("app", &file);
    until_listening(port);
    let expected = [
        ("/", "<p>root was here: True</p>"),
        ("/utc", "Europe/Berlin"),
        ("/lazy", "a,b\r\n"),
        ("/zone", "9:00:00"),
        ("/user", "1"),
    ];
    for (path, body) in expected {
        assert_eq!(get(port, path), (200, body.to_owned()), "{path}");
    }
}

#[test]
fn a_python_service_at_exact_does_what_it_was_seen_to_do() {
    let Some(python) = python() else { return };
    let house = House::new();
    let port = tested(&house, python);
    let file = house.pack("app", "exact");
    house.start("app", &file);
    until_listening(port);
    assert_eq!(get(port, "/"), (200, "<p>root was here: True</p>".to_owned()));
    assert_eq!(get(port, "/lazy").0, 500, "csv was never imported and is here all the same");
    let kept = &house.contents(&file)["kept"];
    let csv = kept.as_object().expect("kept").keys().find(|path| path.ends_with("/csv.py"));
    assert_eq!(csv, None);
}
