//! What is made when a script first asks for it: most ask for little of what there is, and each firing has a
//! machine of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Lua, Result, Value};

/// Makes one of them.
type Make = Box<dyn Fn(&Lua) -> Result<Value>>;

/// By their names.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Rc<RefCell<BTreeMap<&'static str, Make>>>);

impl Shelf {
    /// Globals that are not there are looked for here.
    pub(crate) fn behind(lua: &Lua) -> Result<Self> {
        let (shelf, made) = (Self::default(), lua.create_table()?);
        let own = shelf.clone();
        let look = move |lua: &Lua, (_, name): (Value, Value)| {
            let known: Value = made.raw_get(&name)?;
            if !known.is_nil() {
                return Ok(known);
            }
            let Value::String(text) = name else { return Ok(Value::Nil) };
            let Ok(name) = text.to_str() else { return Ok(Value::Nil) };
            let value = own.make(lua, &name)?;
            made.raw_set(text, &value)?;
            Ok(value)
        };
        let meta = lua.create_table()?;
        meta.raw_set("__index", lua.create_function(look)?)?;
        meta.set_readonly(true);
        lua.globals().set_metatable(Some(meta))?;
        Ok(shelf)
    }

    pub(crate) fn put(&self, name: &'static str, make: Make) {
        self.0.borrow_mut().insert(name, make);
    }

    /// Sealed from the start, as what was there before a machine was sealed is.
    fn make(&self, lua: &Lua, name: &str) -> Result<Value> {
        let made = self.0.borrow().get(name).map_or(Ok(Value::Nil), |make| make(lua))?;
        if let Value::Table(table) = &made {
            table.set_readonly(true);
        }
        Ok(made)
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.borrow().keys()).finish()
    }
}

/// What is known by another name.
pub(crate) fn alias(lua: &Lua, of: &str) -> Result<Value> {
    lua.globals().get(of)
}
