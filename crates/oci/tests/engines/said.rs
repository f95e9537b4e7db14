//! What a call of an engine has said.

use std::process::Output;

/// How a call has ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Shown by failures.
    #[allow(dead_code)]
    call: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    pub(crate) fn new(call: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\r', "");
        let code = output.status.code().unwrap_or(-1);
        Self { call, code, out: text(&output.stdout), error: text(&output.stderr) }
    }

    /// That it has ended well; what it said.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        self.ended(0)
    }

    /// That it has ended with this code; what it said.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.out
    }

    /// That it has ended well and said exactly this.
    #[track_caller]
    pub(crate) fn says(self, words: &str) {
        assert!(self.code == 0 && self.out == words, "{words:?} is not what is said: {self:#?}");
    }

    /// That it has ended well and said this among other things.
    #[track_caller]
    pub(crate) fn mentions(self, words: &str) {
        assert!(self.code == 0 && self.out.contains(words), "{words:?} is not mentioned: {self:#?}");
    }
}
