//! Networks and leases in a state directory of the test's own.
