//! When who says how many instances there should be is asked, and for how long an answer holds.

use std::rc::Rc;
use std::time::{Duration, Instant};

use spec::activation::Activation;
use spec::{Error, Result};

use super::{Service, Stage};
use crate::advisor::{Advisor, Answer, Question};
use crate::config::Policy;

/// Between two questions.
const EACH: Duration = Duration::from_millis(250);

/// Where it has failed.
const LATER: Duration = Duration::from_secs(2);

/// How long an answer holds: after that our own rule does.
const HOLDS: Duration = Duration::from_secs(5);

/// A script that is not asked for so long is not kept any more.
const KEPT: Duration = Duration::from_secs(60);

/// What it has said.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    advisor: Option<Advisor>,
    instances: Option<(u32, Instant)>,
    asked: Option<Instant>,
    /// Nothing has come of the last question yet.
    thinks: bool,
    is_bad: bool,
    /// Answers to who asked under another configuration are none.
    generation: u64,
}

impl Advice {
    /// How many, if it has said so lately.
    pub(super) fn now(&self, now: Instant) -> Option<u32> {
        self.instances.filter(|(_, at)| now.duration_since(*at) < HOLDS).map(|(count, _)| count)
    }

    fn is_due(&self, now: Instant) -> bool {
        let each = if self.is_bad { LATER } else { EACH };
        !self.thinks && self.asked.is_none_or(|at| now.duration_since(at) >= each)
    }

    /// Nobody asks for the service: what was kept goes after a while.
    pub(crate) fn rest(&mut self, now: Instant) {
        if !self.thinks && self.asked.is_some_and(|at| now.duration_since(at) >= KEPT) {
            self.forget();
        }
    }

    /// What was kept goes: whoever has it last ends it, not on the thread that everything else is waiting for.
    pub(crate) fn forget(&mut self) {
        let generation = self.generation + 1;
        let before = std::mem::replace(self, Self { generation, ..Self::default() });
        if let Some(advisor) = before.advisor {
            tokio::task::spawn_blocking(move || drop(advisor));
        }
    }
}

impl Service {
    /// Asks it, if there is one and it is time.
    pub(super) fn ask(self: &Rc<Self>, choices: &Activation, now: Instant) {
        let policy = self.told.borrow().policy.clone();
        if policy == Policy::Own || !self.history.borrow().advice.is_due(now) {
            return;
        }
        let Some(house) = self.house.upgrade() else { return };
        let question = self.question(choices, now);
        let advice = &mut self.history.borrow_mut().advice;
        advice.asked = Some(now);
        advice.thinks = true;
        let generation = advice.generation;
        let advisor = advice.advisor.get_or_insert_default().clone();
        let service = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let answer = house.ask(move || advisor.ask(&policy, &question)).await;
            service.is_answered(answer, generation);
        });
    }

    fn is_answered(&self, answer: Result<Answer>, generation: u64) {
        let now = Instant::now();
        let advice = &mut self.history.borrow_mut().advice;
        if advice.generation != generation {
            return;
        }
        advice.thinks = false;
        advice.asked = Some(now);
        let (log, wrong) = match answer {
            Ok(Answer { error: Some(error), log, .. }) => (log, Some(Error::failed(error))),
            Ok(answer) => {
                advice.instances = answer.instances.map(|count| (count, now));
                (answer.log, None)
            }
            Err(error) => (Vec::new(), Some(error)),
        };
        log.iter().for_each(|line| self.tell(&format!("policy: {line}")));
        let was_bad = std::mem::replace(&mut advice.is_bad, wrong.is_some());
        // Told once, not each time.
        if let Some(error) = wrong.filter(|_| !was_bad) {
            self.tell_error("its policy says nothing: our own rule holds", &error);
        }
    }

    fn question(&self, choices: &Activation, now: Instant) -> Question {
        let load = self.load();
        let frozen = self.instances().iter().filter(|one| one.stage.get() == Stage::Frozen).count() as u32;
        // Each of them looks at what was, by itself.
        let peak = self.history.borrow_mut().peak.most(now);
        let wanted = self.own_rule(choices, now);
        Question {
            service: self.name(),
            queued: load.queued,
            in_flight: load.in_flight,
            starting: load.coming,
            ready: load.ready,
            frozen,
            peak,
            min: choices.min,
            max: choices.max,
            concurrency: choices.concurrency,
            wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceConfig;

    #[test]
    fn a_service_knows_what_to_tell() {
        let service = Service::new(ServiceConfig::called("web"), std::rc::Weak::new());
        let question = service.question(&Activation::default(), Instant::now());
        assert_eq!((question.service.as_str(), question.wanted), ("web", 0));
    }

    #[test]
    fn who_thinks_or_has_failed_is_let_be() {
        let now = Instant::now();
        let mut advice = Advice { asked: Some(now), ..Advice::default() };
        assert!(!advice.is_due(now) && advice.is_due(now + EACH));
        advice.is_bad = true;
        assert!(!advice.is_due(now + EACH) && advice.is_due(now + LATER));
        advice.thinks = true;
        assert!(!advice.is_due(now + LATER));
    }
}
