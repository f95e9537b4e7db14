//! How the process is treated by the kernel's schedulers, and what it looks like to old programs.

use rustix::thread::CpuSet;
use spec::container::{MemoryPolicy, SchedulerPolicy};
use spec::plan::Step;
use spec::{Error, Result};
use sys::schedule::Attributes;

use super::Op;

/// One such property.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schedule {
    Nice(i32),
    Policy { policy: i32, priority: u32 },
    Attributes(Attributes),
    Io { class: u8, level: u8 },
    Personality(u32),
}

pub(super) fn schedule(step: &Step) -> Option<Schedule> {
    Some(match step {
        Step::Nice { level } => Schedule::Nice(*level),
        Step::Scheduler(wanted) if wanted.flags != 0 || wanted.policy == SchedulerPolicy::Deadline => {
            let (runtime, deadline, period) = wanted.deadline;
            let (policy, priority, flags) = (wanted.policy as u32, wanted.priority, wanted.flags);
            Schedule::Attributes(Attributes { policy, priority, flags, runtime, deadline, period })
        }
        Step::Scheduler(wanted) => {
            Schedule::Policy { policy: wanted.policy as i32, priority: wanted.priority }
        }
        Step::IoPriority(wanted) => Schedule::Io { class: wanted.class as u8, level: wanted.level },
        Step::Personality { persona } => Schedule::Personality(*persona),
        _ => return None,
    })
}

/// The most nodes of any kernel (MAX_NUMNODES).
const MOST_NODES: u32 = 1024;

pub(super) fn memory_policy(policy: &MemoryPolicy) -> Result<Op> {
    let mut nodes = Vec::new();
    for node in &policy.nodes {
        if *node >= MOST_NODES {
            return Err(Error::user(format!("memory node {node} is beyond the last that there can be")));
        }
        let (word, bit) = ((node / usize::BITS) as usize, node % usize::BITS);
        nodes.resize(nodes.len().max(word + 1), 0_usize);
        nodes[word] |= 1 << bit;
    }
    Ok(Op::MemoryPolicy { mode: policy.mode, nodes })
}

pub(super) fn affinity(processors: &[u32]) -> Result<Op> {
    let mut set = Box::new(CpuSet::new());
    for processor in processors {
        let number = *processor as usize;
        if number >= CpuSet::MAX_CPU {
            return Err(Error::user(format!("processor {processor} is beyond the last that there can be")));
        }
        set.set(number);
    }
    Ok(Op::Affinity(set))
}
