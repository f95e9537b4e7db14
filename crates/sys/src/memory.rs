//! Giving memory back: what a process touched on its way to where it will rest for long.

use std::ffi::c_void;

/// What lies below the caller's frame and may still be in use: the calls that give the rest back.
const BELOW: usize = 4 << 10;

/// As far down as a stack may have been used: the kernel maps so much at once, and we use less.
const STACK: usize = 128 << 10;

unsafe extern "C" {
    // Both from the linker: where the program's constants begin, and where its code ends.
    static __executable_start: u8;
    static etext: u8;
}

/// Gives back free memory of the heap, the unused part of the stack, and the program's own pages,
/// which are read again as they are needed. For a process with one thread that is about to sleep.
pub fn settle() {
    // SAFETY: releases what is free in the allocator; glibc may do that at any time.
    unsafe { libc::malloc_trim(0) };
    let here = 0_u8;
    let end = (&raw const here as usize - BELOW) & !(PAGE - 1);
    give_back(end - STACK, end);
    let (start, end) = (&raw const __executable_start as usize, &raw const etext as usize);
    give_back(start.next_multiple_of(PAGE), end & !(PAGE - 1));
}

const PAGE: usize = 4096;

fn give_back(start: usize, end: usize) {
    // SAFETY: of the stack, only what no frame is using: a later call finds zeroes there, which is
    // as good as what an earlier one left. Of the program, pages that are mapped privately and
    // never written: they come back from the file as they were. What is not mapped is left out.
    unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_still_works_afterwards() {
        let text: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        settle();
        assert_eq!(text[9_999], "9999");
        assert_eq!(format!("{:?}", std::env::args().count() > 0), "true");
    }

    #[test]
    fn memory_goes_back() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/thread-self/statm").expect("statm");
            text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages")
        };
        let before = {
            let freed: Vec<Vec<u8>> = (0..1000).map(|_| vec![1_u8; 4000]).collect();
            assert_eq!(freed.len(), 1000);
            resident()
        };
        settle();
        assert!(resident() < before, "{} of {before}", resident());
    }
}
