//! Just enough of HTTP to ask a service a question, so that the demo needs no other program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::shell::Result;

/// The status line of `GET /` and the title of the page.
pub(crate) fn get(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or_default().trim_end().to_owned();
    let title =
        text.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    if status.contains(" 200 ") { Ok(format!("GET / → {status} {title:?}")) } else { Err(status.into()) }
}
