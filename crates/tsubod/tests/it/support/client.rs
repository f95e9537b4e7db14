//! A client of HTTP/1.1 that sees everything: what is said is written here, and what comes is read byte by byte.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Whoever waits for longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Client<S = TcpStream>(pub BufReader<S>);

/// An answer that came to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// What a header says; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// Which run of the program has answered.
    pub fn run(&self) -> &str {
        self.header("x-run")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    #[track_caller]
    pub fn new(port: u16) -> Self {
        Self::try_new(port).expect("connect")
    }

    pub fn try_new(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Whether the other end has closed, as far as that is known within the time of a long wait.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl<S: Read + Write> Client<S> {
    /// Says something as it is.
    #[track_caller]
    pub fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(text.as_ref()).expect("write");
    }

    /// A request with nothing special, and its answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, "a.test")
    }

    /// The same on a connection that was used before, which may be closed at any time: None when it was, and nothing
    /// of an answer came.
    pub fn again(&mut self, path: &str) -> Option<io::Result<Answer>> {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").ok()?;
        self.0.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
        Some(self.answer(false))
    }

    pub fn ask(&mut self, method: &str, path: &str, host: &str) -> io::Result<Answer> {
        write!(self.0.get_mut(), "{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        self.answer(method == "HEAD")
    }

    /// Reads an answer to its end; one without a body, whatever its head says, where that `is_bare`.
    ///
    /// # Errors
    /// When it has no end.
    pub fn answer(&mut self, is_bare: bool) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let bare = is_bare || answer.status < 200 || answer.status == 204 || answer.status == 304;
        if !bare {
            self.body(&mut answer)?;
        }
        Ok(answer)
    }

    /// The head of an answer.
    pub fn head(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no answer: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                _ if line.is_empty() => return Ok(Answer { status, headers, body: Vec::new() }),
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => return Err(io::Error::other(format!("no header: {line:?}"))),
            }
        }
    }

    fn body(&mut self, answer: &mut Answer) -> io::Result<()> {
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    return Ok(());
                }
                answer.body.extend(chunk);
            }
        }
        match answer.header("content-length").parse() {
            Ok(length) => {
                answer.body.resize(length, 0);
                self.0.read_exact(&mut answer.body)
            }
            Err(_) => self.0.read_to_end(&mut answer.body).map(drop),
        }
    }

    /// One piece of a body; empty at its end.
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| io::Error::other(format!("{line:?}")))?;
        let mut chunk = vec![0; size];
        self.0.read_exact(&mut chunk)?;
        self.line()?;
        Ok(chunk)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One request on a connection of its own.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    Client::try_new(port)?.get(path)
}

/// The same, which must be answered by 200.
#[track_caller]
pub fn good(port: u16, path: &str) -> Answer {
    let answer = get(port, path).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}
