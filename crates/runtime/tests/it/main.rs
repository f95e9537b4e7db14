//! Containers on the real kernel, from a busybox root made in a temporary directory.

mod bundles;
mod capabilities;
mod confinement;
mod features;
mod harness;
mod landlock;
mod life;
mod mount_kinds;
mod mounts;
mod namespaces;
mod system_calls;
mod users;
