//! Which system calls name a path, where in their arguments, and what they do with it.

use linux_raw_sys::general as nr;

/// Directory from which a relative path is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The working directory.
    Cwd,
    /// The descriptor in this argument, or AT_FDCWD.
    Arg(u8),
    /// The working directory; the path stands in a socket's address, whose length is in this
    /// argument.
    Socket(u8),
}

/// Whether a symlink as the last component is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Always.
    Yes,
    /// Never.
    No,
    /// Unless AT_SYMLINK_NOFOLLOW (or O_NOFOLLOW: same idea, other bit) is in this argument.
    Unless(u8, u32),
    /// Only if this bit is in this argument.
    Only(u8, u32),
}

/// What a call does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Looks at it: stat, access, getxattr, statfs, …
    Look,
    /// Reads it as a symlink.
    ReadLink,
    /// Makes it the working directory or root.
    Enter,
    /// Executes it.
    Execute,
    /// Changes or removes it.
    Change,
    /// Makes it, if it is not there.
    Make,
    /// Puts something else in its place (the target of a rename).
    Replace,
    /// Opens it with the flags in this argument.
    Open(u8),
    /// Opens it with the `struct open_how` behind this argument.
    OpenHow(u8),
    /// Creates or empties it (creat).
    Create,
}

/// One path argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathArgument {
    pub(crate) base: Base,
    pub(crate) path: u8,
    pub(crate) follow: Follow,
    pub(crate) deed: Deed,
}

/// Why a call is trapped apart from its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Border {
    /// Nothing else.
    None,
    /// What is queued elsewhere must be read before it happens: a process ends.
    End,
    /// The same, and what names mean changes: a rename, an exec, another directory.
    Names,
    /// Mounts or the view of a process change.
    View,
    /// The service wants a seccomp listener of its own.
    Listener,
}

/// A trapped call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) paths: &'static [PathArgument],
    pub(crate) border: Border,
}

/// AT_SYMLINK_NOFOLLOW.
pub(crate) const NOFOLLOW: u32 = 0x100;
/// AT_SYMLINK_FOLLOW (linkat) where not following is the default.
const FOLLOW: u32 = 0x400;
/// AT_EMPTY_PATH.
pub(crate) const EMPTY_PATH: u32 = 0x1000;
/// O_NOFOLLOW.
pub(crate) const O_NOFOLLOW: u32 = nr::O_NOFOLLOW;
/// O_PATH.
pub(crate) const O_PATH: u32 = nr::O_PATH;
/// In place of a path argument: the base itself is meant.
pub(crate) const NO_PATH: u8 = 0xff;
/// UMOUNT_NOFOLLOW.
const UMOUNT_NOFOLLOW: u32 = 8;
/// IN_DONT_FOLLOW.
const IN_DONT_FOLLOW: u32 = 0x0200_0000;

const fn at(base: u8, path: u8, follow: Follow, deed: Deed) -> PathArgument {
    PathArgument { base: Base::Arg(base), path, follow, deed }
}

const fn cwd(path: u8, follow: Follow, deed: Deed) -> PathArgument {
    PathArgument { base: Base::Cwd, path, follow, deed }
}

const fn socket(address: u8, follow: Follow, deed: Deed) -> PathArgument {
    PathArgument { base: Base::Socket(address + 1), path: address, follow, deed }
}

macro_rules! calls {
    ($($border:ident [$($number:pat_param)|+] $($path:expr),*;)*) => {
        /// What the native call `number` does; None for calls that are of no interest.
        pub(crate) fn native(number: u32) -> Option<Call> {
            match number {
                $($($number)|+ => Some(Call { paths: const { &[$($path),*] }, border: Border::$border }),)*
                _ => None,
            }
        }
    };
}

use Deed::{Change, Create, Enter, Execute, Look, Make, Open, OpenHow, ReadLink, Replace};
use Follow::{No, Only, Unless, Yes};

calls! {
    None [nr::__NR_stat | nr::__NR_access | nr::__NR_statfs | nr::__NR_getxattr | nr::__NR_listxattr
        | nr::__NR_uselib] cwd(0, Yes, Look);
    None [nr::__NR_lstat | nr::__NR_lgetxattr | nr::__NR_llistxattr] cwd(0, No, Look);
    None [nr::__NR_newfstatat] at(0, 1, Unless(3, NOFOLLOW), Look);
    None [nr::__NR_statx] at(0, 1, Unless(2, NOFOLLOW), Look);
    None [nr::__NR_faccessat] at(0, 1, Yes, Look);
    None [nr::__NR_faccessat2] at(0, 1, Unless(3, NOFOLLOW), Look);
    None [nr::__NR_getxattrat | nr::__NR_listxattrat] at(0, 1, Unless(2, NOFOLLOW), Look);
    None [nr::__NR_file_getattr] at(0, 1, Unless(4, NOFOLLOW), Look);
    None [nr::__NR_name_to_handle_at] at(0, 1, Only(4, FOLLOW), Look);
    None [nr::__NR_inotify_add_watch] cwd(1, Unless(2, IN_DONT_FOLLOW), Look);
    None [nr::__NR_fanotify_mark] at(3, 4, Unless(1, 4), Look);
    None [nr::__NR_readlink] cwd(0, No, ReadLink);
    None [nr::__NR_readlinkat] at(0, 1, No, ReadLink);
    None [nr::__NR_open] cwd(0, Unless(1, O_NOFOLLOW), Open(1));
    None [nr::__NR_openat] at(0, 1, Unless(2, O_NOFOLLOW), Open(2));
    None [nr::__NR_openat2] at(0, 1, Yes, OpenHow(2));
    None [nr::__NR_creat] cwd(0, Yes, Create);
    None [nr::__NR_truncate | nr::__NR_chmod | nr::__NR_chown | nr::__NR_utime | nr::__NR_utimes
        | nr::__NR_setxattr | nr::__NR_removexattr] cwd(0, Yes, Change);
    None [nr::__NR_lchown | nr::__NR_lsetxattr | nr::__NR_lremovexattr] cwd(0, No, Change);
    None [nr::__NR_fchmodat | nr::__NR_futimesat] at(0, 1, Yes, Change);
    None [nr::__NR_fchmodat2 | nr::__NR_utimensat] at(0, 1, Unless(3, NOFOLLOW), Change);
    None [nr::__NR_fchownat | nr::__NR_file_setattr] at(0, 1, Unless(4, NOFOLLOW), Change);
    None [nr::__NR_setxattrat | nr::__NR_removexattrat] at(0, 1, Unless(2, NOFOLLOW), Change);
    None [nr::__NR_mkdir | nr::__NR_mknod] cwd(0, No, Make);
    None [nr::__NR_mkdirat | nr::__NR_mknodat] at(0, 1, No, Make);
    None [nr::__NR_bind] socket(1, No, Make);
    None [nr::__NR_connect] socket(1, Yes, Look);
    Names [nr::__NR_unlink | nr::__NR_rmdir] cwd(0, No, Change);
    Names [nr::__NR_unlinkat] at(0, 1, No, Change);
    Names [nr::__NR_rename] cwd(0, No, Change), cwd(1, No, Replace);
    Names [nr::__NR_renameat | nr::__NR_renameat2] at(0, 1, No, Change), at(2, 3, No, Replace);
    Names [nr::__NR_link] cwd(0, No, Look), cwd(1, No, Make);
    Names [nr::__NR_linkat] at(0, 1, Only(4, FOLLOW), Look), at(2, 3, No, Make);
    Names [nr::__NR_symlink] cwd(1, No, Make);
    Names [nr::__NR_symlinkat] at(1, 2, No, Make);
    Names [nr::__NR_execve] cwd(0, Yes, Execute);
    Names [nr::__NR_execveat] at(0, 1, Unless(4, NOFOLLOW), Execute);
    End [nr::__NR_exit_group];
    Names [nr::__NR_fchdir] at(0, NO_PATH, Yes, Enter);
    Names [nr::__NR_chdir] cwd(0, Yes, Enter);
    View [nr::__NR_chroot] cwd(0, Yes, Enter);
    View [nr::__NR_pivot_root] cwd(0, Yes, Look), cwd(1, Yes, Look);
    View [nr::__NR_mount] cwd(0, Yes, Look), cwd(1, Yes, Look);
    View [nr::__NR_umount2] cwd(0, Unless(1, UMOUNT_NOFOLLOW), Look);
    View [nr::__NR_open_tree | nr::__NR_open_tree_attr] at(0, 1, Unless(2, NOFOLLOW), Look);
    View [nr::__NR_move_mount] at(0, 1, Only(4, 1), Look), at(2, 3, Only(4, 0x10), Look);
    View [nr::__NR_fspick] at(0, 1, Unless(2, 2), Look);
    View [nr::__NR_unshare | nr::__NR_setns | nr::__NR_clone | nr::__NR_clone3];
    Listener [nr::__NR_seccomp];
}

/// The native call that an i386 call equals, as far as paths go: the same arguments in the same
/// places.
pub(crate) fn from_i386(number: u32) -> Option<u32> {
    const PAIRS: &[(u32, u32)] = &[
        (5, nr::__NR_open),
        (8, nr::__NR_creat),
        (9, nr::__NR_link),
        (10, nr::__NR_unlink),
        (11, nr::__NR_execve),
        (12, nr::__NR_chdir),
        (14, nr::__NR_mknod),
        (15, nr::__NR_chmod),
        (16, nr::__NR_lchown),
        (21, nr::__NR_mount),
        (30, nr::__NR_utime),
        (33, nr::__NR_access),
        (38, nr::__NR_rename),
        (39, nr::__NR_mkdir),
        (40, nr::__NR_rmdir),
        (52, nr::__NR_umount2),
        (61, nr::__NR_chroot),
        (83, nr::__NR_symlink),
        (85, nr::__NR_readlink),
        (86, nr::__NR_uselib),
        (92, nr::__NR_truncate),
        (99, nr::__NR_statfs),
        (106, nr::__NR_stat),
        (107, nr::__NR_lstat),
        (120, nr::__NR_clone),
        (133, nr::__NR_fchdir),
        (182, nr::__NR_chown),
        (193, nr::__NR_truncate),
        (195, nr::__NR_stat),
        (196, nr::__NR_lstat),
        (198, nr::__NR_lchown),
        (212, nr::__NR_chown),
        (217, nr::__NR_pivot_root),
        (226, nr::__NR_setxattr),
        (227, nr::__NR_lsetxattr),
        (229, nr::__NR_getxattr),
        (230, nr::__NR_lgetxattr),
        (232, nr::__NR_listxattr),
        (233, nr::__NR_llistxattr),
        (235, nr::__NR_removexattr),
        (236, nr::__NR_lremovexattr),
        (252, nr::__NR_exit_group),
        (268, nr::__NR_statfs),
        (271, nr::__NR_utimes),
        (292, nr::__NR_inotify_add_watch),
        (295, nr::__NR_openat),
        (296, nr::__NR_mkdirat),
        (297, nr::__NR_mknodat),
        (298, nr::__NR_fchownat),
        (299, nr::__NR_futimesat),
        (300, nr::__NR_newfstatat),
        (301, nr::__NR_unlinkat),
        (302, nr::__NR_renameat),
        (303, nr::__NR_linkat),
        (304, nr::__NR_symlinkat),
        (305, nr::__NR_readlinkat),
        (306, nr::__NR_fchmodat),
        (307, nr::__NR_faccessat),
        (310, nr::__NR_unshare),
        (320, nr::__NR_utimensat),
        (341, nr::__NR_name_to_handle_at),
        (346, nr::__NR_setns),
        (353, nr::__NR_renameat2),
        (354, nr::__NR_seccomp),
        (358, nr::__NR_execveat),
        (361, nr::__NR_bind),
        (362, nr::__NR_connect),
        (383, nr::__NR_statx),
        (412, nr::__NR_utimensat),
    ];
    // From 424 on all architectures share their numbers.
    if (424..512).contains(&number) {
        return Some(number);
    }
    PAIRS.binary_search_by_key(&number, |pair| pair.0).ok().map(|at| PAIRS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_together() {
        for number in 0..512 {
            let Some(call) = native(number) else { continue };
            for argument in call.paths {
                assert!(argument.path < 6 || argument.path == NO_PATH, "{number}");
            }
        }
        let known = (0..424).filter_map(from_i386).collect::<Vec<_>>();
        assert!(known.len() > 60);
        assert!(known.iter().all(|number| native(*number).is_some()));
    }
}
