//! When an instance is ready.

use std::io;
use std::time::{Duration, Instant};

use spec::ready::{Ready, Url};
use spec::{Error, Result, ResultExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Instance;
use crate::watch::{Timer, Watched};

/// The first look comes after this time, and no look is nearer to the one before.
const SHORTEST: Duration = Duration::from_micros(100);

/// Nor further.
const LONGEST: Duration = Duration::from_millis(5);

/// Between two looks is this part of the time since the first: what is late for other reasons is never made
/// later by more than this.
const PART: u32 = 20;

/// Waits until it takes requests; the caller bounds the time.
///
/// # Errors
/// When its first process ends before.
pub(super) async fn wait(instance: &Instance, first: &Watched) -> Result<()> {
    let timer = Timer::new().doing(|| "making a timer")?;
    tokio::select! {
        biased;
        looked = looks(instance, &timer) => looked.doing(|| "waiting for a timer"),
        ended = first.readable() => {
            ended.doing(|| "watching its first process")?;
            Err(Error::failed("it ended before it was ready"))
        }
    }
}

async fn looks(instance: &Instance, timer: &Timer) -> io::Result<()> {
    let begun = Instant::now();
    while !is_ready(instance).await {
        timer.rest((begun.elapsed() / PART).clamp(SHORTEST, LONGEST)).await?;
    }
    Ok(())
}

async fn is_ready(instance: &Instance) -> bool {
    match &instance.settings.activation.ready {
        Some(Ready::Millis(time)) => {
            tokio::time::sleep(Duration::from_millis(*time)).await;
            true
        }
        Some(Ready::Http(url)) => answers(instance, url).await.unwrap_or(false),
        _ if instance.settings.port == 0 => true,
        _ => match instance.connect().await {
            // It is as good as any for the first request.
            Ok(stream) => instance.keep(stream).await.is_ok(),
            Err(_) => false,
        },
    }
}

/// Whether a question is answered by anything but a failure.
pub(super) async fn answers(instance: &Instance, url: &Url) -> io::Result<bool> {
    let mut stream = instance.connect().await?;
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let question = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", url.path);
    stream.write_all(question.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    // `HTTP/1.1 200`
    Ok(head.starts_with(b"HTTP/1.") && (b'1'..=b'4').contains(&head[9]))
}
