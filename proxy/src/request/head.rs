//! Reading a request's head: in place from the received buffer where it came whole, else gathered.

use std::ops::Deref;

use super::relay::cut;
use crate::base::{Fault, Instant, Reason};
use crate::buf::Chunk;
use crate::config::raw::Timeouts;
use crate::http::{Head, HeadLimits, parse_request};
use crate::listen::{Client, Doing, Stopped, deadline};
use crate::ring;

/// The octets of one head, where they lie.
pub(super) enum HeadBytes {
    /// In the buffer that the kernel filled.
    Received(Chunk),
    /// Gathered from several receives.
    Gathered(Vec<u8>),
}

impl Deref for HeadBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Received(chunk) => chunk,
            Self::Gathered(bytes) => bytes,
        }
    }
}

/// What came instead of a head.
pub(super) enum NoHead {
    /// Nothing for long enough that the connection should hold less memory: wait without this future.
    Quiet,
    /// The connection is over, and there is nothing to say or to record.
    Over,
    /// The head is bad, late or cut: answer it if its status is not 0. The octets are what came of it.
    Fault(Fault, Vec<u8>),
}

/// A head and when its first octet came.
pub(super) struct Arrived {
    pub(super) bytes: HeadBytes,
    pub(super) first_octet: Instant,
}

/// Waits for the next request's head and parses it into `head`.
pub(super) async fn read(
    client: &Client,
    limits: &HeadLimits,
    timeouts: &Timeouts,
    quiet: Option<Instant>,
    head: &mut Head,
) -> Result<Arrived, NoHead> {
    let first = first_chunk(client, timeouts, quiet).await?;
    client.set_doing(Doing::Busy);
    // The first request's clock began with the connection (http.md section 5).
    let now = ring::now();
    let began = if client.requests.get() == 0 { client.accepted } else { now };
    let deadline = deadline(began, timeouts.head);
    match parse_request(&first, limits, head) {
        Ok(Some(used)) => Ok(Arrived { bytes: HeadBytes::Received(keep(client, first, used)), first_octet: now }),
        Ok(None) => gather(client, limits, deadline, first, head, now).await,
        Err(fault) => Err(NoHead::Fault(fault, first.to_vec())),
    }
}

/// Waits for octets: `quiet` is when to give up the wait for a leaner one.
async fn first_chunk(client: &Client, timeouts: &Timeouts, quiet: Option<Instant>) -> Result<Chunk, NoHead> {
    let now = ring::now();
    client.set_doing(if client.requests.get() == 0 { Doing::Busy } else { Doing::Idle(now) });
    let (limit, began) = match client.requests.get() {
        0 => (timeouts.head, client.accepted),
        _ => (timeouts.keepalive, now),
    };
    let end = deadline(began, limit);
    let wake = quiet.map_or(end, |quiet| Some(quiet.earliest(end)));
    match client.within(wake, client.socket.recv()).await {
        Ok(Ok(Some(chunk))) => Ok(chunk),
        Err(Stopped::Late) if end.is_none_or(|end| ring::now() < end) => Err(NoHead::Quiet),
        Ok(Ok(None) | Err(_)) | Err(_) => Err(NoHead::Over),
    }
}

/// Gives what follows the head back to the socket.
fn keep(client: &Client, mut chunk: Chunk, used: usize) -> Chunk {
    let head = chunk.split_to(used);
    if !chunk.is_empty() {
        client.socket.unread(chunk);
    }
    head
}

async fn gather(
    client: &Client,
    limits: &HeadLimits,
    deadline: Option<Instant>,
    first: Chunk,
    head: &mut Head,
    began: Instant,
) -> Result<Arrived, NoHead> {
    let mut bytes = first.to_vec();
    drop(first);
    loop {
        let chunk = match client.within(deadline, client.socket.recv()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None) | Err(_)) => return Err(NoHead::Fault(Fault::new(Reason::ClientClosed), bytes)),
            Err(Stopped::Late) => return Err(NoHead::Fault(Fault::new(Reason::RequestHeaderTimeout), bytes)),
            Err(_) => return Err(NoHead::Fault(cut(client), bytes)),
        };
        let before = bytes.len();
        // No more than the parser could accept is copied: one octet past the bound is enough for it to say so.
        let room = (limits.head_max + 1).saturating_sub(before).min(chunk.len());
        bytes.extend_from_slice(&chunk[..room]);
        match parse_request(&bytes, limits, head) {
            Ok(Some(used)) => {
                bytes.truncate(used);
                keep(client, chunk, used - before);
                return Ok(Arrived { bytes: HeadBytes::Gathered(bytes), first_octet: began });
            }
            Ok(None) => {}
            Err(fault) => return Err(NoHead::Fault(fault, bytes)),
        }
    }
}
