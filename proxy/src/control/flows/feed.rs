//! One reader's stream of events, as the body of its answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::flow::Moment;
use super::hub::{Hub, Message};

/// How often a reader learns of what it lost, at most.
const STEP: Duration = Duration::from_secs(1);
/// A heartbeat comes each so many steps.
const HEARTBEAT_STEPS: u32 = 10;
/// Events that leave together.
const BATCH: usize = 64;

/// Events that a reader's queue had no room for.
#[derive(Default)]
pub(super) struct Losses(AtomicU64);

impl Losses {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that ends when its hub closes it, or when its client goes.
pub(in crate::control) struct Feed {
    hub: Arc<Hub>,
    key: u64,
    /// What it begins with.
    first: Option<Bytes>,
    events: mpsc::Receiver<Arc<Message>>,
    losses: Arc<Losses>,
    steps: Interval,
    step: u32,
    /// When it joined: steps are seconds from there.
    joined: Moment,
    /// The step at which losses were last told.
    told: u32,
}

impl Feed {
    pub(super) fn new(
        hub: Arc<Hub>,
        key: u64,
        first: Vec<Bytes>,
        events: mpsc::Receiver<Arc<Message>>,
        losses: Arc<Losses>,
        joined: Moment,
    ) -> Self {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        steps.reset();
        Self { hub, key, first: Some(first.concat().into()), events, losses, steps, step: 0, joined, told: 0 }
    }

    /// What is due at a step: losses, a heartbeat.
    pub(super) fn step(&mut self) -> Option<Bytes> {
        self.step += 1;
        let mut text = Vec::new();
        let lost = self.losses.0.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let since = self.unix_s(self.told);
            self.told = self.step;
            let lost = json!({
                "node_id": self.hub.node_id(), "source": "wiretap", "scope": "reader", "count": lost, "since": since,
            });
            text.extend_from_slice(&self.hub.event("lost", None, &lost));
        }
        if self.step.is_multiple_of(HEARTBEAT_STEPS) {
            let beat = json!({ "node_id": self.hub.node_id(), "time": self.unix_s(self.step) });
            text.extend_from_slice(&self.hub.event("heartbeat", None, &beat));
        }
        (!text.is_empty()).then(|| text.into())
    }

    fn unix_s(&self, step: u32) -> u64 {
        self.joined.unix_ns / 1_000_000_000 + u64::from(step)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        while self.steps.poll_tick(context).is_ready() {
            if let Some(due) = self.step() {
                return Poll::Ready(Some(due));
            }
        }
        let Some(event) = std::task::ready!(self.events.poll_recv(context)) else { return Poll::Ready(None) };
        let mut text = event.text.to_vec();
        for _ in 1..BATCH {
            match self.events.try_recv() {
                Ok(event) => text.extend_from_slice(&event.text),
                Err(_) => break,
            }
        }
        Poll::Ready(Some(text.into()))
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll(context).map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hub.leave(self.key);
    }
}
