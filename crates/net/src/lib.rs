//! Floor 2: what a container's network is made of in the kernel - links, addresses, routes, and the
//! elements of one table of the packet filter.
//!
//! What is to be made is said by [`spec::network::Step`]s; here they are executed, through netlink, in
//! this process.
#![forbid(unsafe_code)]
