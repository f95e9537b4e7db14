//! Floor 3: containers on disk and in the kernel - create, start, stop, recover.
