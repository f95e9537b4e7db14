//! Floor 2: control groups - v2, v2 without systemd, v1 and hybrid.
