//! A device of the host that is shown in the container's own `/dev`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode};
use spec::container::{Device, MountKind};
use spec::plan::{Plan, Step};
use spec::{Error, Result, RootPath};

use super::{Op, c_path, c_string};

/// What is shown, and where.
#[derive(Debug)]
pub(crate) struct HostDevice {
    pub(crate) source: CString,
    pub(crate) kind: FileType,
    pub(crate) numbers: u64,
    /// The container's `/dev`, the directories from there on, and the name.
    pub(crate) dev: CString,
    pub(crate) way: Vec<CString>,
    pub(crate) name: CString,
    /// A node of its own is made there in place of the host's.
    pub(crate) node: Option<Node>,
}

/// A node in the container's `/dev`, where only the host's root can make one that works.
#[derive(Debug)]
pub(crate) struct Node {
    /// The host's permissions, if none.
    pub(crate) mode: Option<Mode>,
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
}

pub(super) fn prepare(plan: &Plan, device: &Device) -> Result<Op> {
    let dev = own_dev(plan, &device.at)?;
    let below = device.at.below(&dev).unwrap_or_default();
    let mut way = below.split(|byte| *byte == b'/').map(c_string).collect::<Result<Vec<_>>>()?;
    let Some(name) = way.pop() else {
        return Err(Error::user(format!("{} is no place for a device", device.at)));
    };
    Ok(Op::Device(Box::new(HostDevice {
        source: c_string(device.source.as_os_str().as_bytes())?,
        kind: if device.kind.block { FileType::BlockDevice } else { FileType::CharacterDevice },
        numbers: rustix::fs::makedev(device.kind.major, device.kind.minor),
        dev: c_path(dev.relative())?,
        way,
        name,
        node: node(plan, device)?,
    })))
}

/// Only a `/dev` that was made for the container takes devices: elsewhere a mount point would have
/// to be made in files of the image or of the host.
fn own_dev(plan: &Plan, at: &RootPath) -> Result<RootPath> {
    let made = plan.steps.iter().find_map(|step| match step {
        Step::Mount(mount) if matches!(mount.what, MountKind::Dev { .. }) => Some(&mount.at),
        _ => None,
    });
    match made {
        Some(dev) if at.is_within(dev) && at != dev => Ok(dev.clone()),
        _ => Err(Error::user(format!("{at} is not below a /dev of the container's own"))
            .hint("devices go into the container's /dev; leave that mount in")),
    }
}

/// The host's own node is shown if that is enough. Where the container has users of its own, all
/// host nodes are nobody's; and a read-only mount does not keep anybody from writing to a device.
fn node(plan: &Plan, device: &Device) -> Result<Option<Node>> {
    if device.read_only {
        if plan.users.is_none() && overrides_permissions(plan) {
            return Err(Error::user(format!(
                "{} cannot be read-only: CAP_DAC_OVERRIDE of the container writes to any device it sees",
                device.at
            ))
            .hint("drop DAC_OVERRIDE, or give the container a user namespace"));
        }
        // Owned by the host's root, whom the container's root can neither be nor overrule.
        return Ok(Some(Node { mode: Some(Mode::from_raw_mode(0o444)), owner: None }));
    }
    let root = plan.users.as_ref().and_then(|users| Some((users.host_uid(0)?, users.host_gid(0)?)));
    Ok(root.map(|owner| Node { mode: None, owner: Some(owner) }))
}

fn overrides_permissions(plan: &Plan) -> bool {
    let bit = 1 << sys::capability::DAC_OVERRIDE;
    plan.steps.iter().any(|step| matches!(step, Step::Identity { bounding, .. } if bounding & bit != 0))
}
