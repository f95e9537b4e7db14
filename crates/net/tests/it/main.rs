//! Networks in the kernel: in network namespaces of the tests' own, with real packets.

mod lab;
mod limits;
mod policy;
mod repair;
mod routed;
mod segments;
mod spoofing;
