//! `./x demo`: the whole story with a real service, by itself.

use crate::shell::Result;

pub(crate) fn run(_args: &[String]) -> Result {
    Err("being written".into())
}
