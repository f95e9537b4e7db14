//! Lists of processors and nodes, as in `0-3,8`.

use super::bad;
use crate::Result;

/// More than any kernel counts to.
const MOST: u32 = 8192;

pub(super) fn list(place: &str, text: &str) -> Result<Vec<u32>> {
    let wrong = || bad(place, &format!("{text:?} is no list such as 0-3,8"));
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let digits = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().ok().filter(|number| *number < MOST).ok_or_else(wrong),
            false => Err(wrong()),
        };
        let (first, last) = (digits(first)?, digits(last)?);
        if first > last {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}
