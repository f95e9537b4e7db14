//! The descriptions of installed Python packages: which modules a package has, and which other
//! packages it requires.

use std::collections::{BTreeMap, BTreeSet};

use spec::RootPath;

use super::super::super::scene::Scene;

const MAX_DESCRIPTION: u64 = 1 << 20;

/// The packages of one directory.
pub(super) struct Distributions(Vec<Distribution>);

struct Distribution {
    information: RootPath,
    name: String,
    modules: BTreeSet<String>,
    requires: Vec<String>,
}

impl Distributions {
    /// Reads every `*.dist-info` and `*.egg-info` in `site`.
    pub(super) fn read(scene: &Scene<'_>, site: &RootPath) -> Self {
        let entries = scene.entries(site).into_iter();
        let described = entries.filter(|(path, _)| path.name().is_some_and(|name| name.ends_with(b"-info")));
        Self(described.filter_map(|(path, _)| Distribution::read(scene, path)).collect())
    }

    /// `wanted` modules and those of the packages that theirs require, each with its cause.
    pub(super) fn with_required(&self, wanted: BTreeMap<String, RootPath>) -> BTreeMap<String, RootPath> {
        let mut all = wanted.clone();
        let mut waiting: Vec<String> = wanted.into_keys().collect();
        while let Some(module) = waiting.pop() {
            let because = all[&module].clone();
            let required =
                self.0.iter().filter(|one| one.modules.contains(&module)).flat_map(|one| &one.requires);
            let modules = required.flat_map(|name| self.0.iter().filter(move |one| one.name == *name));
            for module in modules.flat_map(|one| &one.modules) {
                if !all.contains_key(module) {
                    all.insert(module.clone(), because.clone());
                    waiting.push(module.clone());
                }
            }
        }
        all
    }

    /// The descriptions of the packages that have this module.
    pub(super) fn of_module(&self, module: &str) -> impl Iterator<Item = &RootPath> {
        self.0.iter().filter(move |one| one.modules.contains(module)).map(|one| &one.information)
    }
}

impl Distribution {
    fn read(scene: &Scene<'_>, information: RootPath) -> Option<Self> {
        let stem = String::from_utf8_lossy(information.name()?).into_owned();
        let text = |file: &str| {
            let content = scene.tree.read_file(&information.join(file.as_bytes()), MAX_DESCRIPTION)?;
            Some(String::from_utf8_lossy(&content).into_owned())
        };
        let single = || {
            let content = scene.tree.read_file(&information, MAX_DESCRIPTION)?;
            Some(String::from_utf8_lossy(&content).into_owned())
        };
        let metadata = text("METADATA").or_else(|| text("PKG-INFO")).or_else(single).unwrap_or_default();
        let name = normalised(stem.split('-').next()?);
        let mut modules: BTreeSet<String> = text("top_level.txt")
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| line.trim().to_owned())
            .collect();
        if modules.is_empty() {
            modules = text("RECORD").as_deref().map(recorded).unwrap_or_default();
        }
        modules.insert(name.replace('-', "_"));
        let requires =
            metadata.lines().filter_map(|line| line.strip_prefix("Requires-Dist:")).filter_map(required);
        let old = text("requires.txt");
        let old = old
            .iter()
            .flat_map(|text| text.lines().take_while(|line| !line.starts_with('[')))
            .filter_map(required);
        Some(Self { requires: requires.chain(old).collect(), information, name, modules })
    }
}

/// The name in `Werkzeug (>=2.2) ; python_version < "4"`; None if only an extra requires it.
fn required(line: &str) -> Option<String> {
    let (name, condition) = line.split_once(';').unwrap_or((line, ""));
    let odd = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let name = name.trim().split(odd).next()?;
    (!name.is_empty() && !condition.contains("extra")).then(|| normalised(name))
}

fn normalised(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// The top-level modules in a RECORD.
fn recorded(record: &str) -> BTreeSet<String> {
    let paths = record.lines().filter_map(|line| line.split(',').next());
    paths
        .filter(|path| !path.starts_with(".."))
        .filter_map(|path| super::module_name(path.as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements() {
        assert_eq!(required("Werkzeug (>=2.2.2)"), Some("werkzeug".to_owned()));
        assert_eq!(
            required(" typing_extensions>=4; python_version < '3.8'"),
            Some("typing-extensions".to_owned())
        );
        assert_eq!(required("asgiref>=3 ; extra == 'async'"), None);
        assert_eq!(required(""), None);
    }

    #[test]
    fn records() {
        let record = "flask/app.py,sha256=x,1\n../../bin/flask,,\nsix.py,,\nflask-2.dist-info/METADATA,,\n";
        assert_eq!(recorded(record).into_iter().collect::<Vec<_>>(), ["flask", "six"]);
    }
}
