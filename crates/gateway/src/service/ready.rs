//! When an instance is ready.

use std::io;
use std::time::{Duration, Instant};

use spec::ready::{Ready, Url};
use spec::{Error, Result, ResultExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Instance;
use crate::sign::Sign;
use crate::watch::{Timer, Watched};

/// No look is nearer to the one before, and the first comes after this.
const SHORTEST: Duration = Duration::from_micros(100);

/// Nor further.
const LONGEST: Duration = Duration::from_millis(5);

/// After so long the service itself is asked, whatever the kernel says.
const SILENT: Duration = Duration::from_millis(100);

/// What a look takes from whoever starts on the same processor: to ask the kernel, and to ask the service.
const GLANCE: Duration = Duration::from_micros(30);
const QUESTION: Duration = Duration::from_micros(200);

/// Waits until it takes requests; the caller bounds the time.
///
/// # Errors
/// When its first process ends before.
pub(super) async fn wait(instance: &Instance, first: &Watched, sign: Option<(Sign, i32)>) -> Result<()> {
    let timer = Timer::new().doing(|| "making a timer")?;
    tokio::select! {
        biased;
        looked = looks(instance, &timer, sign) => looked.doing(|| "waiting for a timer"),
        ended = first.readable() => {
            ended.doing(|| "watching its first process")?;
            Err(Error::failed("it ended before it was ready"))
        }
    }
}

async fn looks(instance: &Instance, timer: &Timer, sign: Option<(Sign, i32)>) -> io::Result<()> {
    if let Some((sign, pid)) = sign {
        wait_for(sign, pid, timer).await?;
    }
    let port = instance.settings.port;
    let only_waits = port == 0 || matches!(instance.settings.activation.ready, Some(Ready::Millis(_)));
    let probe = if only_waits { None } else { instance.probe() };
    let begun = Instant::now();
    let mut asked = begun;
    loop {
        let silent = probe.as_ref().is_some_and(|probe| !probe.listens(port).unwrap_or(true));
        // Who is reached by a way of its own is not found so.
        let silent = silent && asked.elapsed() < SILENT;
        if !silent {
            asked = Instant::now();
            if is_ready(instance).await {
                return Ok(());
            }
        }
        timer.rest(pause(begun.elapsed(), if silent { GLANCE } else { QUESTION })).await?;
    }
}

async fn wait_for(mut sign: Sign, pid: i32, timer: &Timer) -> io::Result<()> {
    let begun = Instant::now();
    while !sign.is_seen(pid) {
        timer.rest(pause(begun.elapsed(), QUESTION)).await?;
    }
    Ok(())
}

/// Looks that are too near to each other take the time of who starts; those that are too far see it late. After
/// `time` the sum of both is least with this much between two looks: √(2 · cost · time).
fn pause(time: Duration, cost: Duration) -> Duration {
    let product = 2.0 * cost.as_secs_f64() * time.as_secs_f64();
    Duration::from_secs_f64(product.sqrt()).clamp(SHORTEST, LONGEST)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_rarer_the_longer_it_takes() {
        let after = |millis| pause(Duration::from_millis(millis), GLANCE);
        assert_eq!((after(0), after(60_000)), (SHORTEST, LONGEST));
        assert!(after(5) > Duration::from_micros(500) && after(5) < Duration::from_micros(600));
        assert!(pause(Duration::from_millis(5), QUESTION) > after(5));
    }
}
