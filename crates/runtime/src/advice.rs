//! The way out, where a step fails for a reason that is known.

use rustix::io::Errno;
use spec::plan::Step;

use crate::report::{Fault, Part};

/// What can be done about it.
pub(crate) fn way_out(step: &Step, fault: Fault) -> Option<String> {
    let refused = matches!(fault.errno, Errno::PERM | Errno::ACCESS);
    Some(match (step, fault.part, fault.errno) {
        (_, Part::Procfs, _) if refused => {
            "a procfs of its own takes CAP_SYS_ADMIN, and a host whose /proc is not covered in parts".into()
        }
        (Step::Sysctl { name, .. }, _, Errno::NOENT) if name.starts_with("net.core.") => format!(
            "this kernel has no parameter {name}, or shows it in no network that belongs to a user namespace \
             (Linux 6.1 is one of those): leave it out, or take the host's users"
        ),
        (Step::Sysctl { name, .. }, _, Errno::NOENT) => format!("this kernel has no parameter {name}"),
        (Step::Sysctl { name, .. }, _, Errno::INVAL | Errno::RANGE | Errno::DOM) => {
            format!("the kernel takes no such value for {name}")
        }
        (Step::Sysctl { name, .. }, ..) if refused => {
            format!("{name} cannot be set from a container: leave it out, or set it on the host")
        }
        (Step::Clocks(_), _, Errno::RANGE) => {
            "no clock of the container may go below zero or beyond 146 years".into()
        }
        (Step::Clocks(_), ..) if refused => "setting clocks takes CAP_SYS_TIME".into(),
        (Step::Device(device), Part::Device, Errno::NODEV) => {
            format!("{} is not that device (any more)", device.source.display())
        }
        (Step::Device(device), Part::Device, Errno::NOENT) => {
            format!("{} does not exist on the host", device.source.display())
        }
        (Step::Device(device), Part::MakingMountPoint, Errno::EXIST) => {
            format!("the container's /dev has {} already", device.at)
        }
        (Step::Enter { .. }, _, Errno::INVAL) => {
            "it is our own already, or belongs to a user namespace that is not above".into()
        }
        (Step::Enter { .. } | Step::Own { .. } | Step::Chroot, ..) if refused => "run it with sudo".into(),
        _ => return of_the_process(step, fault, refused),
    })
}

fn of_the_process(step: &Step, fault: Fault, refused: bool) -> Option<String> {
    Some(match (step, fault.part, fault.errno) {
        (Step::Limit { resource, .. }, _, Errno::PERM) => format!(
            "more than our own hard limit {resource} takes CAP_SYS_RESOURCE, and open files end at fs.nr_open: \
             ask for less, or raise the hard limit of whoever starts it"
        ),
        (_, _, Errno::AGAIN) => spec::error::TOO_MANY_PROCESSES.to_owned(),
        (Step::OomScore { .. }, ..) if refused => {
            "a score below our own takes CAP_SYS_RESOURCE: ask for a higher one".into()
        }
        (Step::Label(labels), _, Errno::NOENT) => format!(
            "the host has not loaded {}",
            labels.apparmor.as_ref().or(labels.selinux.as_ref()).map_or("it", String::as_str)
        ),
        (Step::Nice { .. }, ..) if refused => {
            "a priority above our own (a smaller number) takes CAP_SYS_NICE or RLIMIT_NICE".into()
        }
        (Step::Scheduler(_), ..) if refused => {
            "real time takes CAP_SYS_NICE or RLIMIT_RTPRIO, and on version 1 a cpu group with cpu.rt_runtime_us"
                .into()
        }
        (Step::IoPriority(_), ..) if refused => "the real-time class takes CAP_SYS_NICE".into(),
        (Step::Landlock(_), Part::AllowedPath, Errno::NOENT) => {
            "a path that Landlock is to allow must be there at the start: make it, or leave it out".into()
        }
        (Step::Landlock(_), Part::Whole, Errno::PERM) => {
            "Landlock takes no_new_privs or CAP_SYS_ADMIN".into()
        }
        _ => return None,
    })
}
