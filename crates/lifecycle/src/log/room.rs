//! Room on a full disk, at the cost of a log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{FILES, LINE_BYTES, file_name};

/// So much is given back at least: two blocks, one for a file and one for its directory.
const ROOM: u64 = 8 << 10;

/// Cuts the last lines off the newest log file that has some; false if there is none to be had.
pub(crate) fn give_room(dir: &Path) -> bool {
    (0..FILES).any(|age| cut(&dir.join(file_name(age))).unwrap_or(false))
}

fn cut(path: &Path) -> io::Result<bool> {
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(false);
    }
    let most = length.saturating_sub(ROOM);
    file.set_len(line_end(&file, most)?)?;
    Ok(true)
}

/// Where the last line ends that is whole before `most`.
fn line_end(file: &File, most: u64) -> io::Result<u64> {
    // A line has a head of some forty bytes besides its text.
    let start = most.saturating_sub(LINE_BYTES as u64 + 64);
    let mut bytes = vec![0; (most - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(start, |at| start + at as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_left() {
        let dir = std::env::temp_dir().join(format!("tsubo-room-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("mkdir");
        let lines = "a line of twenty one\n".repeat(1000);
        std::fs::write(dir.join(file_name(0)), &lines).expect("write");
        assert!(give_room(&dir));
        let left = std::fs::read_to_string(dir.join(file_name(0))).expect("read");
        assert!(
            left.len() as u64 + ROOM <= lines.len() as u64
                && left.len() as u64 + ROOM + 21 > lines.len() as u64
        );
        assert!(left.ends_with("one\n") && lines.starts_with(&left));
        while give_room(&dir) {}
        assert!(std::fs::read(dir.join(file_name(0))).expect("read").is_empty());
        std::fs::remove_dir_all(&dir).expect("clean");
    }
}
