"""A small web service as they are written every day: Flask, templates, sqlite."""

import sqlite3

from flask import Flask, redirect, render_template, request

app = Flask(__name__)
DATA = "/var/lib/app/stones.db"


def rows(query, *values):
    with sqlite3.connect(DATA) as data:
        data.execute("create table if not exists stones (name text, weight real)")
        return data.execute(query, values).fetchall()


@app.get("/")
def index():
    return render_template("index.html", stones=rows("select name, weight from stones order by name"))


@app.post("/stones")
def add():
    rows("insert into stones values (?, ?)", request.form["name"], float(request.form["weight"]))
    return redirect("/")


@app.get("/about")
def about():
    return render_template("about.html")


@app.get("/export")
def export():
    import csv
    import io

    out = io.StringIO()
    csv.writer(out).writerows(rows("select name, weight from stones"))
    return out.getvalue(), 200, {"Content-Type": "text/csv"}


@app.get("/now/<path:zone>")
def now(zone):
    import datetime
    import zoneinfo

    return datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo(zone)).isoformat()


@app.get("/owner/<name>")
def owner(name):
    import pwd

    return pwd.getpwnam(name).pw_dir


@app.errorhandler(404)
def lost(error):
    return render_template("lost.html"), 404


if __name__ == "__main__":
    app.run("127.0.0.1", 18482, threaded=True)
