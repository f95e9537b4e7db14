//! One machine, for one evaluation or one firing.

use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::chunk::{ChunkMode, Compiler};
use mlua::thread::ThreadStatus;
use mlua::{Function, IntoLuaMulti, Lua, MultiValue};

use crate::interrupt::Watch;
use crate::mistake::{Mistake, Raised};
use crate::shelf::Shelf;
use crate::{plain, sandbox, shelf};

/// What a script may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: u64,
    /// When it must have ended.
    pub deadline: Instant,
}

/// A sandboxed machine with bounds.
#[derive(Debug)]
pub struct Vm {
    lua: Lua,
    watch: Rc<Watch>,
    shelf: Shelf,
    raised: Raised,
}

impl Vm {
    /// A new one, with the plain libraries (`json`, `time`, sizes).
    ///
    /// # Errors
    /// When there is not even memory for that.
    pub fn new(bounds: Bounds) -> Result<Self, Mistake> {
        let make = || -> mlua::Result<Self> {
            let raised = Raised::default();
            let lua = sandbox::bare(&raised)?;
            // Nothing of what is made until the first call is ever free.
            lua.gc_stop();
            lua.set_memory_limit(usize::try_from(bounds.memory).unwrap_or(usize::MAX))?;
            let watch = Rc::new(Watch::new(bounds.deadline));
            let shelf = Shelf::behind(&lua)?;
            plain::give(&lua, &shelf, &watch)?;
            let own = watch.clone();
            lua.set_interrupt(move |lua| own.answer(lua));
            Ok(Self { lua, watch, shelf, raised })
        };
        make().map_err(|error| Mistake::of(&error))
    }

    /// For whoever gives scripts more to reach.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Sets a global; what scripts see of it cannot be replaced by them.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn give(&self, name: &str, value: impl mlua::IntoLua) -> Result<(), Mistake> {
        self.lua.globals().raw_set(name, value).map_err(|error| Mistake::of(&error))
    }

    /// Likewise, made when a script first asks for it.
    pub fn give_lazily<T: mlua::IntoLua>(
        &self,
        name: &'static str,
        make: impl Fn(&Lua) -> mlua::Result<T> + 'static,
    ) {
        self.shelf.put(name, Box::new(move |lua| make(lua)?.into_lua(lua)));
    }

    /// Another name of what was given.
    pub fn give_alias(&self, name: &'static str, of: &'static str) {
        self.give_lazily(name, move |lua| shelf::alias(lua, of));
    }

    /// From here on all that was given is read-only, and a script's own globals are its own.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn seal(&self) -> Result<(), Mistake> {
        self.lua.sandbox(true).map_err(|error| Mistake::of(&error))
    }

    /// What is called from now on may take so long.
    pub fn renew(&self, time: Duration) {
        self.watch.renew(Instant::now() + time);
    }

    /// Compiles a text; `file` names it in errors.
    ///
    /// # Errors
    /// A mistake in the syntax.
    pub fn compile(&self, file: &str, text: &str) -> Result<Function, Mistake> {
        compile(&self.lua, file, text).map_err(|error| self.mistake(&error))
    }

    /// Calls a function, within the bounds.
    ///
    /// # Errors
    /// The script's mistake, or that its time was over.
    pub fn call(&self, function: Function, arguments: impl IntoLuaMulti) -> Result<MultiValue, Mistake> {
        self.lua.gc_restart();
        let called = || -> mlua::Result<Option<MultiValue>> {
            let thread = self.lua.create_thread(function)?;
            let values = thread.resume::<MultiValue>(arguments)?;
            Ok((thread.status() != ThreadStatus::Resumable).then_some(values))
        };
        match called() {
            Ok(Some(values)) => Ok(values),
            Ok(None) if self.watch.is_over() => Err(Mistake::Overdue(self.watch.place())),
            Ok(None) => Err(Mistake::Error("the script yields, and there is nobody to resume it".to_owned())),
            Err(error) => Err(self.mistake(&error)),
        }
    }

    /// What an error means: after the end of its time each is only that.
    pub fn mistake(&self, error: &mlua::Error) -> Mistake {
        if self.watch.is_over() {
            let Mistake::Error(text) = Mistake::of(error) else {
                return Mistake::Overdue(self.watch.place());
            };
            return Mistake::Overdue(self.watch.place().or_else(|| place_in(&text)));
        }
        match Mistake::of(error) {
            Mistake::Error(text) => Mistake::Error(self.raised.told(text)),
            overdue => overdue,
        }
    }
}

/// `FILE:LINE` at the beginning of a message.
fn place_in(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, ':');
    let (file, line) = (parts.next()?, parts.next()?);
    line.parse::<u32>().ok().map(|line| format!("{file}:{line}"))
}

/// Of ours: it is compiled at each firing, and runs once.
pub(crate) fn compile_once(lua: &Lua, file: &str, text: &str) -> mlua::Result<Function> {
    let quickly = Compiler::new().set_optimization_level(0);
    lua.load(text)
        .set_name(format!("={file}"))
        .set_mode(ChunkMode::Text)
        .set_compiler(quickly)
        .into_function()
}

/// Text only: bytecode could break the machine.
pub(crate) fn compile(lua: &Lua, file: &str, text: &str) -> mlua::Result<Function> {
    lua.load(text).set_name(format!("={file}")).set_mode(ChunkMode::Text).into_function()
}
