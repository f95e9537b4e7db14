//! Capabilities in words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::{Capabilities, capability_set};
use crate::{Error, Result};

/// Which capabilities a container has. `ALL` stands for every one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CapabilityWords {
    /// These, in place of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// These too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Not these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// The bounding set, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounding: Option<Vec<String>>,
    /// The permitted set, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<Vec<String>>,
    /// The effective set, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Vec<String>>,
    /// The inheritable set. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inheritable: Option<Vec<String>>,
    /// The ambient set: kept over exec by a user who is not root. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Option<Vec<String>>,
}

impl CapabilityWords {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What `before` becomes by these words. An explicit drop wins over an add of the same layer,
    /// but for `drop = ["ALL"]`, which comes first as with Docker.
    ///
    /// # Errors
    /// A name that is none.
    pub fn apply(&self, before: Capabilities) -> Result<Capabilities> {
        let mut set = before.bounding;
        if let Some(only) = &self.only {
            set = bits(only)?;
        }
        let drops_all = self.drop.iter().any(|name| name.eq_ignore_ascii_case("all"));
        if drops_all {
            set = 0;
        }
        set |= bits(&self.add)?;
        if !drops_all {
            set &= !bits(&self.drop)?;
        }
        let changed = self.only.is_some() || !self.add.is_empty() || !self.drop.is_empty();
        let mut sets = if changed {
            Capabilities {
                inheritable: before.inheritable & set,
                ambient: before.ambient & set,
                ..Capabilities::of(set)
            }
        } else {
            before
        };
        let own = [
            (&self.bounding, &mut sets.bounding),
            (&self.permitted, &mut sets.permitted),
            (&self.effective, &mut sets.effective),
            (&self.inheritable, &mut sets.inheritable),
            (&self.ambient, &mut sets.ambient),
        ];
        for (names, place) in own {
            if let Some(names) = names {
                *place = bits(names)?;
            }
        }
        Ok(sets)
    }
}

fn bits(names: &[String]) -> Result<u64> {
    capability_set(names.iter().map(String::as_str)).map_err(|name| {
        let nearest = nearest(&name);
        Error::user(format!("{name:?} is no capability"))
            .hint(format!("did you mean {nearest}? capabilities(7) lists them"))
    })
}

fn nearest(name: &str) -> &'static str {
    let upper = name.to_ascii_uppercase();
    let likeness = |known: &str| strsim::jaro_winkler(known, upper.trim_start_matches("CAP_"));
    let all = crate::container::CAPABILITY_NAMES;
    all.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::capability;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dropping_all_and_adding_one_leaves_one() {
        let words =
            CapabilityWords { add: names(&["chown"]), drop: names(&["ALL"]), ..CapabilityWords::default() };
        let sets = words.apply(Capabilities::of(u64::MAX)).expect("known");
        assert_eq!(sets, Capabilities::of(capability("CHOWN").expect("known")));
    }

    #[test]
    fn each_set_can_be_said() {
        let words = CapabilityWords { ambient: Some(names(&["CAP_KILL"])), ..CapabilityWords::default() };
        let sets = words.apply(Capabilities::of(0xff)).expect("known");
        assert_eq!((sets.ambient, sets.effective), (1 << 5, 0xff));
    }

    #[test]
    fn a_wrong_name_names_the_nearest() {
        let words = CapabilityWords { add: names(&["NET_BINDSERVICE"]), ..CapabilityWords::default() };
        let error = words.apply(Capabilities::default()).expect_err("unknown");
        assert!(error.hints()[0].contains("NET_BIND_SERVICE"), "{:?}", error.hints());
    }
}
