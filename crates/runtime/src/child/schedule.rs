//! What the kernel's schedulers make of this process.

use crate::prepare::Schedule;
use crate::report::Fault;

pub(super) fn set(schedule: Schedule) -> Result<(), Fault> {
    match schedule {
        Schedule::Nice(level) => rustix::process::setpriority_process(None, level)?,
        Schedule::Policy { policy, priority } => sys::schedule::set_scheduler(policy, priority)?,
        Schedule::Attributes(attributes) => sys::schedule::set_attributes(attributes)?,
        Schedule::Io { class, level } => sys::schedule::set_io_priority(class, level)?,
        Schedule::Personality(persona) => sys::schedule::set_personality(persona)?,
    }
    Ok(())
}
