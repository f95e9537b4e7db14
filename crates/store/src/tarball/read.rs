//! Reading a tar stream that may be hostile.

use std::collections::BTreeMap;
use std::io::{self, Read};

use spec::{Error, Result, RootPath};

use super::pax;
use super::write::{BLOCK, padding};
use super::{Entry, What};
use crate::input::{Skip, bad};
use crate::limits;
use crate::meta::{Meta, Time};

/// Gives the entries of a tar one after the other; between two of them it can be read for the
/// data of the first.
pub(crate) struct Reader<R> {
    inner: R,
    /// Data of the current entry that was not read yet, and the zeros after it.
    left: u64,
    pad: usize,
    /// Bytes consumed so far.
    position: u64,
    entries: u64,
    max_entries: u64,
    /// Names must be relative, as this program writes them.
    strict: bool,
    ended: bool,
}

/// What extended headers said about the next entry.
#[derive(Default)]
struct Extended {
    pax: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Skip> Reader<R> {
    /// A reader for what we write ourselves: names are relative.
    pub(crate) fn strict(inner: R) -> Self {
        let reader = Self::lenient(inner);
        Self { strict: true, ..reader }
    }

    /// A reader for what others write: a leading slash is ignored, as every tar program does.
    pub(crate) fn lenient(inner: R) -> Self {
        let max_entries = limits::ENTRIES;
        Self { inner, left: 0, pad: 0, position: 0, entries: 0, max_entries, strict: false, ended: false }
    }

    /// With another bound on the number of entries.
    pub(crate) fn at_most(self, max_entries: u64) -> Self {
        Self { max_entries, ..self }
    }

    /// Where the data of the current entry starts, from the start of the stream.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the mark at the end of the archive was seen.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The next entry; None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            self.pass_over().map_err(|cause| bad("the archive is truncated", cause))?;
            let Some(header) = self.header()? else { return self.end(&extended) };
            self.count()?;
            if !self.extension(&header, &mut extended)? {
                return self.entry(&header, extended).map(Some);
            }
        }
    }

    fn pass_over(&mut self) -> io::Result<()> {
        let (left, pad) = (self.left, self.pad as u64);
        (self.left, self.pad) = (0, 0);
        if left > 0 {
            self.inner.skip(left)?;
        }
        if pad > 0 {
            match self.inner.skip(pad) {
                // umoci 0.4 ends a layer right after its last byte. Whoever needs an end mark finds none.
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {}
                skipped => skipped?,
            }
        }
        self.position += left + pad;
        Ok(())
    }

    /// The next header block; None at the end mark or where the stream ends between two entries.
    fn header(&mut self) -> Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Error::user("the archive is truncated within a header")),
                Ok(count) => filled += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(bad("the archive cannot be read", cause)),
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        check_sum(&header).map(|()| Some(header))
    }

    fn end(&self, extended: &Extended) -> Result<Option<Entry>> {
        let dangling = extended.pax.is_some() || extended.long_name.is_some() || extended.long_link.is_some();
        if dangling { Err(Error::user("the archive ends after an extended header")) } else { Ok(None) }
    }

    fn count(&mut self) -> Result<()> {
        self.entries += 1;
        match self.entries <= self.max_entries {
            true => Ok(()),
            false => Err(Error::user(format!("the archive has more than {} entries", self.max_entries))),
        }
    }

    /// Reads a header that only describes the next entry; false if it is an entry itself.
    fn extension(&mut self, header: &tar::Header, extended: &mut Extended) -> Result<bool> {
        let flag = header.entry_type().as_byte();
        if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        let size =
            header.entry_size().map_err(|cause| bad("the size of an extended header is invalid", cause))?;
        if size > limits::EXTENDED {
            return Err(Error::user(format!("an extended header claims {size} bytes")));
        }
        let body = self.body(size)?;
        let twice = match flag {
            b'x' => {
                let malformed = || Error::user("an extended header is malformed");
                extended.pax.replace(pax::parse(&body).ok_or_else(malformed)?).is_some()
            }
            b'L' => extended.long_name.replace(until_nul(body)).is_some(),
            b'K' => extended.long_link.replace(until_nul(body)).is_some(),
            // Defaults for all entries: `git archive` puts a comment there, nothing else is used.
            _ => false,
        };
        if twice { Err(Error::user("two extended headers describe one entry")) } else { Ok(true) }
    }

    fn body(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut body = vec![0; size as usize];
        self.inner.read_exact(&mut body).map_err(|cause| bad("the archive is truncated", cause))?;
        self.position += size;
        self.pad = padding(size);
        Ok(body)
    }

    fn entry(&mut self, header: &tar::Header, extended: Extended) -> Result<Entry> {
        let pax = extended.pax.unwrap_or_default();
        let field = |key: &str| pax.get(key.as_bytes());
        let name = extended.long_name.or_else(|| field("path").cloned());
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = name.escape_ascii().to_string();
        let shown = &shown[..shown.len().min(200)];
        let path = self.path(&name).map_err(|why| Error::user(format!("entry {shown:?} {why}")))?;
        if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) || header.entry_type().is_gnu_sparse() {
            return Err(Error::user(format!("entry {path} is stored sparsely, which is not supported"))
                .hint("make the archive again without tar's --sparse"));
        }
        let size = number(field("size"), header.entry_size(), &path, "size")?;
        let link = extended.long_link.or_else(|| field("linkpath").cloned());
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let what = self.what(header, &name, &path, size, link)?;
        let meta = meta(header, &pax, &path)?;
        if matches!(what, What::File { .. }) {
            (self.left, self.pad) = (size, padding(size));
        }
        Ok(Entry { path, what, meta })
    }

    /// Where an entry goes, or what is wrong with its name.
    fn path(&self, name: &[u8]) -> Result<RootPath, &'static str> {
        if name.is_empty() {
            return Err("has no name");
        }
        if name.len() >= limits::PATH {
            return Err("has a name longer than any path may be");
        }
        if self.strict && name.starts_with(b"/") {
            return Err("has an absolute name");
        }
        if name.split(|byte| *byte == b'/').any(|part| part.len() > 255) {
            return Err("has a component longer than 255 bytes");
        }
        RootPath::strict(name).ok_or("leaves the root, or holds a NUL byte")
    }

    fn what(
        &self,
        header: &tar::Header,
        name: &[u8],
        path: &RootPath,
        size: u64,
        link: Vec<u8>,
    ) -> Result<What> {
        let bad = |why: String| Error::user(format!("entry {path} {why}"));
        let what = match header.entry_type().as_byte() {
            // Before POSIX, directories were files with a slash at the end.
            b'0' if name.ends_with(b"/") && size == 0 => What::Directory,
            b'0' | b'7' => What::File { size },
            b'1' => {
                let target =
                    self.path(&link).map_err(|why| bad(format!("is a hard link to a name that {why}")))?;
                What::Hardlink { target }
            }
            b'2' if link.is_empty() || link.contains(&0) || link.len() > limits::PATH => {
                return Err(bad("is a symlink with an invalid target".to_owned()));
            }
            b'2' => What::Symlink { target: link },
            b'3' | b'4' => What::Device,
            b'5' => What::Directory,
            b'6' => What::Fifo,
            other => return Err(bad(format!("is of unknown kind {:?}", other as char))),
        };
        if self.strict && size > 0 && !matches!(what, What::File { .. }) {
            return Err(bad(format!("claims {size} bytes of data, but is not a file")));
        }
        Ok(what)
    }
}

impl<R: Skip> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let got = self.inner.read(&mut buf[..want])?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        self.left -= got as u64;
        self.position += got as u64;
        Ok(got)
    }
}

fn check_sum(header: &tar::Header) -> Result<()> {
    let bytes = header.as_bytes();
    let sum: u32 =
        bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    match header.cksum() {
        Ok(stored) if stored == sum => Ok(()),
        _ => Err(Error::user("this is not a tar archive, or it is damaged: a header's checksum is wrong")),
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn number(record: Option<&Vec<u8>>, field: io::Result<u64>, path: &RootPath, what: &str) -> Result<u64> {
    let invalid = || Error::user(format!("entry {path} has an invalid {what}"));
    let number = match record {
        Some(text) => pax::number(text).ok_or_else(invalid)?,
        None => field.map_err(|cause| invalid().because(cause))?,
    };
    // The sign bit set is how a negative number looks, and no file has 2^63 bytes.
    if number > i64::MAX as u64 { Err(invalid()) } else { Ok(number) }
}

fn meta(header: &tar::Header, pax: &BTreeMap<Vec<u8>, Vec<u8>>, path: &RootPath) -> Result<Meta> {
    let field = |key: &str| pax.get(key.as_bytes());
    let invalid = |what: &str| Error::user(format!("entry {path} has an invalid {what}"));
    let mode = header.mode().map_err(|cause| invalid("mode").because(cause))? & 0o7777;
    let mtime = match field("mtime") {
        Some(text) => pax::parse_time(text).ok_or_else(|| invalid("time"))?,
        None => {
            Time { secs: header.mtime().map_err(|cause| invalid("time").because(cause))? as i64, nanos: 0 }
        }
    };
    let uid = id(number(field("uid"), header.uid(), path, "owner")?).ok_or_else(|| invalid("owner"))?;
    let gid = id(number(field("gid"), header.gid(), path, "group")?).ok_or_else(|| invalid("group"))?;
    let xattr = |(key, value): (&Vec<u8>, &Vec<u8>)| Some((pax::xattr_name(key)?, value.clone()));
    let xattrs = pax.iter().filter_map(xattr).collect::<BTreeMap<_, _>>();
    if xattrs.keys().any(|name| name.is_empty() || name.contains(&0)) {
        return Err(invalid("xattr"));
    }
    Ok(Meta { mode, uid, gid, mtime, xattrs })
}

/// A user or group id; the largest number means "leave it" to the kernel and is none.
fn id(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{END, header};
    use super::*;

    fn read(bytes: &[u8]) -> Result<Entry> {
        Reader::strict(bytes).next().map(|entry| entry.expect("an entry"))
    }

    fn entry(path: &[u8], what: What) -> Entry {
        let path = RootPath::strict(path).expect("a path");
        Entry { path, what, meta: Meta::plain(0o755) }
    }

    #[test]
    fn odd_entries_survive() {
        let long = [&b"a/\xff\n/"[..], &[b'x'; 255], b"/", &[b'y'; 255]].concat();
        let mut first = entry(&long, What::File { size: 0 });
        first.meta = Meta { mode: 0o4755, uid: 4_000_000_000, gid: 3, ..Meta::default() };
        first.meta.mtime = Time { secs: -2, nanos: 999_999_999 };
        first.meta.xattrs.insert(b"security.capability".to_vec(), b"\x01\0\n=\n".to_vec());
        let entries = [
            first,
            entry(b"/", What::Directory),
            entry(b"d", What::Directory),
            entry(b"l", What::Symlink { target: vec![b'/'; 4000] }),
            entry(b"h", What::Hardlink { target: RootPath::strict(&long).expect("a path") }),
            entry(b"p", What::Fifo),
        ];
        for wanted in entries {
            assert_eq!(read(&header(&wanted)).expect("readable"), wanted);
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let one = header(&entry(b"a", What::Directory));
        let many = [one.repeat(5).as_slice(), &END].concat();
        let mut reader = Reader::strict(many.as_slice()).at_most(4);
        let error = std::iter::from_fn(|| reader.next().transpose()).find_map(Result::err).expect("too many");
        assert!(error.chain().contains("more than 4 entries"));
    }

    #[test]
    fn a_negative_size_is_refused() {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[0] = b'a';
        header.as_old_mut().size = [0xff; 12];
        (header.as_old_mut().mode, header.as_old_mut().uid) = (*b"0000644\0", *b"0000000\0");
        header.set_cksum();
        let error = read(header.as_bytes()).expect_err("negative");
        assert!(error.chain().contains("entry /a has an invalid size"), "{error:?}");
    }
}
