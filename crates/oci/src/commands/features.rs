//! `tsubo-oci features`: what is understood here.

use spec::{Error, Result};

use crate::cli::{Context, Verb};
use crate::line::{Line, Reach};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "features",
    words: "",
    about: "Print what is understood, as JSON (features.md of the specification)",
    flags: &[],
    reach: Reach::All,
    example: "  tsubo-oci features",
    run,
};

fn run(_context: &Context, line: &Line) -> Result<u8> {
    line.no_words()?;
    let text = serde_json::to_string_pretty(&spec::oci::features(true));
    say!("{}", text.map_err(|cause| Error::internal("encoding the features").because(cause))?);
    Ok(0)
}
