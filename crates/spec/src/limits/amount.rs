//! Amounts as people write them: sizes, counts, processors.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::resources::Limit;
use crate::{Error, Result};

/// A number of bytes: 65536, "64M" (powers of 1024), or "max" for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub Limit);

/// A number of things, or "max" for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub Limit);

/// Processors in thousandths: 0.5 is [`Limit::At`] 500; "max" is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(pub Limit);

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(if is_max(text) { Limit::Max } else { Limit::At(crate::isolation::bytes(text)?) }))
    }
}

impl FromStr for Count {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_max(text) {
            return Ok(Self(Limit::Max));
        }
        let number = text.parse().map_err(|_| {
            Error::user(format!("{text:?} is no number")).hint("as in 512, or max for no limit")
        })?;
        Ok(Self(Limit::At(number)))
    }
}

impl FromStr for Cpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_max(text) {
            return Ok(Self(Limit::Max));
        }
        let number = text.parse::<f64>().ok().and_then(thousandths);
        number.map(|number| Self(Limit::At(number))).ok_or_else(|| {
            Error::user(format!("{text:?} is no number of processors"))
                .hint("as in 0.5, 2, or max for no limit; at least 0.001")
        })
    }
}

/// Docker and the kernel write -1 for the same.
fn is_max(text: &str) -> bool {
    matches!(text, "max" | "-1" | "unlimited")
}

/// What is more than any machine has is a mistake.
fn thousandths(number: f64) -> Option<u64> {
    let range = 0.001..=1_000_000.0;
    range.contains(&number).then(|| (number * 1000.0).round() as u64)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0.number() else { return f.write_str("max") };
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let whole = |(shift, _): &&(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
        match units.iter().find(whole) {
            Some((shift, unit)) => write!(f, "{}{unit}", bytes >> shift),
            None => write!(f, "{bytes}"),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.number() {
            Some(number) => write!(f, "{}", number as f64 / 1000.0),
            None => f.write_str("max"),
        }
    }
}

/// Text, a whole number, or (where that means something) a broken one.
struct Written<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = Error>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount or \"max\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|error: Error| E::custom(error.chain()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! written {
    ($($kind:ident: $name:literal, $note:literal;)*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Written(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $kind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "description": $note })
            }
        }
    )*};
}

written! {
    Size: "Size", "bytes, as in 65536 or \"64M\"; \"max\" is no limit";
    Count: "Count", "a number; \"max\" is no limit";
    Cpus: "Cpus", "processors, as in 0.5; \"max\" is no limit";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, shown) in
            [("1024", "1K"), ("1536", "1536"), ("256m", "256M"), ("2GiB", "2G"), ("-1", "max")]
        {
            assert_eq!(text.parse::<Size>().expect(text).to_string(), shown);
        }
        for text in ["", "much", "-2", "1.5x", "99999999999999999999", "99999999999G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn processors() {
        for (text, thousandths) in [("0.5", 500), ("2", 2000), ("0.001", 1), ("1.2344", 1234)] {
            assert_eq!(text.parse::<Cpus>().expect(text).0, Limit::At(thousandths));
        }
        for text in ["0", "-0.5", "nan", "inf", "1e9", "half", "0.0001"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
        assert_eq!("1.5".parse::<Cpus>().expect("cpus").to_string(), "1.5");
    }

    #[test]
    fn they_are_kept_as_people_write_them() {
        let size: Size = serde_json::from_str("1048576").expect("number");
        assert_eq!(serde_json::to_string(&size).expect("text"), "\"1M\"");
        assert!(
            serde_json::from_str::<Count>("-5").is_err() && serde_json::from_str::<Count>("1.5").is_err()
        );
    }
}
