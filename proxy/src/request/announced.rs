//! What stands before all else on a proxy's connection: the header that says whose connection it is.

use super::answer;
use super::plan_of;
use crate::base::{Fault, Reason};
use crate::http::Head;
use crate::listen::proxy_protocol::{HEADER_MAX, Invalid};
use crate::listen::{Announced, Client, Stopped, deadline};
use crate::worker::Worker;

/// What came in the place of a header.
enum NoHeader {
    /// The end, before an octet.
    Over,
    /// Something else, or a part of one.
    Bad,
}

/// Takes the header, and has the peer that it names judged as one that connects itself. False: the connection is over.
pub(super) async fn read(worker: &Worker, client: &Client) -> bool {
    let current = worker.current_of(&client.listener);
    let Some(listener) = plan_of(&current, client) else { return false };
    let mut octets = Vec::new();
    let end = deadline(client.accepted, listener.1.rules.timeouts.proxy_header);
    let reason = match client.within(end, header(client, &mut octets)).await {
        Ok(Ok(announced)) => return worker.announced(client, announced),
        Ok(Err(NoHeader::Bad)) => Reason::ProxyHeaderInvalid,
        Err(Stopped::Late) => Reason::ProxyHeaderTimeout,
        Ok(Err(NoHeader::Over)) | Err(_) => return false,
    };
    answer::bad_head(worker, client, &current, listener, Fault::new(reason), &octets, &Head::new()).await;
    false
}

/// The header; what follows it is left to be received.
async fn header(client: &Client, octets: &mut Vec<u8>) -> Result<Announced, NoHeader> {
    // It stands before all else, TLS included.
    let Some(socket) = client.socket.socket() else { return Err(NoHeader::Over) };
    loop {
        let mut chunk = match socket.recv().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(_) if octets.is_empty() => return Err(NoHeader::Over),
            Ok(None) | Err(_) => return Err(NoHeader::Bad),
        };
        let before = octets.len();
        // No header is longer: what has so many octets is whole, or wrong.
        let room = (HEADER_MAX - before).min(chunk.len());
        octets.extend_from_slice(&chunk[..room]);
        match Announced::read(octets) {
            Ok(None) => {}
            Ok(Some((announced, used))) => {
                chunk.advance(used - before);
                if !chunk.is_empty() {
                    socket.unread(chunk);
                }
                return Ok(announced);
            }
            Err(Invalid) => return Err(NoHeader::Bad),
        }
    }
}
