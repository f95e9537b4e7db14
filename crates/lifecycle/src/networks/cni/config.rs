//! Configurations of CNI: lists of plugins (`*.conflist`) and single ones (`*.conf`, `*.json`), found by the
//! name within.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spec::{Error, Result};

/// Where configurations usually are.
pub(super) const USUAL: &str = "/etc/cni/net.d";

/// What one is that does not say it (as libcni takes it).
const OLDEST: &str = "0.1.0";

/// Versions of the specification that are understood.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// No configuration is larger.
const LARGEST: u64 = 1 << 20;

/// Plugins that are executed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    /// The version of the specification that all of them speak.
    pub(crate) version: String,
    /// What people call it.
    pub(crate) name: String,
    /// The configuration of each.
    pub(crate) plugins: Vec<Map<String, Value>>,
}

impl List {
    /// What a file says, if it says anything.
    pub(super) fn of(text: &[u8], list: bool) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let Value::Object(mut object) = value else { return Err("it is no object".to_owned()) };
        let word = |object: &Map<String, Value>, key: &str| match object.get(key) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word.clone())),
            Some(_) => Err(format!("its {key:?} is no text")),
        };
        let name = word(&object, "name")?.filter(|name| !name.is_empty()).ok_or("it has no name")?;
        let version = word(&object, "cniVersion")?.filter(|version| !version.is_empty());
        let version = version.unwrap_or_else(|| OLDEST.to_owned());
        let plugins = match (list, object.remove("plugins")) {
            (true, Some(Value::Array(plugins))) => plugins,
            (true, _) => return Err("it has no list of plugins".to_owned()),
            (false, _) => vec![Value::Object(object)],
        };
        let plugins = plugins.into_iter().map(|plugin| match plugin {
            Value::Object(plugin) => Ok(plugin),
            other => Err(format!("{other} is no plugin")),
        });
        let list = Self { version, name, plugins: plugins.collect::<Result<_, String>>()? };
        list.must_be_sound().map(|()| list)
    }

    fn must_be_sound(&self) -> Result<(), String> {
        if self.plugins.is_empty() {
            return Err("it has no plugin".to_owned());
        }
        if !VERSIONS.contains(&self.version.as_str()) {
            return Err(format!(
                "its version {:?} is not understood ({})",
                self.version,
                VERSIONS.join(", ")
            ));
        }
        for plugin in &self.plugins {
            let kind = kind(plugin);
            if kind.is_empty() {
                return Err(format!("{kind:?} is no type of a plugin"));
            }
        }
        match self.kinds().chain(self.givers()).find(|kind| is_odd(kind)) {
            Some(kind) => Err(format!("{kind:?} is no type of a plugin")),
            None => Ok(()),
        }
    }

    /// Whether some plugin of it can do this (`capabilities`).
    pub(super) fn can(&self, what: &str) -> bool {
        self.plugins.iter().any(|plugin| can(plugin, what))
    }

    /// The types of its plugins in their order.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(kind)
    }

    /// The types of those that its plugins have give addresses.
    pub(super) fn givers(&self) -> impl Iterator<Item = &str> {
        let kinds = self.plugins.iter().filter_map(|plugin| plugin.get("ipam")?.get("type")?.as_str());
        kinds.filter(|kind| !kind.is_empty())
    }

    /// Whether what a plugin takes back is told to it again (from 0.4.0 on).
    pub(super) fn remembers(&self) -> bool {
        !matches!(self.version.as_str(), "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1")
    }
}

/// What is no name of a program.
fn is_odd(kind: &str) -> bool {
    kind.contains(['/', '\0']) || matches!(kind, "." | "..")
}

pub(super) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn can(plugin: &Map<String, Value>, what: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(what)).and_then(Value::as_bool).unwrap_or(false)
}

/// The configuration of this name in a directory.
///
/// # Errors
/// Not found, with those that there are, and what could not be read.
pub(super) fn find(dir: &Path, wanted: &str) -> Result<List> {
    let (mut names, mut odd) = (Vec::new(), Vec::new());
    for file in files(dir).map_err(|error| Error::io(format!("reading {}", dir.display()), error))? {
        let list = file.extension().is_some_and(|kind| kind == "conflist");
        match text(&file).and_then(|text| List::of(&text, list)) {
            Ok(list) if list.name == wanted => return Ok(list),
            Ok(list) => names.push(list.name),
            Err(why) => odd.push(format!("{}: {why}", file.display())),
        }
    }
    names.sort();
    names.dedup();
    let there =
        if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
    let error =
        Error::not_found(format!("no configuration of CNI in {} is called {wanted}: {there}", dir.display()))
            .hint("the name is the one within; CNI_CONFIG_DIR names another directory");
    Err(odd.into_iter().fold(error, |error, odd| error.hint(format!("not understood: {odd}"))))
}

/// Lists first, as they come by name.
fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let rank = |file: &PathBuf| match file.extension()?.to_str()? {
        "conflist" => Some(0),
        "conf" | "json" => Some(1),
        _ => None,
    };
    let ranked = |entry: fs::DirEntry| {
        let file = entry.path();
        Some((rank(&file)?, file))
    };
    let mut files: Vec<_> = entries.flatten().filter_map(ranked).collect();
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// A plain file that is not too large: nobody waits for the other end of a pipe.
pub(in crate::networks) fn text(file: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(file)?;
        let mut text = Vec::new();
        let is_file = opened.metadata()?.is_file();
        opened.take(LARGEST + 1).read_to_end(&mut text)?;
        Ok((is_file, text))
    };
    match read() {
        Ok((true, text)) if text.len() as u64 <= LARGEST => Ok(text),
        Ok((true, _)) => Err(format!("it has more than {LARGEST} bytes")),
        Ok((false, _)) => Err("it is no file".to_owned()),
        Err::<_, std::io::Error>(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_single_ones_are_found_by_the_name_within() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
        write(
            "20-b.conflist",
            r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"ptp"},{"type":"portmap","capabilities":{"portMappings":true}}]}"#,
        );
        write("10-a.conf", r#"{"name":"a","type":"bridge","bridge":"cni0"}"#);
        write("05-a.conflist", r#"{"cniVersion":"0.4.0","name":"a","plugins":[{"type":"macvlan"}]}"#);
        write("00-bad.json", "{");
        write("c.conf.off", r#"{"name":"c","type":"bridge"}"#);
        let list = find(dir.path(), "b").expect("b");
        assert_eq!(
            (list.version.as_str(), list.kinds().collect::<Vec<_>>()),
            ("1.0.0", vec!["ptp", "portmap"])
        );
        assert!(list.can("portMappings") && !list.can("bandwidth") && list.remembers());
        assert_eq!(
            find(dir.path(), "a").expect("a").kinds().collect::<Vec<_>>(),
            ["macvlan"],
            "a list first"
        );
        fs::remove_file(dir.path().join("05-a.conflist")).expect("removed");
        let single = find(dir.path(), "a").expect("a");
        assert_eq!((single.version.as_str(), single.plugins.len(), single.remembers()), ("0.1.0", 1, false));
        let error = find(dir.path(), "c").expect_err("no c");
        assert!(error.to_string().contains("there are a, b"), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("00-bad.json")), "{error:?}");
        assert!(find(&dir.path().join("none"), "a").expect_err("none").to_string().contains("there is none"));
    }

    #[test]
    fn nonsense_is_said() {
        for (text, list, part) in [
            ("[]", true, "no object"),
            ("{}", true, "no name"),
            (r#"{"name":7}"#, true, "no text"),
            (r#"{"name":"a"}"#, true, "no list"),
            (r#"{"name":"a","plugins":[]}"#, true, "no plugin"),
            (r#"{"name":"a","plugins":[7]}"#, true, "7 is no plugin"),
            (r#"{"name":"a","plugins":[{"type":"../x"}]}"#, true, "no type"),
            (r#"{"name":"a"}"#, false, "no type"),
            (r#"{"name":"a","type":"ptp","cniVersion":"2.0.0"}"#, false, "not understood"),
        ] {
            let error = List::of(text.as_bytes(), list).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
