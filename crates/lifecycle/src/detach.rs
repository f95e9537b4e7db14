//! The keys by which a person leaves a terminal without ending what runs on it.

use std::str::FromStr;

use spec::{Error, Result};

/// A sequence of keys; empty for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<u8>);

impl Default for Keys {
    /// Ctrl-P, Ctrl-Q, as with Docker.
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for Keys {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let keys = text.split(',').map(|word| {
            key(word).ok_or_else(|| {
                Error::user(format!("{word:?} is no key"))
                    .hint("write one character, or ctrl- and one of a-z @ [ \\ ] ^ _; several with commas, as in ctrl-p,ctrl-q; an empty text means no keys")
            })
        });
        keys.collect::<Result<_>>().map(Self)
    }
}

fn key(word: &str) -> Option<u8> {
    match (word.strip_prefix("ctrl-").map(str::as_bytes), word.as_bytes()) {
        (Some([letter @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_')]), _) => {
            Some(letter.to_ascii_uppercase() & 0x1f)
        }
        (None, [byte]) if byte.is_ascii() => Some(*byte),
        _ => None,
    }
}

/// Finds the keys in what is typed.
#[derive(Debug)]
pub(crate) struct Matcher {
    keys: Keys,
    matched: usize,
}

impl Matcher {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of `typed` goes on to the process, and whether the keys were all typed. Those that may
    /// be the first of them wait until the next one tells.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        if keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte != keys[self.matched] {
                passed.extend_from_slice(&keys[..self.matched]);
                self.matched = 0;
            }
            if *byte == keys[self.matched] {
                self.matched += 1;
                if self.matched == keys.len() {
                    return (passed, true);
                }
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        text.parse().expect(text)
    }

    #[test]
    fn keys_are_understood() {
        assert_eq!(keys("ctrl-p,ctrl-q"), Keys::default());
        assert_eq!(keys("ctrl-@,ctrl-\\,ctrl-],a"), Keys(vec![0, 0x1c, 0x1d, b'a']));
        assert_eq!(keys(""), Keys(Vec::new()));
        for bad in ["ctrl-", "ctrl-1", "ab", ",", "ctrl-p,", "ü"] {
            assert!(!bad.parse::<Keys>().expect_err(bad).hints().is_empty(), "{bad}");
        }
    }

    #[test]
    fn only_the_whole_sequence_is_kept_back() {
        for size in [1, 2, 100] {
            let typed = b"a\x10b\x10\x10\x10c\x11\x10\x11rest";
            let mut matcher = Matcher::new(Keys::default());
            let (mut passed, mut detached) = (Vec::new(), false);
            for chunk in typed.chunks(size) {
                let (some, now) = matcher.pass(chunk);
                passed.extend(some);
                detached |= now;
                if now {
                    break;
                }
            }
            assert!(detached);
            assert_eq!(passed, b"a\x10b\x10\x10\x10c\x11");
        }
        assert_eq!(Matcher::new(keys("")).pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
