//! What holds for a document as a whole, whatever it is about: no key twice in one object, no NUL in
//! any string. Readers disagree about both, and what one has checked another would take otherwise.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Error, Result};

/// The longest configuration that is read, in bytes: everything real is a hundred times shorter.
pub const LONGEST: usize = 16 << 20;

/// Refuses what no reader should have to make sense of.
pub(super) fn lint(what: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > LONGEST {
        return Err(Error::user(format!("{what} has {} bytes; {LONGEST} are read at most", bytes.len())));
    }
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let ended = Lint(None).deserialize(&mut document).and_then(|()| document.end());
    ended.map_err(|cause| Error::user(format!("reading {what}")).because(cause))
}

/// The way to a value, from inside to outside; only errors walk it.
#[derive(Clone, Copy)]
enum Way<'a> {
    Key(&'a str, Option<&'a Way<'a>>),
    Index(usize, Option<&'a Way<'a>>),
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key, None) => f.write_str(key),
            Self::Key(key, Some(above)) => write!(f, "{above}.{key}"),
            Self::Index(index, None) => write!(f, "[{index}]"),
            Self::Index(index, Some(above)) => write!(f, "{above}[{index}]"),
        }
    }
}

struct Lint<'a>(Option<&'a Way<'a>>);

impl<'de> DeserializeSeed<'de> for Lint<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Lint<'_> {
    fn text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if !text.contains('\0') {
            return Ok(());
        }
        let place = self.0.map_or_else(String::new, ToString::to_string);
        Err(E::custom(format!("{place} contains a NUL character")))
    }
}

impl<'de> Visitor<'de> for Lint<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while list.next_element_seed(Lint(Some(&Way::Index(index, self.0))))?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(Key(key)) = map.next_key_seed(KeySeed)? {
            let way = Way::Key(&key, self.0);
            Lint(Some(&way)).text::<A::Error>(&key)?;
            if keys.has(&key) {
                return Err(A::Error::custom(format!("{way} is there twice")));
            }
            map.next_value_seed(Lint(Some(&way)))?;
            keys.add(key);
        }
        Ok(())
    }
}

/// Keys of one object: most have few.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn has(&self, key: &str) -> bool {
        if self.many.is_empty() { self.few.iter().any(|one| one == key) } else { self.many.contains(key) }
    }

    fn add(&mut self, key: Cow<'de, str>) {
        if self.few.len() < 24 && self.many.is_empty() {
            self.few.push(key);
            return;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(key);
    }
}

struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}
