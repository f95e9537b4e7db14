//! A number or none.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A bound, or the word `max` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// So much.
    At(u64),
    /// No bound. (After `At`: every number is less.)
    Max,
}

impl Limit {
    /// The number, if there is one.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::At(number) => Some(number),
            Self::Max => None,
        }
    }

    /// As version 1 writes it: -1 for none.
    pub fn signed(self) -> String {
        self.number().map_or_else(|| "-1".to_owned(), |number| number.to_string())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(number) => write!(f, "{number}"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// A number or `"max"` in text; in bytes, where nothing says what comes, an optional number.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.number().serialize(serializer);
        }
        match self {
            Self::At(number) => serializer.serialize_u64(*number),
            Self::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(NumberOrMax);
        }
        Ok(Option::<u64>::deserialize(deserializer)?.map_or(Self::Max, Self::At))
    }
}

struct NumberOrMax;

impl Visitor<'_> for NumberOrMax {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or \"max\"")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Limit, E> {
        Ok(Limit::At(number))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Limit, E> {
        u64::try_from(number).map(Limit::At).map_err(|_| E::custom("less than nothing; \"max\" is no limit"))
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Limit, E> {
        if word == "max" {
            Ok(Limit::Max)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_is_more_than_any() {
        assert!(Limit::At(u64::MAX) < Limit::Max);
        assert_eq!(Limit::Max.signed(), "-1");
        assert!(serde_json::from_str::<Limit>("-1").is_err());
        assert!(serde_json::from_str::<Limit>("\"none\"").is_err());
    }
}
