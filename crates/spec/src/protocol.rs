//! What a keeper and its clients say to each other: version 1 from the first day, so that
//! containers outlive an upgrade of the programs.
//!
//! A frame is its length (four bytes, little-endian) and a postcard value. The first frame of each
//! side is [`Request::Hello`] and [`Reply::Hello`], which never change; then one of them speaks as
//! the lower of both versions allows.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::container::{Namespace, Process, Room};
use crate::life::Life;
use crate::resources::Resources;
use crate::{Error, ErrorKind, Name, Promise, Result};

/// The version spoken by this program.
pub const VERSION: u32 = 1;

/// The longest frame. Longer ones end the connection; nothing is allocated for them.
pub const MAX_FRAME: usize = 4 << 20;

/// The most bytes of a stream in one frame.
pub const MAX_CHUNK: usize = 64 << 10;

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Error,
}

/// From a client to a keeper. New variants go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first frame.
    Hello {
        /// The client's version.
        version: u32,
    },
    /// Send what the container says from now on, and its end.
    Attach,
    /// Tell its end only.
    Wait,
    /// Input for the container, or for the process that this connection executed.
    Input {
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// No more input.
    InputEnd,
    /// The client's terminal has this size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Send a signal to the container's first process, or to the one that this connection executed.
    Signal {
        /// Its number.
        number: i32,
    },
    /// Execute one more process; this connection becomes its own.
    Exec {
        /// What to execute.
        process: Process,
        /// Whether input comes; otherwise it is empty.
        input: bool,
    },
    /// Closing this connection ends nothing from now on: a caller goes away from what it started.
    Loosen,
    /// It is being stopped: when it has ended, it is not started again.
    Quit,
    /// Hold all its processes.
    Pause,
    /// Let them go on.
    Unpause,
    /// It has another name, and its directory too.
    Rename {
        /// The new name.
        name: Name,
    },
    /// These are the choices from now on.
    Update {
        /// About its life.
        life: Life,
        /// Resource limits for when it is started again.
        rlimits: Vec<(u32, u64, u64)>,
    },
    /// Execute one more process, as [`Request::Exec`] does, with more choices.
    ExecWith {
        /// What to execute.
        process: Process,
        /// Whether input comes; otherwise it is empty.
        input: bool,
        /// Namespaces of the container that it does not enter.
        without: BTreeSet<Namespace>,
        /// Nobody stays with it: nobody hears what it says, and it outlives this connection.
        alone: bool,
    },
    /// As [`Request::Update`], with what it may use of the host when it is started again.
    UpdateAll {
        /// About its life.
        life: Life,
        /// Resource limits for when it is started again.
        rlimits: Vec<(u32, u64, u64)>,
        /// What must be enforced.
        resources: Box<Resources>,
        /// What is enforced where that is possible.
        wishes: Box<Resources>,
    },
    /// How much its files may be from now on.
    UpdateFiles {
        /// Those in memory, when it is started again.
        room: Room,
        /// Its logs, at once.
        logs: Option<u64>,
        /// What it is promised of the disk, which it gives back at its end.
        promise: Promise,
    },
    /// Do the hooks of this signal.
    Fire {
        /// Its number.
        signal: i32,
    },
}

/// From a keeper to a client. New variants go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The first frame.
    Hello {
        /// The keeper's version.
        version: u32,
    },
    /// The process was executed.
    Started {
        /// Its pid on the host.
        pid: i32,
    },
    /// What was asked for failed.
    Failed(Failure),
    /// What was asked for is done.
    Done,
    /// Output.
    Output {
        /// From where.
        stream: Stream,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The process ended.
    Exit {
        /// Its exit code, or 128 and a signal's number.
        code: i32,
    },
}

/// An error on its way between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind, as a number.
    kind: u8,
    /// The whole chain.
    message: String,
    /// The ways out.
    hints: Vec<String>,
}

/// The place of a kind is its number: new ones go to the end.
const KINDS: [ErrorKind; 11] = [
    ErrorKind::User,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::Unsupported,
    ErrorKind::Denied,
    ErrorKind::Failed,
    ErrorKind::NotExecutable,
    ErrorKind::CommandNotFound,
    ErrorKind::Interrupted,
    ErrorKind::Internal,
    ErrorKind::NoRoom,
];

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or_default() as u8;
        Self { kind, message: error.chain(), hints: error.hints().to_vec() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = KINDS.get(usize::from(failure.kind)).copied().unwrap_or(ErrorKind::Internal);
        failure.hints.into_iter().fold(Self::new(kind, failure.message), Self::hint)
    }
}

/// A message as a frame.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4])
        .map_err(|cause| Error::internal("encoding a message").because(cause))?;
    let len = frame.len() - 4;
    if len > MAX_FRAME {
        return Err(Error::user(format!("a message of {len} bytes is longer than {MAX_FRAME}")));
    }
    frame[..4].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(frame)
}

/// Collects the bytes of a connection and takes whole messages out of them.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What was not taken out.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.taken)
    }

    /// Whether everything was taken out.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Takes the next message out if all of it is there.
    ///
    /// # Errors
    /// A frame that is too long or not a message: the connection is of no use any more.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let rest = &self.bytes[self.taken..];
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head) as usize;
        if len > MAX_FRAME {
            return Err(Error::internal(format!("a frame of {len} bytes is too long")));
        }
        let Some(body) = body.get(..len) else { return Ok(None) };
        let message = postcard::from_bytes(body);
        let message = message.map_err(|cause| Error::internal("a frame is not a message").because(cause))?;
        self.taken += 4 + len;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_however_they_are_cut() {
        let sent = [
            Request::Hello { version: VERSION },
            Request::Input { bytes: vec![7; 300] },
            Request::Signal { number: 15 },
        ];
        let wire: Vec<u8> = sent.iter().flat_map(|message| encode(message).expect("short")).collect();
        for size in [1, 2, 3, 7, 1000] {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for chunk in wire.chunks(size) {
                decoder.push(chunk);
                while let Some(message) = decoder.take::<Request>().expect("valid") {
                    got.push(message);
                }
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn garbage_and_giants_are_errors() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(decoder.take::<Request>().is_err());
        let mut decoder = Decoder::default();
        decoder.push(&[1, 0, 0, 0, 0xff]);
        assert!(decoder.take::<Request>().is_err());
        assert!(encode(&Request::Input { bytes: vec![0; MAX_FRAME + 1] }).is_err());
    }

    #[test]
    fn an_error_keeps_kind_and_hints_on_the_way() {
        let error = Error::new(ErrorKind::CommandNotFound, "no command x").hint("look").context("starting");
        let back = Error::from(Failure::from(&error));
        assert_eq!((back.kind(), back.hints(), back.chain()), (error.kind(), error.hints(), error.chain()));
    }

    #[test]
    fn the_first_frames_never_change() {
        assert_eq!(encode(&Request::Hello { version: 1 }).expect("short"), [2, 0, 0, 0, 0, 1]);
        assert_eq!(encode(&Reply::Hello { version: 1 }).expect("short"), [2, 0, 0, 0, 0, 1]);
    }
}
