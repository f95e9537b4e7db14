//! Connections that are passed on as they are.

use std::io::ErrorKind;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::proxy::carry;
use crate::service::Service;

/// So many instances are tried.
const ATTEMPTS: u32 = 3;

/// Brings a client's connection to an instance and carries bytes until both have closed. Where there is
/// none to be had the client's is closed: there is no word for that in every protocol. `socket` is what it comes over.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    service: Rc<Service>,
    mut client: S,
    socket: impl Fn(&S) -> &TcpStream,
) {
    let (began, mut cold) = (std::time::Instant::now(), false);
    for attempt in 0..ATTEMPTS {
        let lease = tokio::select! {
            biased;
            lease = service.acquire() => lease,
            () = has_gone(socket(&client)) => return,
        };
        let Ok(lease) = lease else { return };
        cold |= lease.cold;
        let mut instance = match lease.instance().raw().await {
            Ok(instance) => instance,
            Err(error) if attempt > 0 && error.kind() == ErrorKind::ConnectionRefused => {
                service.is_deaf(lease.instance());
                continue;
            }
            Err(_) => {
                lease.instance().last_moment(attempt > 0).await;
                continue;
            }
        };
        let carried = carry(&mut client, &mut instance).await;
        let (asked, answered) = carried;
        let counters = &mut *service.counters.borrow_mut();
        counters.request(200, began.elapsed(), cold);
        (counters.received, counters.sent) = (counters.received + asked, counters.sent + answered);
        return;
    }
    service.counters.borrow_mut().request(502, began.elapsed(), cold);
}

/// Returns when a client closes before it has said anything; for who has, it is seen only when that is read.
async fn has_gone(client: &TcpStream) {
    if !matches!(client.peek(&mut [0]).await, Ok(0) | Err(_)) {
        std::future::pending().await
    }
}
