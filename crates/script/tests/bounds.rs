//! What a script cannot do: run for ever, take all memory, reach what it was not given.

use std::time::{Duration, Instant};

use script::{Bounds, Mistake, Vm, mlua, modules, say};

fn vm(milliseconds: u64, memory: u64) -> Vm {
    let deadline = Instant::now() + Duration::from_millis(milliseconds);
    let vm = Vm::new(Bounds { memory, deadline }).expect("a machine");
    say::give(&vm, &say::Said::default());
    modules::give(vm.lua(), Box::new(|name| Ok(script::library::find(name)))).expect("require");
    vm.seal().expect("sealed");
    vm
}

fn run_in(vm: &Vm, text: &str) -> Result<mlua::MultiValue, Mistake> {
    let function = vm.compile("bad.luau", text)?;
    vm.call(function, ())
}

fn fails(text: &str) -> Mistake {
    run_in(&vm(5000, 32 << 20), text).expect_err(text)
}

fn endless(text: &str) {
    let mistake = run_in(&vm(50, 32 << 20), text).expect_err(text);
    match &mistake {
        Mistake::Overdue(Some(place)) => assert!(place.starts_with("bad.luau:"), "{place}: {text}"),
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn what_is_raised_and_is_no_text_has_a_line_too() {
    for (text, wanted) in [
        ("\nerror({})", "bad.luau:2: it fails with a table: {}"),
        ("\n\nerror({ code = 5 })", "bad.luau:3: it fails with a table: {\"code\":5}"),
        ("error({ print })", "bad.luau:1: it fails with a table, which is no plain data"),
        ("\nerror(nil)", "bad.luau:2: it fails, and says nothing of why: error(nil)"),
        ("\nerror()", "bad.luau:2: it fails, and says nothing of why: error(nil)"),
        (
            "local ok, why = pcall(error, { a = 1 })\nerror(why)",
            "bad.luau:2: it fails with a table: {\"a\":1}",
        ),
        ("error(setmetatable({}, { __tostring = function() return 'mine' end }))", "bad.luau:1: mine"),
        ("coroutine.wrap(function()\nerror({}) end)()", "bad.luau:2: it fails with a table: {}"),
        ("pcall(error, {}) local function deep()\nerror('text') end deep()", "bad.luau:2: text"),
        ("local function deep() error('of the caller', 2) end\ndeep()", "bad.luau:2: of the caller"),
        ("error('nowhere', 0)", "nowhere"),
    ] {
        assert_eq!(fails(text).text(), wanted, "{text}");
    }
    let kept = "local ok, why = pcall(function() error({ code = 5 }) end) return why.code";
    let said = run_in(&vm(5000, 32 << 20), kept).expect("caught").pop_front();
    assert_eq!(said.map(|value| value.to_string().expect("text")).as_deref(), Some("5"), "it is what it was");
}

#[test]
fn whatever_has_no_end_is_ended_where_it_is() {
    endless("while true do end");
    endless("for i = 1, 1e300 do end");
    endless("while true do pcall(function() while true do end end) end");
    endless("while true do pcall(pcall, function() while true do end end) end");
    endless("local function f() while true do xpcall(function() while true do end end, f) end end f()");
    endless("while true do coroutine.wrap(function() while true do end end)() end");
    endless(
        "while true do pcall(function() coroutine.wrap(function() while true do end end)() for i = 1, 2 do end end) end",
    );
    endless("local function deep() while true do pcall(coroutine.wrap(deep)) end end deep()");
}

#[test]
fn also_within_what_is_no_script() {
    endless("table.sort({ 3, 2, 1, 5, 4 }, function(a, b) while true do end end)");
    endless(
        "table.sort({ 3, 2, 1, 5, 4 }, function(a, b) while true do pcall(function() while true do end end) end end)",
    );
    endless("local t = setmetatable({}, { __index = function() while true do end end }) local x = t.x");
    endless(
        "local t = setmetatable({}, { __eq = function() while true do end end }) local x = t == setmetatable({}, getmetatable(t))",
    );
    endless(
        "local t = setmetatable({}, { __tostring = function() while true do pcall(function() while true do end end) end end }) tostring(t)",
    );
    endless("string.gsub('aaaa', 'a', function() while true do end end)");
    endless("string.find(string.rep('a', 5000), string.rep('a*', 12) .. 'b')");
    endless("string.match(string.rep('a', 5000), string.rep('a-', 12) .. 'b')");
    endless("while true do pcall(string.find, string.rep('a', 5000), string.rep('a*', 12) .. 'b') end");
    endless("for x in function() return 1 end do end");
}

#[test]
fn memory_has_a_bound() {
    for text in [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "return string.rep('x', 1e9)",
        "return buffer.create(1e9)",
        "return table.create(1e8, 0)",
        "return table.concat(table.create(1e5, string.rep('x', 1e5)))",
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end",
        "return string.format(string.rep('%99d', 1e6), 1)",
    ] {
        let mistake = fails(text);
        assert!(matches!(mistake, Mistake::Error(_)), "{mistake:?}: {text}");
    }
    let kept = run_in(&vm(5000, 32 << 20), "local ok = pcall(string.rep, 'x', 1e9) return ok, 'still here'");
    assert_eq!(kept.expect("it goes on").len(), 2);
}

#[test]
fn depth_has_a_bound() {
    for text in [
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(own, key) return own[key .. 'x'] end return t.x",
        "local function f() pcall(f) end local function g() f() g() return 1 end g()",
        "local f = function() end for i = 1, 1e6 do local g = f f = function() g() end end f()",
        "error(setmetatable({}, { __tostring = function() error('again') end }))",
        "local s = string.rep('(', 1e5) .. string.rep(')', 1e5) return string.find(s, s)",
        "xpcall(error, function() error('in the handler') end) error('after')",
        "local t = {} t.t = t return json.encode(t)",
        "local t = {} for i = 1, 100 do t = { t } end return json.encode(t)",
        "return json.decode(string.rep('[', 1e5))",
    ] {
        fails(text);
    }
}

#[test]
fn nothing_loads_code_or_looks_into_the_machine() {
    for name in [
        "loadstring",
        "load",
        "dofile",
        "getfenv",
        "setfenv",
        "collectgarbage",
        "newproxy",
        "debug",
        "io",
        "package",
        "gcinfo",
    ] {
        let values = run_in(&vm(1000, 32 << 20), &format!("return {name} == nil")).expect(name);
        assert_eq!(values.front().and_then(mlua::Value::as_boolean), Some(true), "{name}");
    }
    for text in [
        "os.exit(1)",
        "os.execute('true')",
        "return os.getenv('HOME').x",
        "string.dump(function() end)",
        "json.encode = nil",
        "string.format = nil",
        "getmetatable('').__index = nil",
        "require('/etc/passwd')",
        "require('../x')",
        "require('nothing')",
        "local x = nil + 1",
        "error('plain')",
        "error({ code = 1 })",
        "error(nil)",
        "coroutine.yield(1)",
    ] {
        let mistake = fails(text);
        assert!(matches!(mistake, Mistake::Error(_)), "{mistake:?}: {text}");
    }
    // Bytecode begins with a byte that no text has.
    assert!(vm(1000, 32 << 20).compile("bad.luau", "\u{6}\u{3}\0\0\0\0").is_err());
}

#[test]
fn mistakes_name_file_and_line() {
    let text = |script: &str| fails(script).text();
    assert_eq!(text("\n\nerror('it')"), "bad.luau:3: it");
    assert!(
        text("local x = 1\nlocal y = = 2").starts_with("bad.luau:2: "),
        "{}",
        text("local x = 1\nlocal y = = 2")
    );
    assert!(text("\nlocal x = nil\nreturn x.y").starts_with("bad.luau:3: attempt to index nil"));
    assert_eq!(
        text("\njson.encode(print)"),
        "bad.luau:2: the value is a function, which cannot be kept or sent"
    );
    assert_eq!(
        text("\njson.encode({ a = { b = { 1, print } } })"),
        "bad.luau:2: the value.a.b[2] is a function, which cannot be kept or sent"
    );
    assert!(text("\ntime.sleep('x')").starts_with("bad.luau:2: "), "{}", text("\ntime.sleep('x')"));
    let own = vm(1000, 32 << 20);
    let caught =
        run_in(&own, "\nlocal ok, why = pcall(json.decode, '{')\nreturn ok, why .. '!'").expect("caught");
    let why = caught.get(1).and_then(|why| why.as_string()).map(|why| why.to_string_lossy()).expect("a text");
    assert!(why.starts_with("bad.luau:2: no JSON") && why.ends_with('!'), "{why}");
    assert!(text("\nrequire('nothing')").starts_with("bad.luau:2: there is no module"));
}

#[test]
fn data_has_a_bound_also_where_a_table_is_in_itself_a_thousand_times() {
    for text in [
        "local t = { 1 } for i = 1, 40 do t = { t, t } end return json.encode(t)",
        "local s, t = string.rep('x', 1e6), {} for i = 1, 1000 do t[i] = s end return json.encode(t)",
        "local t = { [string.rep('k', 1e6)] = 1 } for i = 1, 5 do t = { t, t, t, t } end return json.encode(t)",
    ] {
        let mistake = fails(text);
        assert!(matches!(&mistake, Mistake::Error(why) if why.len() < 1000), "{mistake:?}: {text}");
    }
    let enough = "local t = {} for i = 1, 50000 do t[i] = i end return json.encode(t)";
    run_in(&vm(5000, 32 << 20), enough).expect("not too many");
}

#[test]
fn who_gets_more_time_may_sleep_in_it() {
    let vm = vm(1, 32 << 20);
    std::thread::sleep(Duration::from_millis(2));
    run_in(&vm, "time.sleep(0.001)").expect_err("too late");
    vm.renew(Duration::from_secs(5));
    run_in(&vm, "time.sleep(0.001)").expect("in time");
}
