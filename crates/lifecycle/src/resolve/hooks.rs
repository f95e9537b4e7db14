//! Hooks: which of a package's a container of this host has, and what they may reach.

use spec::Result;
use spec::container::Spec;

use super::Resolving;
use super::reason::Reasons;
use crate::hooks;

impl Resolving<'_> {
    /// All of them, where the package is trusted; else scripts that reach nothing but their container.
    ///
    /// # Errors
    /// One that would never be done; `tsubo-hook` is missing.
    pub(super) fn hooks(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        let mut given = self.portable.hooks.clone();
        let asked = given.allow.words();
        let others = if self.options.as_packaged { Vec::new() } else { given.confine() };
        if !others.is_empty() {
            let why = "they run programs of the host, and the package may come from elsewhere: --as-packaged trusts it";
            reasons.add("hooks", format!("left out: {}", others.join(", ")), why, "--as-packaged");
            reasons.notable();
        }
        if given.allow.words() != asked {
            let why = "the package may come from elsewhere: its scripts reach their container, and nothing else, unless --as-packaged trusts it";
            reasons.add("hooks.allow", format!("refused: {}", asked.join(", ")), why, "--as-packaged");
            reasons.notable();
        }
        if given.is_empty() {
            return Ok(());
        }
        given.list.iter().try_for_each(hooks::must_come)?;
        given.program = hooks::program()?;
        let value = |name: &String| Some((name.clone(), std::env::var(name).ok()?));
        given.env = given.allow.env.iter().filter_map(value).collect();
        let names: Vec<String> = given.list.iter().map(|hook| hook.name.clone()).collect();
        reasons.add("hooks", names.join(", "), "the definition says so", "a package without them");
        spec.hooks = Some(Box::new(given));
        Ok(())
    }
}
