//! Layers of choices, and who made each: the preset, the package, the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use spec::container::Capabilities;
use spec::isolation::{Isolation, MountWord};
use spec::{Error, Result, ResultExt, RootPath};

/// How deep presets may build on each other.
const DEEPEST: usize = 16;

/// All layers, the weakest first.
pub(super) struct Layers(Vec<(String, Isolation)>);

impl Layers {
    /// The presets that `package` builds on, then the package, then the flags. A preset that the
    /// flags name takes the place of the package's, and is stronger than it: who asks for `strict`
    /// gets that, whatever somebody else has packed. Presets of one's own are looked for in `dirs`.
    pub(super) fn of(package: &Isolation, flags: &Isolation, dirs: &[PathBuf]) -> Result<Self> {
        let preset = flags.extends.as_deref().or(package.extends.as_deref()).unwrap_or("default");
        let mut layers = chain(preset, dirs)?;
        let place = if flags.extends.is_some() { 0 } else { layers.len() };
        layers.insert(place, ("the package".to_owned(), package.clone()));
        layers.push(("asked for".to_owned(), flags.clone()));
        Ok(Self(layers))
    }

    /// The strongest word on something, and whose it is.
    pub(super) fn get<T>(&self, word: impl Fn(&Isolation) -> Option<T>) -> Option<(T, &str)> {
        self.0.iter().rev().find_map(|(whose, layer)| word(layer).map(|value| (value, whose.as_str())))
    }

    /// The strongest word alone.
    pub(super) fn value<T>(&self, word: impl Fn(&Isolation) -> Option<T>) -> Option<T> {
        self.get(word).map(|(value, _)| value)
    }

    /// A table in which stronger layers replace single entries.
    pub(super) fn table(
        &self,
        words: impl Fn(&Isolation) -> &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        self.0.iter().flat_map(|(_, layer)| words(layer).clone()).collect()
    }

    /// Everything that any layer leaves out.
    pub(super) fn without(&self) -> BTreeSet<RootPath> {
        self.0.iter().flat_map(|(_, layer)| layer.without.clone()).collect()
    }

    /// All lists of a kind, one after the other.
    pub(super) fn all<T: Clone>(&self, words: impl Fn(&Isolation) -> &Vec<T>) -> Vec<T> {
        self.0.iter().flat_map(|(_, layer)| words(layer).clone()).collect()
    }

    /// The mounts of all layers; of two at one place the stronger layer's.
    pub(super) fn mounts(&self) -> Vec<MountWord> {
        let all = self.all(|layer| &layer.mounts);
        let later = |index: usize, word: &MountWord| all[index + 1..].iter().any(|other| other.at == word.at);
        all.iter()
            .enumerate()
            .filter(|(index, word)| !later(*index, word))
            .map(|(_, word)| word.clone())
            .collect()
    }

    /// What `usual` capabilities become, layer by layer, and who changed them last.
    pub(super) fn capabilities(&self, usual: Capabilities) -> Result<(Capabilities, Option<&str>)> {
        let (mut sets, mut whose) = (usual, None);
        for (origin, layer) in &self.0 {
            if !layer.capabilities.is_empty() {
                sets = layer.capabilities.apply(sets).doing(|| format!("the capabilities ({origin})"))?;
                whose = Some(origin.as_str());
            }
        }
        Ok((sets, whose))
    }
}

/// A preset and all that it builds on, the weakest first.
fn chain(name: &str, dirs: &[PathBuf]) -> Result<Vec<(String, Isolation)>> {
    let mut layers: Vec<(String, Isolation)> = Vec::new();
    let mut next = Some(name.to_owned());
    let mut dirs = dirs;
    while let Some(name) = next {
        if layers.len() == DEEPEST {
            return Err(Error::user(format!("preset {name} builds on itself"))
                .hint("look at the extends of the presets that it builds on"));
        }
        let preset = preset(&name, dirs)?;
        next = preset.extends.clone();
        if next.as_ref() == Some(&name) {
            // One's own of a name that there is already builds on that.
            dirs = &[];
        }
        layers.push((format!("preset {name}"), preset));
    }
    layers.reverse();
    Ok(layers)
}

fn preset(name: &str, dirs: &[PathBuf]) -> Result<Isolation> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if plain {
        for dir in dirs {
            if let Some(own) = read(&dir.join(format!("{name}.toml")))? {
                return Ok(own);
            }
        }
    }
    let text = Isolation::preset(name).ok_or_else(|| {
        let places: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Error::not_found(format!("no preset {name:?}")).hint(format!(
            "there are {}; one of your own is a file NAME.toml in {}",
            Isolation::presets().collect::<Vec<_>>().join(", "),
            places.join(" or ")
        ))
    })?;
    Isolation::parse(text, name)
}

fn read(file: &Path) -> Result<Option<Isolation>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Isolation::parse(&text, &file.display().to_string()).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("reading the preset {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::isolation::set;

    #[test]
    fn the_strongest_layer_wins_and_is_named() {
        let package = set("hostname=packed").expect("setting");
        let flags = set("nice=3").expect("setting");
        let layers = Layers::of(&package, &flags, &[]).expect("layers");
        assert_eq!(layers.get(|layer| layer.hostname.clone()), Some(("packed".to_owned(), "the package")));
        assert_eq!(layers.get(|layer| layer.nice), Some((3, "asked for")));
        assert_eq!(layers.get(|layer| layer.init), None);
    }

    #[test]
    fn a_preset_that_is_asked_for_is_not_weakened_by_a_package() {
        let package = set("no_new_privileges=false").expect("setting");
        let of = |flags: &Isolation| Layers::of(&package, flags, &[]).expect("layers");
        let strict = of(&set("extends=strict").expect("setting"));
        assert_eq!(strict.value(|layer| layer.no_new_privileges), Some(true));
        assert_eq!(of(&Isolation::default()).value(|layer| layer.no_new_privileges), Some(false));
    }

    #[test]
    fn presets_build_on_presets_and_not_on_themselves() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("mine.toml"), "extends = \"strict\"\nnice = 7\n").expect("preset");
        std::fs::write(dir.path().join("loop.toml"), "extends = \"pool\"\n").expect("preset");
        std::fs::write(dir.path().join("pool.toml"), "extends = \"loop\"\n").expect("preset");
        std::fs::write(dir.path().join("default.toml"), "extends = \"default\"\nnice = 3\n").expect("preset");
        let dirs = [dir.path().to_owned()];
        let layers =
            Layers::of(&Isolation::default(), &set("extends=mine").expect("setting"), &dirs).expect("mine");
        assert_eq!(layers.get(|layer| layer.nice), Some((7, "preset mine")));
        assert_eq!(layers.get(|layer| layer.no_new_privileges), Some((true, "preset strict")));
        for bad in ["extends=loop", "extends=none-such", "extends=../mine"] {
            assert!(Layers::of(&Isolation::default(), &set(bad).expect("setting"), &dirs).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_two_mounts_at_one_place_the_stronger_stays() {
        let mount =
            |text: &str| Isolation { mounts: vec![text.parse().expect(text)], ..Isolation::default() };
        let (weak, strong) = (mount("type=tmpfs,target=/x,size=1m"), mount("type=tmpfs,target=/x,size=2m"));
        let mounts = Layers::of(&weak, &strong, &[]).expect("layers").mounts();
        assert_eq!(mounts, strong.mounts);
    }
}
