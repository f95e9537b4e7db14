//! `require("name")`: the modules of a script, from where whoever made the machine looks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Error, Lua, Result, Table, Value};

use crate::mistake::refused;
use crate::vm::compile;

/// Looks for a module by its name: the file's name and its text.
pub type Find = Box<dyn Fn(&str) -> spec::Result<Option<(String, String)>>>;

/// The end of all file names.
pub const ENDING: &str = ".luau";

/// What is loaded; texts by file name, those of our own library left out.
#[derive(Debug, Clone, Default)]
pub struct Loaded(Rc<RefCell<BTreeMap<String, String>>>);

impl Loaded {
    /// All texts so far.
    pub fn files(&self) -> BTreeMap<String, String> {
        self.0.borrow().clone()
    }

    /// One more, that was loaded by itself.
    pub fn add(&self, file: &str, text: &str) {
        self.0.borrow_mut().insert(file.to_owned(), text.to_owned());
    }
}

/// Whether a name is one of a module: words with slashes between them, no way up or out.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty()
        && name.len() <= 200
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.chars().all(is_plain))
}

/// The file that a module is in.
pub fn file_of(name: &str) -> String {
    if name.ends_with(ENDING) { name.to_owned() } else { format!("{name}{ENDING}") }
}

/// Gives `require`.
///
/// # Errors
/// When there is no memory.
pub fn give(lua: &Lua, find: Find) -> Result<Loaded> {
    let loaded = Loaded::default();
    let (own, cache, under_way) = (loaded.clone(), lua.create_table()?, lua.create_table()?);
    let require = move |lua: &Lua, name: String| load(lua, &name, &find, &own, (&cache, &under_way));
    lua.globals().raw_set("require", lua.create_function(require)?)?;
    Ok(loaded)
}

fn load(
    lua: &Lua,
    name: &str,
    find: &Find,
    loaded: &Loaded,
    (cache, under_way): (&Table, &Table),
) -> Result<Value> {
    if !is_name(name) {
        return Err(refused(
            lua,
            format!("{name:?} is no name of a module\nhint: as in require(\"lib/http\")"),
        ));
    }
    let found = find(name).map_err(|error| refused(lua, format!("module {name:?}: {}", error.chain())))?;
    let Some((file, text)) = found else {
        let hint = "it is looked for beside the definition, in /etc/tsubo/lib, in ~/.config/tsubo/lib, and in what ships with tsubo";
        return Err(refused(lua, format!("there is no module {name:?}\nhint: {hint}")));
    };
    let known: Value = cache.raw_get(file.as_str())?;
    if !known.is_nil() {
        return Ok(known);
    }
    if under_way.raw_get::<bool>(file.as_str())? {
        return Err(refused(lua, format!("module {name:?} requires itself, perhaps through others")));
    }
    under_way.raw_set(file.as_str(), true)?;
    let made = compile(lua, &file, &text).and_then(|module| module.call::<Value>(()));
    under_way.raw_set(file.as_str(), Value::Nil)?;
    let made = made.map_err(|error| Error::runtime(crate::Mistake::of(&error).text()))?;
    if made.is_nil() {
        return Err(refused(
            lua,
            format!("module {name:?} returns nothing\nhint: end it with return {{ … }}"),
        ));
    }
    if !file.starts_with("tsubo:") {
        loaded.add(&file, &text);
    }
    cache.raw_set(file, &made)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for good in ["lib", "tsubo/autoscaler", "a-b_c.d", "x.luau"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a/", "a b", "a\0b", "~/x"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
