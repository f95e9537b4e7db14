//! What is on, what is off, and why: what `tsubo run --explain` says.

use serde::Serialize;

/// One decision about a container's isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What it is about.
    pub what: &'static str,
    /// What was decided.
    pub state: String,
    /// Why.
    pub why: String,
    /// How to have it otherwise.
    pub otherwise: &'static str,
    /// Worth saying without being asked: a protection that others have is off.
    pub notable: bool,
}

impl Reason {
    /// What its volumes hold could not be limited.
    pub(crate) fn of_volumes(why: &spec::Error) -> Self {
        Self {
            what: "volumes",
            state: "as large as the disk".to_owned(),
            why: why.to_string(),
            otherwise: "--limit disk=SIZE tells what is missing",
            notable: true,
        }
    }
}

/// Collects them.
#[derive(Debug, Default)]
pub(super) struct Reasons(Vec<Reason>);

impl Reasons {
    pub(super) fn add(
        &mut self,
        what: &'static str,
        state: impl Into<String>,
        why: impl Into<String>,
        otherwise: &'static str,
    ) {
        let (state, why) = (state.into(), why.into());
        self.0.push(Reason { what, state, why, otherwise, notable: false });
    }

    /// The last one should be said in any case.
    pub(super) fn notable(&mut self) {
        self.0.last_mut().into_iter().for_each(|reason| reason.notable = true);
    }

    pub(super) fn into_vec(self) -> Vec<Reason> {
        self.0
    }
}
