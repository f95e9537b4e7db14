//! The definition file, `tsubo.toml`: from a base to a package in one go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activation::ActivationTable;
use crate::hooks::HooksTable;
use crate::isolation::Isolation;
use crate::limits::Limits;
use crate::network::NetworkTable;
use crate::{Error, Name, Result, ResultExt, RootPath};

/// What `tsubo build` reads. Only `name` and `command` must be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name of the development container and of the package.
    #[schemars(with = "String")]
    pub name: Name,
    /// What it is made from: `host` (default), a directory, a tar, an OCI layout or archive, `debian:SUITE`, `ubuntu:SUITE`.
    #[serde(default = "host")]
    pub base: String,
    /// Paths of the host that are shown although they would be hidden (base `host`).
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub see: Vec<RootPath>,
    /// Files and directories beside the definition that are copied into the container first.
    #[serde(default)]
    pub copy: Vec<Copy>,
    /// Shell commands that build the container, in this order.
    #[serde(default)]
    pub build: Vec<String>,
    /// The service's command line.
    pub command: Vec<String>,
    /// Environment of the service.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Who the service runs as: `USER[:GROUP]`, names or numbers. Default: root.
    #[serde(default)]
    pub user: Option<String>,
    /// Working directory of the service. Default: `/`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub workdir: Option<RootPath>,
    /// The signal that asks it to stop. Default: `SIGTERM`.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// When it is ready: `tcp:PORT`, `http:URL`, `unix:PATH`, `file:PATH`, `log:REGEX`, seconds.
    #[serde(default)]
    pub ready: Option<String>,
    /// How long that may take, in seconds. Default: 60.
    #[serde(default)]
    pub ready_timeout: Option<u64>,
    /// Shell commands run on the host, in the container's network, while the service is watched.
    #[serde(default)]
    pub exercises: Vec<String>,
    /// Shell commands run inside the container while the service is watched.
    #[serde(default)]
    pub inside: Vec<String>,
    /// Directories whose content outlives containers.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub volumes: Vec<RootPath>,
    /// How much is kept beyond what was seen: `exact`, `directory` or `package`.
    #[serde(default)]
    pub closure: Option<String>,
    /// Paths (globs) that are kept in any case.
    #[serde(default)]
    pub keep: Vec<String>,
    /// Paths (globs) that are cut in any case.
    #[serde(default)]
    pub drop: Vec<String>,
    /// How the package's containers are isolated; what is not said is a secure default.
    #[serde(default)]
    pub isolation: Isolation,
    /// What the package's containers may use of their host; what is not said is computed from the host.
    #[serde(default)]
    pub limits: Limits,
    /// The networks of the package's containers, which of its ports the host passes on, and who may talk to whom.
    #[serde(default, skip_serializing_if = "NetworkTable::is_empty")]
    pub network: NetworkTable,
    /// How the package's containers come and go behind a gateway (`tsubo gateway`).
    #[serde(default, skip_serializing_if = "ActivationTable::is_empty")]
    pub activation: ActivationTable,
    /// What is done when something happens to the package's containers.
    #[serde(default, skip_serializing_if = "HooksTable::is_empty")]
    pub hooks: HooksTable,
    /// Attacks that its containers must hold, or families of them (`tsubo audit --list`), or `all`.
    #[serde(default)]
    pub audit: Vec<String>,
    /// Where the package is written. Default: `NAME.tsubo`.
    #[serde(default)]
    pub output: Option<String>,
}

/// Something to copy into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Path on the host, relative to the definition.
    pub from: String,
    /// Path inside the container.
    #[schemars(with = "String")]
    pub to: RootPath,
}

fn host() -> String {
    "host".to_owned()
}

impl Definition {
    /// Understands the text of a `tsubo.toml`; `file` names it in errors.
    ///
    /// # Errors
    /// Bad TOML; an unknown key (with the nearest known one); a missing or malformed value.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
            Error::user(format!("{file} is not TOML")).because(one_line(&cause, text))
        })?;
        check_keys(&table, file, text)?;
        let definition: Self = toml::from_str(text)
            .map_err(|cause| Error::user(format!("{file}: {}", one_line(&cause, text))))?;
        definition.complete(file)
    }

    /// Understands what a definition that computes has returned, as JSON; `text` is its own, in which the
    /// line of a mistake is looked for.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn computed(json: &str, file: &str, text: &str) -> Result<Self> {
        let bad = |cause: String| Error::user(format!("{file}: {cause}"));
        let table: toml::Table = serde_json::from_str(json).map_err(|cause| bad(cause.to_string()))?;
        check_keys(&table, file, text)?;
        let definition: Self = serde_path(table).map_err(|(key, cause)| {
            let at = line_of(&key, text).map_or_else(String::new, |line| format!("line {line}: "));
            bad(format!("{at}{cause}"))
        })?;
        definition.complete(file)
    }

    fn complete(self, file: &str) -> Result<Self> {
        if self.command.is_empty() {
            return Err(Error::user(format!("{file}: command is empty"))
                .hint("as in command = [\"nginx\", \"-g\", \"daemon off;\"]"));
        }
        self.network.check().doing(|| format!("{file}: [network]"))?;
        self.activation.resolve().doing(|| format!("{file}: [activation]"))?;
        Ok(self)
    }

    /// The JSON schema of the file (draft 2020-12), for editors.
    pub fn schema() -> String {
        let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Self)).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The message with its line, without the drawing that toml makes of it.
pub(crate) fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
}

/// Each key by itself, so that the one with the mistake can be named.
fn serde_path(table: toml::Table) -> Result<Definition, (String, String)> {
    match Definition::deserialize(table.clone()) {
        Ok(definition) => Ok(definition),
        Err(cause) => {
            let required = ["name", "command"];
            let alone = |key: &String| {
                let part =
                    table.iter().filter(|(other, _)| *other == key || required.contains(&other.as_str()));
                Definition::deserialize(
                    part.map(|(key, value)| (key.clone(), value.clone())).collect::<toml::Table>(),
                )
            };
            let key = table.keys().find(|key| alone(key).is_err()).cloned().unwrap_or_default();
            Err((key, cause.message().lines().collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Understands the text of a file that is one table of a definition.
///
/// # Errors
/// Bad TOML; an unknown key, with the nearest known one.
pub(crate) fn parse_table<T: serde::de::DeserializeOwned + JsonSchema>(text: &str, file: &str) -> Result<T> {
    // What is right is no concern of the schema's, which takes long to make: only what is wrong is.
    if let Ok(right) = toml::from_str(text) {
        return Ok(right);
    }
    let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        Error::user(format!("{file} is not TOML")).because(one_line(&cause, text))
    })?;
    let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap_or_default();
    check_table(&table, &schema, file, text)?;
    toml::from_str(text).map_err(|cause| Error::user(format!("{file}: {}", one_line(&cause, text))))
}

/// Refuses keys that the schema does not know, at the top and in the tables.
fn check_keys(table: &toml::Table, file: &str, text: &str) -> Result<()> {
    let schema = serde_json::to_value(schemars::schema_for!(Definition)).unwrap_or_default();
    let copies = table.get("copy").and_then(toml::Value::as_array).into_iter().flatten();
    for copy in copies.filter_map(toml::Value::as_table) {
        check_table(copy, &schema["$defs"]["Copy"], file, text)?;
    }
    let inner = [
        ("isolation", "Isolation"),
        ("limits", "Limits"),
        ("network", "NetworkTable"),
        ("activation", "ActivationTable"),
        ("hooks", "HooksTable"),
    ];
    for (key, kind) in inner {
        if let Some(inner) = table.get(key).and_then(toml::Value::as_table) {
            check_table(inner, &schema["$defs"][kind], file, text)?;
        }
    }
    check_hooks(table, &schema, file, text)?;
    check_table(table, &schema, file, text)
}

fn check_hooks(table: &toml::Table, schema: &serde_json::Value, file: &str, text: &str) -> Result<()> {
    let Some(hooks) = table.get("hooks").and_then(toml::Value::as_table) else { return Ok(()) };
    if let Some(allow) = hooks.get("allow").and_then(toml::Value::as_table) {
        check_table(allow, &schema["$defs"]["Allow"], file, text)?;
    }
    let list = hooks.get("hook").and_then(toml::Value::as_array).into_iter().flatten();
    list.filter_map(toml::Value::as_table)
        .try_for_each(|hook| check_table(hook, &schema["$defs"]["HookTable"], file, text))
}

pub(crate) fn check_table(
    table: &toml::Table,
    schema: &serde_json::Value,
    file: &str,
    text: &str,
) -> Result<()> {
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let at = line_of(unknown, text).map_or_else(String::new, |line| format!("line {line}: "));
    let error = Error::user(format!("{file}: {at}unknown key {unknown:?}"));
    let likeness = |key: &str| strsim::jaro_winkler(key, unknown);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(match nearest {
        Some(nearest) => error.hint(format!("did you mean {nearest:?}? The keys are: {}", known.join(", "))),
        None => error,
    })
}

/// The line on which `key` is set, at a line's start or in an inline table.
fn line_of(key: &str, text: &str) -> Option<usize> {
    let sets = |line: &str| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
        words.any(|word| word == key)
    };
    text.lines().position(|line| sets(line.split('#').next().unwrap_or_default())).map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_definition() {
        let definition =
            Definition::parse("name = \"web\"\ncommand = [\"nginx\"]\n", "tsubo.toml").expect("parses");
        assert_eq!(definition.base, "host");
        assert!(definition.exercises.is_empty());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = Definition::parse("name = \"web\"\ncommand = [\"x\"]\nexercise = []\n", "tsubo.toml")
            .expect_err("unknown");
        assert!(error.to_string().contains("line 3"), "{error}");
        assert!(error.hints()[0].contains("\"exercises\""), "{error:?} {:?}", error.hints());
    }

    #[test]
    fn an_unknown_key_of_a_copy_names_the_nearest() {
        let text = "name = \"web\"\ncommand = [\"x\"]\ncopy = [{ from = \"a\", too = \"/b\" }]\n";
        let error = Definition::parse(text, "tsubo.toml").expect_err("unknown");
        assert!(error.to_string().contains("line 3"), "{error}");
        assert!(error.hints()[0].contains("\"to\""), "{:?}", error.hints());
    }

    #[test]
    fn networks_are_checked_when_they_are_read() {
        let of = |words: &str| {
            let text = format!("name = \"web\"\ncommand = [\"x\"]\n[network]\n{words}\n");
            Definition::parse(&text, "tsubo.toml")
        };
        let good =
            of("networks = [\"front\"]\npublish = [\"8080:80\"]\nallow = [\"db:5432\"]").expect("network");
        assert_eq!(good.network.publish, ["8080:80"]);
        let error = of("publsh = [\"80\"]").expect_err("unknown");
        assert!(
            error.to_string().contains("line 4") && error.hints()[0].contains("\"publish\""),
            "{error:?}"
        );
        let error = of("publish = [\"80:80/sctp\"]").expect_err("SCTP");
        assert!(error.chain().contains("[network]") && error.chain().contains("SCTP"), "{}", error.chain());
        let json = "{\"name\":\"web\",\"command\":[\"x\"],\"network\":{\"allow\":[\"host:1\"]}}";
        let computed = Definition::computed(json, "tsubo.luau", "").expect("computed");
        assert_eq!(computed.network.allow, ["host:1"]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, part) in [
            ("name = \"a/b\"\ncommand = [\"x\"]", "line 1"),
            ("name = \"web\"\ncommand = 3", "line 2"),
            ("name = ", "not TOML"),
            ("name = \"web\"\ncommand = []", "empty"),
            ("command = [\"x\"]", "name"),
        ] {
            let error = Definition::parse(text, "tsubo.toml").expect_err(text);
            assert!(error.chain().contains(part), "{text}: {}", error.chain());
        }
    }
}
