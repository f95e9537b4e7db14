//! Containers that do not attack: a twin of those that do, whose limits are read, and one that sweeps.

use std::time::{Duration, Instant};

use spec::Result;

use super::audit::Audit;
use super::disks;
use super::groups::Groups;
use super::session::Session;
use crate::attack::{Gauge, Own};
use crate::attacks::SWEEP;
use crate::speech::{Line, Over, Why};

impl Audit<'_> {
    /// What of this may be taken; of disks, of the one that has least.
    pub(super) fn room(&self, gauge: Gauge) -> Option<u64> {
        let disks = self.writes_to.iter().filter_map(|disk| disk.room(gauge));
        disks.chain(self.gauges.room(gauge)).min()
    }

    /// The limits of the container. Its groups are only known when it is there, so a twin of it is
    /// started, looked at, and ended, once for all attacks. It removes what earlier audits have left.
    pub(super) fn limit(&mut self, own: Own) -> Result<Option<u64>> {
        let limits = match self.limits {
            Some(limits) => limits,
            None => {
                let twin = self.sweeper()?;
                let groups = Groups::of(twin.pid);
                let limits = [groups.memory_limit(), groups.pids_limit(), groups.tcp_limit()];
                self.is_counted = !groups.is_empty();
                self.writes_to = disks::written_by(twin.pid);
                if !self.writes_to.is_empty() {
                    // That it cannot is told where it matters: after an attack that was cut off.
                    let _ = swept(twin);
                }
                *self.limits.insert(limits)
            }
        };
        Ok(match own {
            Own::Memory => limits[0],
            Own::Tasks => limits[1],
            Own::Tcp => limits[2],
            Own::Unread => None,
        })
    }

    /// Removes what an attack that was cut off has left where others see it; why not all of it.
    pub(super) fn sweep(&mut self) -> Option<String> {
        if self.writes_to.is_empty() {
            return None;
        }
        match self.sweeper().map(swept) {
            Ok(Some(Over { stop: Why::Amount, .. })) => None,
            Ok(Some(over)) => Some(over.detail),
            Ok(None) => Some("its time was over".to_owned()),
            Err(error) => Some(error.chain()),
        }
    }

    fn sweeper(&mut self) -> Result<Session> {
        let name = self.name();
        let bound = SWEEP.bound;
        let words = self.words(&[format!("{}={}:{}", SWEEP.name, bound.proof, bound.seconds)]);
        Session::start(self.runtime, &name, self.target, &words)
    }
}

/// Lets it sweep; what it says in the end.
fn swept(mut sweeper: Session) -> Option<Over> {
    sweeper.go();
    let end = Instant::now() + Duration::from_secs(15);
    let mut told = None;
    while told.is_none() && Instant::now() < end && !sweeper.is_gone() {
        if let Some(Line::Over(over)) = sweeper.line(Duration::from_millis(50)) {
            told = Some(over);
        }
    }
    sweeper.end();
    told
}
