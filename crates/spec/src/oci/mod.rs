//! Bundles of the OCI runtime-spec: a further source of a spec. Its types stop at this border.

pub mod resources;
