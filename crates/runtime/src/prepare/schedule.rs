//! How the process is treated by the kernel's schedulers, and what it looks like to old programs.

use spec::plan::Step;

/// One such property.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schedule {
    Nice(i32),
    Policy { policy: i32, priority: u32 },
    Io { class: u8, level: u8 },
    Personality(u32),
}

pub(super) fn schedule(step: &Step) -> Option<Schedule> {
    Some(match step {
        Step::Nice { level } => Schedule::Nice(*level),
        Step::Scheduler(wanted) => {
            Schedule::Policy { policy: wanted.policy as i32, priority: wanted.priority }
        }
        Step::IoPriority(wanted) => Schedule::Io { class: wanted.class as u8, level: wanted.level },
        Step::Personality { persona } => Schedule::Personality(*persona),
        _ => return None,
    })
}
