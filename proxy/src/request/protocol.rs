//! A connection from its first octet to its protocol: what a client says before it speaks HTTP, and in which version it
//! then does.

use std::rc::Rc;

use super::{announced, connection, http2, plan_of, secure};
use crate::buf::Chunk;
use crate::listen::{Client, deadline};
use crate::worker::{Registered, Worker};

/// What a connection of HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves an accepted connection to its end.
pub async fn entered(worker: Rc<Worker>, client: Rc<Client>, registered: Registered) {
    if client.whence.is_proxy() && !Box::pin(announced::read(&worker, &client)).await {
        return;
    }
    let is_ready = match client.socket.tls() {
        Some(tls) => Box::pin(secure::secure(&worker, &client, tls)).await,
        None => true,
    };
    if !is_ready {
        return;
    }
    if speaks_http2(&client) || (may_begin_with_http2(&worker, &client) && Box::pin(begins(&worker, &client)).await) {
        Box::pin(http2::connection(worker, client, registered)).await;
    } else {
        connection(worker, client, registered).await;
    }
}

/// Whether that was agreed on over TLS (RFC 9113 section 3.2).
fn speaks_http2(client: &Client) -> bool {
    client.secured().is_some_and(|secured| secured.alpn.as_deref() == Some(b"h2"))
}

/// Whether it may be spoken without being agreed on.
fn may_begin_with_http2(worker: &Worker, client: &Client) -> bool {
    let current = worker.current_of(&client.listener);
    client.secured().is_none() && plan_of(&current, client).is_some_and(|(_, plan)| plan.h2c)
}

/// Waits for what the first octets say. Those of HTTP/1 are given back, also when nothing comes behind them: it is
/// HTTP/1 then that failed.
async fn begins(worker: &Worker, client: &Client) -> bool {
    let limit = {
        let current = worker.current_of(&client.listener);
        let Some((_, plan)) = plan_of(&current, client) else { return false };
        plan.rules.timeouts.head
    };
    let mut seen = Vec::new();
    loop {
        let Ok(Ok(Some(chunk))) = client.within(deadline(client.accepted, limit), client.socket.recv()).await else {
            client.socket.unread(Chunk::from(seen));
            return false;
        };
        let all = match seen.is_empty() {
            true => chunk,
            false => Chunk::from([&seen, &*chunk].concat()),
        };
        match front(&all) {
            Some(is) => {
                client.socket.unread(all);
                return is;
            }
            None => seen = all.to_vec(),
        }
    }
}

/// Whether octets begin with the preface; none: they are too few to tell.
fn front(octets: &[u8]) -> Option<bool> {
    let len = octets.len().min(PREFACE.len());
    let so_far = octets[..len] == PREFACE[..len];
    (!so_far || len == PREFACE.len()).then_some(so_far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_requests_as_soon_as_it_can_be() {
        for len in 0..PREFACE.len() {
            assert_eq!(front(&PREFACE[..len]), None);
        }
        assert_eq!(front(PREFACE), Some(true));
        assert_eq!(front(&[PREFACE, b"more"].concat()), Some(true));
        for request in ["GET / HTTP/1.1\r\n", "P", "PUT", "PRI / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n"] {
            let told = if request == "P" { None } else { Some(false) };
            assert_eq!(front(request.as_bytes()), told, "{request}");
        }
    }
}
