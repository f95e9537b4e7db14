//! What a program or library says that it needs.

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};
use spec::RootPath;

use crate::base_tree::BaseTree;

/// The dynamic section of a program or library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// Class (32 or 64 bits), byte order and machine: only equal ones go together.
    pub(super) abi: (bool, bool, u16),
    /// The dynamic loader that the kernel starts first.
    pub(super) interpreter: Option<Vec<u8>>,
    /// The libraries it needs.
    pub(super) needed: Vec<Vec<u8>>,
    /// DT_RPATH; empty where there is a DT_RUNPATH, as the loader has it.
    pub(super) rpath: Vec<Vec<u8>>,
    /// DT_RUNPATH.
    pub(super) runpath: Vec<Vec<u8>>,
}

/// Reads the file at `path`; None if it is no ELF file that can be made sense of.
pub(super) fn read(tree: &BaseTree, path: &RootPath) -> Option<Program> {
    let node = tree.node(path).filter(|node| node.is_file())?;
    if node.meta.size < 52 {
        return None;
    }
    let cache = ReadCache::new(tree.open(path).ok()?);
    let ident = ReadRef::read_bytes_at(&cache, 0, 5).ok()?;
    match (&ident[..4], ident[4]) {
        (b"\x7fELF", 1) => parse::<FileHeader32<Endianness>, _>(&cache),
        (b"\x7fELF", 2) => parse::<FileHeader64<Endianness>, _>(&cache),
        _ => None,
    }
}

fn parse<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(data: R) -> Option<Program> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let abi = (header.is_class_64(), header.is_little_endian(), header.e_machine(endian).0);
    let mut program = Program { abi, ..Program::default() };
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            program.interpreter = Some(interpreter.to_vec());
        }
        if let Ok(Some(entries)) = segment.dynamic(endian, data) {
            read_dynamic::<Elf, R>(&mut program, endian, data, segments, entries);
        }
    }
    Some(program)
}

fn read_dynamic<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    program: &mut Program,
    endian: Endianness,
    data: R,
    segments: &[Elf::ProgramHeader],
    entries: &[Elf::Dyn],
) {
    let value =
        |tag| entries.iter().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian).into());
    let Some(strings) =
        value(elf::DT_STRTAB).and_then(|address| file_offset::<Elf>(segments, endian, address))
    else {
        return;
    };
    let end = strings + value(elf::DT_STRSZ).unwrap_or(0);
    let texts = |tag| {
        let wanted = entries.iter().filter(move |entry| entry.d_tag(endian) == tag);
        wanted.filter_map(move |entry| {
            let at = strings.checked_add(entry.d_val(endian).into())?;
            data.read_bytes_at_until(at..end, 0).ok()
        })
    };
    let directories =
        |tag| texts(tag).flat_map(|list| list.split(|b| *b == b':')).filter(|dir| !dir.is_empty());
    program.needed = texts(elf::DT_NEEDED).map(<[u8]>::to_vec).collect();
    program.runpath = directories(elf::DT_RUNPATH).map(<[u8]>::to_vec).collect();
    if program.runpath.is_empty() {
        program.rpath = directories(elf::DT_RPATH).map(<[u8]>::to_vec).collect();
    }
}

/// Where in the file the byte is that is loaded at `address`.
fn file_offset<Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    address: u64,
) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    loaded.into_iter().find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        (within < segment.p_filesz(endian).into())
            .then(|| within.checked_add(segment.p_offset(endian).into()))?
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, path};
    use super::*;

    #[test]
    fn the_hosts_shell_and_its_library() {
        let root = Sample::new("elf");
        root.program("/sh", std::fs::read("/bin/sh").expect("a shell"));
        root.file("/short", b"\x7fELF\x02");
        root.file("/text", "x".repeat(100));
        let mut broken = std::fs::read("/bin/sh").expect("a shell");
        broken[32..40].fill(0xff);
        root.file("/broken", &broken);
        let tree = root.tree();
        let shell = read(&tree, &path("/sh")).expect("an ELF file");
        assert!(shell.interpreter.is_some_and(|interpreter| interpreter.starts_with(b"/lib")));
        assert!(shell.needed.iter().any(|name| name.starts_with(b"libc.")), "{:?}", shell.needed);
        for none in ["/short", "/text", "/broken", "/gone"] {
            assert_eq!(read(&tree, &path(none)), None, "{none}");
        }
    }
}
