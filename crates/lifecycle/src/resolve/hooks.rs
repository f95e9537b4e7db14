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
            let why = "they run programs of the host, or could keep you from ending or changing it, and the package may come from elsewhere: --as-packaged trusts it";
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
        let is_wired = crate::networks::is_wired(spec);
        given.list.iter().try_for_each(|hook| hooks::must_come(hook, is_wired))?;
        given.program = hooks::program()?;
        // Where an ordinary user's containers are is said there.
        let own: &[&str] =
            if crate::rootless::inside() { &["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] } else { &[] };
        let value = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let names = given.allow.env.iter().map(String::as_str).chain(own.iter().copied());
        given.env = names.filter_map(value).collect();
        let names: Vec<String> = given.list.iter().map(|hook| hook.name.clone()).collect();
        if !given.allow.words().is_empty() {
            let why = "the definition allows it, and the package is trusted";
            reasons.add("hooks.allow", given.allow.words().join(", "), why, "without --as-packaged");
        }
        reasons.add("hooks", names.join(", "), "the definition says so", "a package without them");
        spec.hooks = Some(Box::new(given));
        Ok(())
    }
}
