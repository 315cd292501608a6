//! Octets both ways after an upgrade, until one side ends or both fall silent.

use std::cell::Cell;
use std::net::Shutdown;
use std::time::Duration;

use super::Exchange;
use super::record::Record;
use super::relay::cut;
use crate::base::{Fault, Instant, Reason};
use crate::ring;
use crate::wire::Wire;

impl Exchange<'_> {
    /// Relays until both directions have ended.
    pub(super) async fn tunnel(&self, upstream: &Wire, record: &mut Record) -> Result<(), Fault> {
        let last = Cell::new(ring::now());
        let carried = Cell::new(0_u64);
        let idle = self.rules.timeouts.tunnel;
        let both = both(
            pump(&self.client.socket, upstream, &last, None),
            pump(upstream, &self.client.socket, &last, Some(&carried)),
        );
        let mut both = std::pin::pin!(both);
        let result = loop {
            match self.client.within(silence_ends(&last, idle), both.as_mut()).await {
                Ok(()) => break Ok(()),
                Err(stopped) => {
                    if let Some(fault) = self.cut(stopped) {
                        break Err(fault);
                    }
                    if silence_ends(&last, idle).is_some_and(|end| end <= ring::now()) {
                        break Err(Fault::new(Reason::TunnelIdle));
                    }
                }
            }
        };
        record.body_out += carried.get();
        result
    }

    fn cut(&self, stopped: crate::listen::Stopped) -> Option<Fault> {
        (stopped != crate::listen::Stopped::Late).then(|| cut(self.client))
    }
}

fn silence_ends(last: &Cell<Instant>, idle: Duration) -> Option<Instant> {
    crate::listen::deadline(last.get(), idle)
}

/// One direction: the end of one side becomes the end of the other's input; an error ends both.
async fn pump(from: &Wire, to: &Wire, last: &Cell<Instant>, carried: Option<&Cell<u64>>) -> std::io::Result<()> {
    while let Some(chunk) = from.recv().await? {
        last.set(ring::now());
        if let Some(carried) = carried {
            carried.set(carried.get() + chunk.len() as u64);
        }
        to.send(chunk.into()).await?;
        last.set(ring::now());
    }
    to.shutdown(Shutdown::Write).await
}

/// Runs both until both are done, or one fails.
async fn both<A, B>(a: A, b: B)
where
    A: Future<Output = std::io::Result<()>>,
    B: Future<Output = std::io::Result<()>>,
{
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut a_done, mut b_done) = (false, false);
    std::future::poll_fn(|cx| {
        if !a_done && let std::task::Poll::Ready(end) = a.as_mut().poll(cx) {
            if end.is_err() {
                return std::task::Poll::Ready(());
            }
            a_done = true;
        }
        if !b_done && let std::task::Poll::Ready(end) = b.as_mut().poll(cx) {
            if end.is_err() {
                return std::task::Poll::Ready(());
            }
            b_done = true;
        }
        if a_done && b_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
