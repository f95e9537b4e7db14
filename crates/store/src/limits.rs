//! What is believed of input, at most. Each bound is far above what a service needs and far below
//! what hurts a host.

/// Bytes of one JSON document.
pub const JSON: u64 = 4 << 20;
/// Bytes of a report, compressed and then unpacked.
pub const REPORT: (u64, u64) = (16 << 20, 128 << 20);
/// Members of the outer archive.
pub const MEMBERS: u64 = 10_000;
/// Layers of an imported image.
pub const LAYERS: usize = 500;
/// Image indexes within image indexes, and manifests in all of them.
pub const NESTING: (usize, usize) = (4, 1_000);
/// Entries of one layer or tar, of every kind.
pub const ENTRIES: u64 = 1_000_000;
/// Bytes of a name, with its leading slash (the kernel's PATH_MAX less the final NUL).
pub const PATH: usize = 4095;
/// Bytes of the extended header of one entry: room for several xattrs of 64 KiB.
pub const EXTENDED: u64 = 1 << 20;
/// Bytes that a package may unpack to.
pub const PACKAGE: u64 = 16 << 30;
/// Bytes that an import may unpack to, all layers together.
pub const IMPORT: u64 = 64 << 30;
/// How many times larger than its packed form a layer may get, once it is above [`RATIO_FREE`].
pub const RATIO: u64 = 200;
/// Up to this many bytes a layer may unpack at any ratio.
pub const RATIO_FREE: u64 = 256 << 20;
/// The largest window of a zstd frame, as a power of two: 128 MiB, the `zstd` program's own default.
pub const ZSTD_WINDOW_LOG: u32 = 27;
/// Memory for unpacking xz: enough for `xz -9` (65 MiB).
pub const XZ_MEMORY: u64 = 128 << 20;

/// How far a packed stream of `packed` bytes may grow, under `ceiling`.
pub(crate) fn unpacked(packed: u64, ceiling: u64) -> u64 {
    packed.saturating_mul(RATIO).max(RATIO_FREE).min(ceiling)
}
