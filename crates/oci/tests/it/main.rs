//! Real bundles.
