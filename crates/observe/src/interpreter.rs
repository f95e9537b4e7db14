//! What the kernel loads beside a program: the interpreter of a script or of an ELF file.
//!
//! fanotify sees these being opened, but not the symlinks by which they were named.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much of a script's first line the kernel reads.
const LINE: usize = 256;
/// No program has more headers than this.
const MOST_HEADERS: u64 = 512;
/// PT_INTERP.
const INTERPRETER: u32 = 3;

/// The path of the interpreter that `file` names, if it does.
pub(crate) fn of(file: &File) -> Option<Vec<u8>> {
    let mut head = [0u8; LINE];
    let got = read(file, 0, &mut head).ok()?;
    let head = &head[..got];
    match head {
        [b'#', b'!', line @ ..] => script(line),
        [0x7f, b'E', b'L', b'F', class @ (1 | 2), 1, ..] => elf(file, head, *class == 2),
        _ => None,
    }
}

fn script(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

/// Sizes and offsets: System V ABI, 32- and 64-bit; little-endian only, as the machine is.
fn elf(file: &File, head: &[u8], wide: bool) -> Option<Vec<u8>> {
    let (table, size, count) = match wide {
        true => (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?),
        false => (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?),
    };
    for index in 0..count.min(MOST_HEADERS) {
        let mut header = [0u8; 56];
        let got = read(file, table.checked_add(index * size)?, &mut header).ok()?;
        let header = &header[..got];
        if number(header, 0, 4)? as u32 != INTERPRETER {
            continue;
        }
        let (offset, length) = match wide {
            true => (number(header, 8, 8)?, number(header, 32, 8)?),
            false => (number(header, 4, 4)?, number(header, 16, 4)?),
        };
        let mut path = vec![0u8; length.min(4096) as usize];
        let got = read(file, offset, &mut path).ok()?;
        return path[..got].split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
    }
    None
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// As much as is there.
fn read(file: &File, mut at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at)? {
            0 => break,
            got => (filled, at) = (filled + got, at + got as u64),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_programs() {
        assert_eq!(script(b" /bin/sh -e\nrest"), Some(b"/bin/sh".to_vec()));
        assert_eq!(script(b"\n"), None);
        let shell = File::open("/bin/sh").expect("a shell");
        let interpreter = of(&shell).expect("dynamic");
        assert!(interpreter.starts_with(b"/lib"), "{interpreter:?}");
        assert_eq!(of(&File::open("/etc/passwd").expect("a file")), None);
    }
}
