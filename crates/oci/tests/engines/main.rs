//! Podman, Docker and containerd, as Debian has them, drive `tsubo-oci`.
//!
//! Each test makes namespaces of its own, in which the engine keeps all that it makes: see
//! [`house`].

mod containerd;
mod cri;
mod docker;
mod guest;
mod house;
mod image;
mod like_docker;
mod podman;
mod said;
