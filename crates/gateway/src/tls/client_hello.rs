//! For whom a TLS connection is, before anything of it is deciphered: its first message says so.
//!
//! It may come in any number of pieces, as packets and as records. What of it is valid is known by the library that
//! understands it when we answer ourselves.

use rustls::server::Acceptor;

/// Longer ones are none: the greatest that clients send have a tenth of this.
pub const LONGEST: usize = 16 << 10;

/// What is known of the first message so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// More of it must come.
    More,
    /// It is complete.
    Complete {
        /// The name that is asked for, in small letters.
        name: Option<String>,
    },
    /// It is none.
    None,
}

/// Takes a first message piece by piece.
#[derive(Default)]
pub struct Reader {
    acceptor: Acceptor,
    seen: usize,
    said: Option<Greeting>,
}

impl Reader {
    /// With these bytes, which follow those that were told before. Once it is known, more bytes change nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Greeting {
        if let Some(said) = &self.said {
            return said.clone();
        }
        let said = self.read(bytes);
        if said != Greeting::More {
            self.said = Some(said.clone());
        }
        said
    }

    fn read(&mut self, mut bytes: &[u8]) -> Greeting {
        while !bytes.is_empty() {
            // The library takes as much of it as it has room for.
            let Ok(count @ 1..) = self.acceptor.read_tls(&mut bytes) else { return Greeting::None };
            self.seen += count;
            match self.acceptor.accept() {
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return Greeting::Complete { name };
                }
                Ok(None) if self.seen < LONGEST => {}
                Ok(None) | Err(_) => return Greeting::None,
            }
        }
        Greeting::More
    }
}

/// What all bytes that came so far say: for whoever looks at them without taking them from the socket.
pub fn greeting(bytes: &[u8]) -> Greeting {
    Reader::default().push(bytes)
}

#[cfg(test)]
mod tests;
