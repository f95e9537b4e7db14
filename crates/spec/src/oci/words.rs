//! Words that stand for numbers of the kernel.

use super::bad;
use crate::Result;

/// The number of `word` in `table`.
///
/// # Errors
/// With the words that there are.
pub(super) fn number<T: Copy>(place: &str, what: &str, word: &str, table: &[(&str, T)]) -> Result<T> {
    let known = table.iter().find(|(name, _)| *name == word);
    known.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
        let shown: String = word.chars().take(80).collect();
        bad(place, &format!("{shown:?} is no {what}")).hint(format!("there are {}", names.join(", ")))
    })
}
