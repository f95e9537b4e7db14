//! Floor 2: watches what a service uses - fanotify, seccomp listener, eBPF.
