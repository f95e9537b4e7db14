//! As much of D-Bus as it takes to call systemd's manager: one connection, one call at a time,
//! arguments of a few types. (A library for all of it would weigh more than the whole runtime.)

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// As long as its own library waits. It answers at once; a job that takes longer is only begun then.
const PATIENCE: Duration = Duration::from_secs(25);

/// No answer of the manager is that long.
const LONGEST: usize = 1 << 20;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    /// Numbers of 32 bits.
    Words(Vec<u32>),
    Bytes(Vec<u8>),
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    signature: String,
}

impl Body {
    /// A string.
    pub(super) fn text(&mut self, text: &str) {
        self.signature.push('s');
        put_text(&mut self.bytes, text);
    }

    /// A truth value.
    pub(super) fn flag(&mut self, flag: bool) {
        self.signature.push('b');
        align(&mut self.bytes, 4);
        self.bytes.extend(u32::from(flag).to_le_bytes());
    }

    /// An array of names and values.
    pub(super) fn properties(&mut self, properties: &[(&str, Value)]) {
        self.signature.push_str("a(sv)");
        array(&mut self.bytes, 8, |bytes| {
            for (name, value) in properties {
                align(bytes, 8);
                put_text(bytes, name);
                put_variant(bytes, value);
            }
        });
    }

    /// No further units.
    pub(super) fn nothing(&mut self) {
        self.signature.push_str("a(sa(sv))");
        array(&mut self.bytes, 8, |_| {});
    }
}

/// A connection that has been let in.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Lets the kernel say who we are.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        // All of it at once, as its own library does: what came together with BEGIN after it would
        // lie there unread until something more comes.
        let hello = format!("\0AUTH EXTERNAL {hex}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        stream.write_all(hello.as_bytes())?;
        for wanted in ["OK ", "AGREE_UNIX_FD"] {
            let answer = line(&mut stream)?;
            if !answer.starts_with(wanted) {
                let told = format!("it says {answer:?}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, told));
            }
        }
        Ok(Self { stream, serial: 0 })
    }

    /// Calls a method of the manager and waits for its answer, which nobody here needs but for
    /// whether it is an error.
    pub(super) fn call(&mut self, method: &str, arguments: impl FnOnce(&mut Body)) -> io::Result<()> {
        let mut body = Body::default();
        arguments(&mut body);
        self.serial += 1;
        self.stream.write_all(&message(self.serial, method, &body))?;
        loop {
            let answer = Answer::read(&mut self.stream)?;
            if answer.to == Some(self.serial) && answer.kind == RETURN {
                return Ok(());
            }
            if answer.to == Some(self.serial) && answer.kind == ERROR {
                return Err(io::Error::other(format!("{}: {}", answer.error, answer.words())));
            }
            if answer.kind != SIGNAL && answer.kind != RETURN && answer.kind != ERROR {
                return Err(io::Error::other("it calls us"));
            }
        }
    }
}

/// Header and body of a call.
fn message(serial: u32, method: &str, body: &Body) -> Vec<u8> {
    const TO: [(u8, char, &str); 3] = [
        (1, 'o', "/org/freedesktop/systemd1"),
        (2, 's', "org.freedesktop.systemd1.Manager"),
        (6, 's', "org.freedesktop.systemd1"),
    ];
    let mut bytes = vec![b'l', CALL, 0, 1];
    bytes.extend((body.bytes.len() as u32).to_le_bytes());
    bytes.extend(serial.to_le_bytes());
    array(&mut bytes, 8, |bytes| {
        for (code, kind, text) in TO.into_iter().chain([(3, 's', method)]) {
            align(bytes, 8);
            bytes.push(code);
            put_signature(bytes, &kind.to_string());
            put_text(bytes, text);
        }
        align(bytes, 8);
        bytes.push(8);
        put_signature(bytes, "g");
        put_signature(bytes, &body.signature);
    });
    align(&mut bytes, 8);
    bytes.extend(&body.bytes);
    bytes
}

/// What came back.
struct Answer {
    kind: u8,
    to: Option<u32>,
    error: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: &mut UnixStream) -> io::Result<Self> {
        let mut start = [0u8; 16];
        stream.read_exact(&mut start)?;
        if start[0] != b'l' {
            return Err(io::Error::other("it has another order of bytes"));
        }
        let number =
            |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]) as usize;
        let (body, fields) = (number(4), number(12));
        if body > LONGEST || fields > LONGEST {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut header = vec![0u8; fields.next_multiple_of(8)];
        stream.read_exact(&mut header)?;
        let mut answer = Self { kind: start[1], to: None, error: String::new(), body: vec![0; body] };
        stream.read_exact(&mut answer.body)?;
        answer.fields(&header[..fields]).ok_or_else(|| io::Error::other("its answer is not understood"))?;
        Ok(answer)
    }

    /// Code, signature and value of each; which serial it answers, and the name of an error.
    fn fields(&mut self, header: &[u8]) -> Option<()> {
        let mut at = 0;
        while at < header.len() {
            let code = *header.get(at)?;
            let kind = *header.get(at + 2)?;
            at = match kind {
                b'u' => {
                    let value = word(header, at + 4)?;
                    self.to = if code == 5 { Some(value) } else { self.to };
                    at + 8
                }
                b's' | b'o' => {
                    let length = word(header, at + 4)? as usize;
                    let text = header.get(at + 8..(at + 8).checked_add(length)?)?;
                    if code == 4 {
                        self.error = String::from_utf8_lossy(text).into_owned();
                    }
                    at + 8 + length + 1
                }
                b'g' => at + 4 + usize::from(*header.get(at + 4)?) + 2,
                _ => return None,
            };
            at = at.next_multiple_of(8);
        }
        Some(())
    }

    /// The text of an error, its first argument.
    fn words(&self) -> String {
        let text = word(&self.body, 0).and_then(|length| self.body.get(4..4 + length as usize));
        text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut one = [0u8];
    while !bytes.ends_with(b"\r\n") {
        if bytes.len() > 1024 {
            return Err(io::Error::other("its answer is too long"));
        }
        stream.read_exact(&mut one)?;
        bytes.push(one[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn put_signature(bytes: &mut Vec<u8>, signature: &str) {
    bytes.push(signature.len() as u8);
    bytes.extend(signature.as_bytes());
    bytes.push(0);
}

fn put_variant(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            put_signature(bytes, "s");
            put_text(bytes, text);
        }
        Value::Flag(flag) => {
            put_signature(bytes, "b");
            align(bytes, 4);
            bytes.extend(u32::from(*flag).to_le_bytes());
        }
        Value::Number(number) => {
            put_signature(bytes, "t");
            align(bytes, 8);
            bytes.extend(number.to_le_bytes());
        }
        Value::Words(words) => {
            put_signature(bytes, "au");
            array(bytes, 4, |bytes| words.iter().for_each(|word| bytes.extend(word.to_le_bytes())));
        }
        Value::Bytes(list) => {
            put_signature(bytes, "ay");
            array(bytes, 1, |bytes| bytes.extend(list));
        }
    }
}

/// The length, without what aligns the first element, then the elements.
fn array(bytes: &mut Vec<u8>, alignment: usize, elements: impl FnOnce(&mut Vec<u8>)) {
    align(bytes, 4);
    let at = bytes.len();
    bytes.extend([0; 4]);
    align(bytes, alignment);
    let start = bytes.len();
    elements(bytes);
    let length = (bytes.len() - start) as u32;
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_as_the_specification_has_it() {
        let mut body = Body::default();
        body.text("a");
        body.properties(&[("N", Value::Number(7)), ("P", Value::Words(vec![9]))]);
        body.nothing();
        assert_eq!(body.signature, "sa(sv)a(sa(sv))");
        let wanted: [&[u8]; 8] = [
            &[1, 0, 0, 0, b'a', 0, 0, 0],
            &[44, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'N', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'P', 0, 2, b'a', b'u', 0, 0, 0],
            &[4, 0, 0, 0, 9, 0, 0, 0],
            &[0, 0, 0, 0],
            &[],
        ];
        assert_eq!(body.bytes, wanted.concat());
        let message = message(3, "M", &body);
        assert_eq!(message[..4], [b'l', 1, 0, 1]);
        assert_eq!(message[4..8], (body.bytes.len() as u32).to_le_bytes());
        assert_eq!(message[8..12], [3, 0, 0, 0]);
        assert!(message.ends_with(&body.bytes) && (message.len() - body.bytes.len()) % 8 == 0);
    }

    /// A manager that answers as it is told.
    fn answered(answer: Vec<u8>) -> io::Result<()> {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        theirs.write_all(&answer).expect("answer");
        theirs.shutdown(std::net::Shutdown::Write).expect("no more");
        let mut bus = Bus { stream: ours, serial: 0 };
        bus.stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let done = bus.call("M", |_| {});
        drop(theirs);
        done
    }

    fn header(kind: u8, fields: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b'l', kind, 0, 1];
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend([9, 0, 0, 0]);
        bytes.extend((fields.len() as u32).to_le_bytes());
        bytes.extend(fields);
        align(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn answers_and_errors() {
        let ours = [5, 1, b'u', 0, 1, 0, 0, 0];
        answered(header(RETURN, &ours, b"")).expect("an answer");
        let signal = header(SIGNAL, &[2, 1, b's', 0, 1, 0, 0, 0, b'x', 0], b"");
        answered([signal, header(RETURN, &ours, b"")].concat()).expect("after a signal");
        let mut error = ours.to_vec();
        error.extend([4, 1, b's', 0, 3, 0, 0, 0, b'B', b'a', b'd', 0]);
        let told = answered(header(ERROR, &error, b"\x03\0\0\0why\0")).expect_err("an error").to_string();
        assert_eq!(told, "Bad: why");
    }

    #[test]
    fn whatever_comes_is_no_crash() {
        for byte in 0..=255u8 {
            assert!(answered(vec![byte; 64]).is_err());
            assert!(answered(header(RETURN, &[byte; 24], b"")).is_err() || byte == 0);
        }
        let long = [b'l', RETURN, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 255, 255, 255, 255];
        assert!(answered(long.to_vec()).is_err());
    }
}
