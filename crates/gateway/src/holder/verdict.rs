//! What follows from the end of a worker.

/// How it was when a worker ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Its exit code; None where a signal ended it.
    pub(super) code: Option<u8>,
    /// It has served.
    pub(super) was_ready: bool,
    /// It, or another one, has.
    pub(super) served: bool,
    /// The one that it was to replace is there.
    pub(super) has_old: bool,
    /// We were told to end.
    pub(super) ends: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The gateway has ended, with this code.
    End(u8),
    /// Another one takes its place.
    Again,
    /// The one before goes on.
    Back,
}

impl Circumstances {
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self { ends: true, code, .. } => Verdict::End(code.unwrap_or(1)),
            // The new program, or what it was told, is no good. One that had served has sent the old one away.
            Self { was_ready: false, has_old: true, .. } => Verdict::Back,
            // Told by somebody else.
            Self { was_ready: true, code: Some(0), .. } => Verdict::End(0),
            // What it was told is no good, and whoever began us is there to hear of it.
            Self { served: false, code: Some(code), .. } => Verdict::End(code),
            _ => Verdict::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Circumstances =
        Circumstances { code: Some(2), was_ready: false, served: false, has_old: false, ends: false };
    const SERVING: Circumstances =
        Circumstances { code: None, was_ready: true, served: true, has_old: false, ends: false };

    #[test]
    fn a_configuration_that_was_never_good_ends_the_gateway() {
        assert_eq!(FIRST.verdict(), Verdict::End(2));
        assert_eq!(Circumstances { code: None, ..FIRST }.verdict(), Verdict::Again);
    }

    #[test]
    fn who_has_served_is_replaced_unless_it_was_told_to_end() {
        assert_eq!(SERVING.verdict(), Verdict::Again);
        assert_eq!(Circumstances { code: Some(1), ..SERVING }.verdict(), Verdict::Again);
        assert_eq!(Circumstances { code: Some(0), ..SERVING }.verdict(), Verdict::End(0));
        let later = Circumstances { was_ready: false, code: Some(1), ..SERVING };
        assert_eq!(later.verdict(), Verdict::Again, "it may be mended meanwhile");
    }

    #[test]
    fn an_upgrade_that_fails_changes_nothing() {
        for code in [None, Some(0), Some(1)] {
            let upgrade = Circumstances { code, was_ready: false, has_old: true, ..SERVING };
            assert_eq!(upgrade.verdict(), Verdict::Back);
        }
        let crashed = Circumstances { has_old: true, ..SERVING };
        assert_eq!(crashed.verdict(), Verdict::Again, "the old one was sent away already");
    }

    #[test]
    fn nobody_comes_after_the_last_one() {
        for told in [FIRST, SERVING, Circumstances { has_old: true, ..FIRST }] {
            let told = Circumstances { ends: true, ..told };
            assert_eq!(told.verdict(), Verdict::End(told.code.unwrap_or(1)));
        }
    }
}
