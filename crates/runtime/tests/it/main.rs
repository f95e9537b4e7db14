//! Containers on the real kernel, from a busybox root made in a temporary directory.

mod confinement;
mod harness;
mod life;
mod mounts;
