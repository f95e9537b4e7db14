//! Who owns a copy of a file for a container with users of its own: ids of the image become those
//! that they are on the host, also where they stand in extended attributes.

use std::ffi::CStr;
use std::io;

use spec::container::Users;

/// A user on the host.
pub(crate) fn user(users: Option<&Users>, inside: u32) -> io::Result<u32> {
    match users {
        None => Ok(inside),
        Some(users) => users.host_uid(inside).ok_or_else(|| homeless("user", inside)),
    }
}

/// A group on the host.
pub(crate) fn group(users: Option<&Users>, inside: u32) -> io::Result<u32> {
    match users {
        None => Ok(inside),
        Some(users) => users.host_gid(inside).ok_or_else(|| homeless("group", inside)),
    }
}

fn homeless(what: &str, id: u32) -> io::Error {
    io::Error::other(format!("{what} {id} has no place in the user mapping"))
}

/// Changes the ids in an extended attribute: of whose root file capabilities are, and in lists of
/// access rights.
pub(crate) fn shift_attribute(users: Option<&Users>, name: &CStr, value: &mut Vec<u8>) -> io::Result<()> {
    if users.is_none() {
        return Ok(());
    }
    match name.to_bytes() {
        b"security.capability" => shift_capabilities(users, value),
        b"system.posix_acl_access" | b"system.posix_acl_default" => shift_rights(users, value),
        _ => Ok(()),
    }
}

/// VFS_CAP_REVISION_3: with the root that they count for, at the end.
const WITH_ROOT: u8 = 3;
/// The size of revision 2, and where the root stands in revision 3 (struct vfs_ns_cap_data).
const ROOT_AT: usize = 20;

fn shift_capabilities(users: Option<&Users>, value: &mut Vec<u8>) -> io::Result<()> {
    let root = value.get(ROOT_AT..).and_then(number).unwrap_or(0);
    value.truncate(ROOT_AT);
    if value.len() == ROOT_AT {
        // The highest byte of the little-endian magic is the revision.
        value[3] = WITH_ROOT;
        value.extend(user(users, root)?.to_le_bytes());
    }
    Ok(())
}

/// ACL_USER and ACL_GROUP: the entries that name somebody (posix_acl_xattr.h: a header of four
/// bytes, then tag, permissions and id in 2, 2 and 4).
const NAMED_USER: u16 = 0x02;
const NAMED_GROUP: u16 = 0x08;

fn shift_rights(users: Option<&Users>, value: &mut [u8]) -> io::Result<()> {
    for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let id = number(&entry[4..]).unwrap_or(0);
        let shifted = match u16::from_le_bytes([entry[0], entry[1]]) {
            NAMED_USER => user(users, id)?,
            NAMED_GROUP => group(users, id)?,
            _ => continue,
        };
        entry[4..].copy_from_slice(&shifted.to_le_bytes());
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_those_of_the_host_or_an_error() {
        let users = Users::anywhere().at(100_000);
        assert_eq!(user(Some(&users), 33).expect("mapped"), 100_033);
        assert_eq!(group(None, 33).expect("as it is"), 33);
        assert!(group(Some(&users), 65_536).expect_err("beyond").to_string().contains("65536"));
    }

    #[test]
    fn file_capabilities_count_for_the_containers_root() {
        let users = Users::anywhere().at(100_000);
        let second = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut value = second.to_vec();
        shift_attribute(Some(&users), c"security.capability", &mut value).expect("shifted");
        assert_eq!(value[..4], [1, 0, 0, 3]);
        assert_eq!(value[4..20], second[4..]);
        assert_eq!(value[20..], 100_000_u32.to_le_bytes());
        let mut plain = second.to_vec();
        shift_attribute(None, c"security.capability", &mut plain).expect("untouched");
        assert_eq!(plain, second);
    }

    #[test]
    fn lists_of_rights_name_the_hosts_users() {
        let users = Users::anywhere().at(100_000);
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[6, 0], &id.to_le_bytes()].concat();
        let list = |user, group| {
            [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, user), entry(8, group), entry(32, u32::MAX)]
                .concat()
        };
        let mut value = list(33, 44);
        shift_attribute(Some(&users), c"system.posix_acl_access", &mut value).expect("shifted");
        assert_eq!(value, list(100_033, 100_044));
    }
}
