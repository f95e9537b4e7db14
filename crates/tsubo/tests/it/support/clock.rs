//! The machine's clock, for a test that nothing runs beside.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// In seconds.
pub const DAY: i64 = 24 * 60 * 60;

/// The right time comes back at the end.
pub struct Clock {
    began: Instant,
    right: Duration,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            right: SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970"),
        }
    }

    /// Sets it so many seconds beside the right time.
    pub fn jump(&self, seconds: i64) {
        let right = (self.right + self.began.elapsed()).as_secs() as i64;
        let told =
            Command::new("date").arg("-s").arg(format!("@{}", right + seconds)).output().expect("date");
        assert!(told.status.success(), "{told:?}");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.jump(0);
    }
}
