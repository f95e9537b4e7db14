//! Where a field lies in a structure of the running kernel, by the kernel's own description (BTF).

use std::io;

const FILE: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u32 = 0xeb9f;
/// The kind of a structure.
const STRUCT: u32 = 4;

/// The offset in bytes of `field` in the structure `name`.
pub(crate) fn offset(name: &str, field: &str) -> io::Result<u32> {
    let absent = || io::Error::other(format!("{FILE} does not tell where {field} is in {name}"));
    find(&std::fs::read(FILE)?, name, field).ok_or_else(absent)
}

/// The description: a header, types, the names that they refer to.
struct Description<'a> {
    types: &'a [u8],
    names: &'a [u8],
}

fn find(file: &[u8], name: &str, field: &str) -> Option<u32> {
    let description = open(file)?;
    let Description { types, names } = description;
    let named = |offset: u32, wanted: &str| {
        names.get(offset as usize..).is_some_and(|rest| {
            rest.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        })
    };
    let mut at = 0;
    while at < types.len() {
        let (title, info) = (word(types, at)?, word(types, at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
        let members = at + 12;
        at = members + extra(kind, count as usize)?;
        if kind == STRUCT && named(title, name) {
            let mut all = (0..count as usize).map(|number| members + 12 * number);
            let member = all.find(|member| word(types, *member).is_some_and(|title| named(title, field)))?;
            // With bit fields the upper byte is a size.
            let bits = word(types, member + 8)? & if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
            return Some(bits / 8);
        }
    }
    None
}

fn open(file: &[u8]) -> Option<Description<'_>> {
    if word(file, 0)? & 0xffff != MAGIC {
        return None;
    }
    let header = word(file, 4)? as usize;
    let part = |at: usize| {
        let begin = header.checked_add(word(file, at)? as usize)?;
        file.get(begin..begin.checked_add(word(file, at + 4)? as usize)?)
    };
    Some(Description { types: part(8)?, names: part(16)? })
}

/// Bytes behind the three words of a type; None for a kind that came later.
fn extra(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, 64-bit enumerations.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumerations, parameters.
        6 | 13 => 8 * members,
        // Pointers, forward declarations, names, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(types: &[u32], names: &[u8]) -> Vec<u8> {
        let size = 4 * types.len() as u32;
        let header = [0x0001_eb9f, 24, 0, size, size, names.len() as u32];
        let words = header.iter().chain(types).flat_map(|word| word.to_ne_bytes());
        words.chain(names.iter().copied()).collect()
    }

    #[test]
    fn fields_are_found_behind_other_types() {
        // An integer, then a structure of two members.
        let types = [1, 1 << 24, 8, 64, 5, 4 << 24 | 2, 16, 10, 1, 0, 15, 1, 64];
        let names = b"\0int\0cred\0uids\0caps\0";
        let file = description(&types, names);
        assert_eq!(find(&file, "cred", "caps"), Some(8));
        assert_eq!(find(&file, "cred", "cap"), None);
        assert_eq!(find(&file, "int", "caps"), None);
        for length in 0..file.len() {
            let _ = find(&file[..length], "cred", "caps");
        }
        assert_eq!(find(&[0xff; 64], "cred", "caps"), None);
    }

    #[test]
    fn this_kernel_describes_itself() {
        if !std::path::Path::new(FILE).exists() {
            eprintln!("SKIPPED: no {FILE}");
            return;
        }
        assert_eq!(offset("list_head", "next").expect("found"), 0);
        assert_eq!(offset("list_head", "prev").expect("found"), 8);
        assert!(offset("cred", "cap_bset").expect("found") > 0);
        assert!(offset("cred", "no_such_field").is_err());
    }
}
