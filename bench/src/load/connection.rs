//! One connection of the generator: requests one after the other, reconnecting when it must.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::Plan;
use super::pace::Pace;
use super::report::{Failure, Tally};
use crate::body::{Body, field, head_end};
use crate::stream::Stream;

const HEAD_MAX: usize = 64 << 10;
/// Bodies beyond this are read in larger pieces.
const SMALL: usize = 16 << 10;
const LARGE: usize = 256 << 10;

/// Sends requests until the pace has no more.
pub(super) async fn drive(plan: Rc<Plan>, pace: Rc<Pace>, tally: Rc<RefCell<Tally>>) {
    let mut connection: Option<Connection> = None;
    let mut now = Instant::now();
    while let Some(due) = pace.next(now) {
        if let Some(early) = due.checked_duration_since(now).filter(|early| !early.is_zero()) {
            glommio::timer::sleep(early).await;
        }
        let outcome = exchange(&plan, &mut connection).await;
        now = Instant::now();
        let mut tally = tally.borrow_mut();
        match outcome {
            Ok(response) => tally.response(&response, now - due),
            Err(failure) => {
                connection = None;
                tally.failure(failure);
            }
        }
    }
}

/// What is told of a response.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) octets: u64,
}

struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    filled: usize,
}

async fn exchange(plan: &Plan, kept: &mut Option<Connection>) -> Result<Received, Failure> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(plan).await?,
    };
    connection.stream.write_all(&plan.ask).await.map_err(|_| Failure::Write)?;
    let (received, keep) = connection.response().await?;
    if keep && !plan.close {
        *kept = Some(connection);
    }
    Ok(received)
}

impl Connection {
    async fn open(plan: &Plan) -> Result<Self, Failure> {
        let stream = Stream::open(plan.url.address, plan.tls.as_ref()).await?;
        Ok(Self { stream, buffer: vec![0; SMALL], filled: 0 })
    }

    /// Reads a response to its end; says whether the connection may be used again.
    async fn response(&mut self) -> Result<(Received, bool), Failure> {
        let (status, mut body, keep, end) = loop {
            let end = self.head().await?;
            let head = &self.buffer[..end];
            let status = status(head).ok_or(Failure::Malformed)?;
            if status >= 200 {
                let body = match status {
                    204 | 304 => Body::Length(0),
                    _ => Body::of(head, Body::Close).map_err(|_| Failure::Malformed)?,
                };
                let close = field(head, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
                break (status, body, !close && head.starts_with(b"HTTP/1.1") && body != Body::Close, end);
            }
            // Interim: the next head follows.
            self.consume(end);
        };
        let mut octets = end as u64;
        self.consume(end);
        loop {
            let taken = body.take(&self.buffer[..self.filled]).map_err(|_| Failure::Malformed)?;
            octets += taken as u64;
            self.consume(taken);
            if body.is_done() {
                break;
            }
            if matches!(body, Body::Length(left) if left > SMALL as u64) && self.buffer.len() < LARGE {
                self.buffer.resize(LARGE, 0);
            }
            match self.fill().await? {
                0 if body == Body::Close => break,
                0 => return Err(Failure::Closed),
                _ => {}
            }
        }
        // Octets past the response would be taken for the next one.
        if self.filled > 0 {
            return Err(Failure::Malformed);
        }
        Ok((Received { status, octets }, keep))
    }

    /// Reads until a head is whole; says where it ends.
    async fn head(&mut self) -> Result<usize, Failure> {
        loop {
            if let Some(end) = head_end(&self.buffer[..self.filled]) {
                return Ok(end);
            }
            if self.filled == self.buffer.len() {
                if self.filled >= HEAD_MAX {
                    return Err(Failure::Malformed);
                }
                self.buffer.resize(self.filled * 2, 0);
            }
            if self.fill().await? == 0 {
                return Err(Failure::Closed);
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, Failure> {
        let length = self.stream.read(&mut self.buffer[self.filled..]).await.map_err(|e| failure(&e))?;
        self.filled += length;
        Ok(length)
    }

    fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}

fn failure(e: &io::Error) -> Failure {
    if e.kind() == io::ErrorKind::ConnectionReset { Failure::Reset } else { Failure::Read }
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}
