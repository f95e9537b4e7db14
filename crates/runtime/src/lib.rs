//! Floor 2: executes a plan - starts one container.
