//! `KEY=VALUE` on the command line, for every key of the table.

use serde_json::Value;

use super::Isolation;
use crate::{Error, Result};

/// One setting as a layer: `KEY=VALUE`, the key with dots for a table in the table. The value is
/// TOML; what is no TOML is a text, and where a list is wanted its words between commas.
///
/// # Errors
/// An unknown key, with the nearest known one; a value that the key does not take.
pub fn set(text: &str) -> Result<Isolation> {
    setting(text, "namespaces.net=own or hostname=web", Isolation::parse)
}

/// The same for any table that `parse` understands; `example` is for who writes no setting.
pub(crate) fn setting<T>(text: &str, example: &str, parse: impl Fn(&str, &str) -> Result<T>) -> Result<T> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Error::user(format!("{text:?} is no setting")).hint(format!("as in {example}")))?;
    let (key, value) = (key.trim(), value.trim());
    let quoted = toml::Value::String(value.to_owned()).to_string();
    let words: Vec<String> =
        value.split(',').map(|word| toml::Value::String(word.to_owned()).to_string()).collect();
    let forms = [value.to_owned(), quoted, format!("[{}]", words.join(", "))];
    let parsed = forms.iter().map(|form| parse(&format!("{key} = {form}\n"), text));
    let mut first = None;
    for result in parsed {
        match result {
            Ok(layer) => return Ok(layer),
            // The failure of the quoted form tells most: the bare one may merely not be TOML.
            Err(error)
                if first.is_none() || error.hints().iter().any(|hint| hint.starts_with("did you mean")) =>
            {
                first = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(first.unwrap_or_else(|| Error::user(format!("{text:?} is no setting"))))
}

impl Isolation {
    /// This layer with a stronger one over it, as one: lists grow, tables are merged, anything else
    /// is replaced.
    #[must_use]
    pub fn merged(self, stronger: Self) -> Self {
        let value = |layer: &Self| serde_json::to_value(layer).unwrap_or_default();
        let mut merged = value(&self);
        lay_over(&mut merged, value(&stronger));
        // Both were valid, so is every field of the two together.
        serde_json::from_value(merged).unwrap_or(stronger)
    }
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(below), Value::Array(above)) => below.extend(above),
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Namespace;
    use crate::isolation::Origin;

    #[test]
    fn texts_numbers_lists_and_tables() {
        assert_eq!(set("hostname=web").expect("text").hostname.as_deref(), Some("web"));
        assert_eq!(set("nice=5").expect("number").nice, Some(5));
        assert_eq!(set("namespaces.net=own").expect("table").namespaces[&Namespace::Net], Origin::Own);
        assert_eq!(set("capabilities.add=CHOWN,KILL").expect("list").capabilities.add, ["CHOWN", "KILL"]);
        assert_eq!(set("sysctls={ \"net.core.somaxconn\" = \"1\" }").expect("inline").sysctls.len(), 1);
        assert_eq!(set("devices=/dev/fuse").expect("list of one").devices.len(), 1);
    }

    #[test]
    fn layers_merge() {
        let one = set("capabilities.add=CHOWN").expect("list");
        let two = set("capabilities.add=KILL").expect("list").merged(set("nice=3").expect("number"));
        let both = one.merged(two);
        assert_eq!((both.capabilities.add.len(), both.nice), (2, Some(3)));
    }

    #[test]
    fn a_wrong_key_names_the_nearest() {
        let error = set("hostnam=web").expect_err("unknown");
        assert!(error.hints()[0].contains("\"hostname\""), "{error:?}");
        assert!(set("hostname").is_err());
        assert!(set("nice=fast").is_err());
    }
}
