//! One flow: what its worker told, what the kernel knows, and what follows from both.

use std::sync::Arc;

use weir_common::abi::flow::{By, Flow as Record, How, mark, state};
use weir_common::abi::wire::Wire;

use super::filter::Subject;
use crate::base::{Instant, TcpInfo};
use crate::trace::flow::{Closed, Opened, Side, Verdict};

/// A moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) unix_ns: u64,
}

impl Moment {
    /// An earlier moment, of which the monotonic time is known.
    pub(super) fn back_to(self, at: Instant) -> Self {
        let ago = u64::try_from(self.at.since(at).as_nanos()).unwrap_or(u64::MAX);
        Self { at, unix_ns: self.unix_ns.saturating_sub(ago) }
    }
}

/// How far a flow is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Open,
    /// One of weir and the kernel has let go of it; the other's word is awaited since then.
    Closing(Instant),
    Closed(Moment),
}

/// A connection of weir. Kept small: ten thousand idle ones are ten thousand of these.
pub(super) struct Flow {
    /// Counts all flows since the start.
    pub(super) number: u64,
    pub(super) cookie: u64,
    pub(super) opened: Opened,
    /// When it was accepted, or the dial had succeeded.
    pub(super) begun: Moment,
    pub(super) life: Life,
    /// The verdict on the last request, or on the last one that was denied.
    pub(super) verdict: Option<Arc<Verdict>>,
    pub(super) hostname: Option<Box<str>>,
    /// The kernel half's record, as last read.
    pub(super) record: Option<Box<Record>>,
    pub(super) info: Option<Box<TcpInfo>>,
    /// Packets, while they are counted.
    pub(super) wire: Option<Box<Wire>>,
    /// Packets were passing before they were counted.
    pub(super) partial: bool,
    closed: Option<Closed>,
    kernel_closed: bool,
    /// Unix seconds of the last packet, as far as it was seen.
    pub(super) last_seen: u64,
    /// Readers have not been told of how it stands.
    pub(super) changed: bool,
}

/// How a flow ended, and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Close {
    pub(super) by: &'static str,
    pub(super) how: &'static str,
}

impl Flow {
    pub(super) fn new(number: u64, cookie: u64, mut opened: Opened, begun: Moment) -> Self {
        Self {
            number,
            cookie,
            hostname: opened.hostname.take(),
            opened,
            begun,
            life: Life::Open,
            verdict: None,
            record: None,
            info: None,
            wire: None,
            partial: false,
            closed: None,
            kernel_closed: false,
            last_seen: begun.unix_ns / 1_000_000_000,
            changed: false,
        }
    }

    /// A request on it is over. A denial stays what the flow is known by until the next one.
    pub(super) fn judged(&mut self, mut verdict: Verdict) {
        if let Some(hostname) = verdict.hostname.take() {
            self.hostname = Some(hostname);
        }
        if verdict.denied || !self.is_denied() {
            self.verdict = Some(Arc::new(verdict));
        }
        self.changed = true;
    }

    pub(super) fn is_denied(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.denied)
    }

    /// Takes what was learned of its packets; whether any have passed since.
    pub(super) fn learned(&mut self, news: Figures, now: Moment) {
        let before = self.packets();
        match news {
            Figures::Wire { wire, since } => {
                self.partial = self.begun.at < since;
                self.wire = Some(Box::new(wire));
            }
            Figures::Record(record) => self.record = Some(Box::new(record)),
            Figures::Info(info) => self.info = Some(Box::new(info)),
        }
        if self.packets() != before {
            self.changed = true;
            self.last_seen = now.unix_ns / 1_000_000_000;
        }
    }

    /// Its worker has closed it.
    pub(super) fn let_go(&mut self, closed: Closed, now: Moment) {
        if let Some(info) = closed.info {
            self.learned(Figures::Info(info), now);
        }
        self.closed = Some(closed);
        self.life = Life::Closing(now.at);
    }

    /// The kernel has closed it.
    pub(super) fn kernel_closed(&mut self, record: Record, now: Moment) {
        self.learned(Figures::Record(record), now);
        self.kernel_closed = true;
        if self.life == Life::Open {
            self.life = Life::Closing(now.at);
        }
    }

    /// Whether weir and the kernel have both let go of it.
    pub(super) fn is_over(&self) -> bool {
        self.closed.is_some() && self.kernel_closed
    }

    /// Whether its worker has let go of it.
    pub(super) fn is_let_go(&self) -> bool {
        self.closed.is_some()
    }

    /// Packets and octets as far as they are known: by the packet counters, else as TCP's segments.
    pub(super) fn packets(&self) -> Option<Wire> {
        self.wire.as_deref().copied().or_else(|| self.segments())
    }

    /// TCP's segments and their octets, whether or not packets are counted.
    pub(super) fn segments(&self) -> Option<Wire> {
        let record = self.figures();
        let of = |packets_in: u32, packets_out: u32, bytes_in, bytes_out| Wire {
            packets_in: packets_in.into(),
            bytes_in,
            packets_out: packets_out.into(),
            bytes_out,
        };
        let by_kernel = record.map(|r| of(r.segs_in, r.segs_out, r.bytes_received, r.bytes_acked));
        let info = self.info.as_ref();
        by_kernel.or_else(|| info.map(|i| of(i.segs_in, i.segs_out, i.bytes_received, i.bytes_acked)))
    }

    /// The kernel half's record, if it holds figures: the tracepoint's holds none.
    pub(super) fn figures(&self) -> Option<&Record> {
        self.record.as_deref().filter(|record| record.flags & mark::FALLBACK == 0)
    }

    /// Smoothed round trip, in microseconds.
    pub(super) fn srtt_us(&self) -> Option<u32> {
        let of_kernel = self.figures().map(|record| record.srtt_us / 8);
        of_kernel.or_else(|| self.info.as_ref().map(|info| info.srtt_us)).filter(|&us| us != 0)
    }

    /// How it ended.
    pub(super) fn close(&self) -> Option<Close> {
        let closed = self.closed.unwrap_or_default();
        if self.kernel_closed
            && let Some(record) = &self.record
        {
            let (how, by) = record.close(closed.weir_first, closed.timed_out);
            return Some(self.named(how, by));
        }
        self.closed.map(|closed| self.guessed(closed))
    }

    /// How it ended by what weir's own calls returned, and the state just before.
    fn guessed(&self, closed: Closed) -> Close {
        let first = if closed.weir_first { By::Weir } else { By::Peer };
        if closed.timed_out {
            return self.named(How::Timeout, By::Kernel);
        }
        if closed.reset {
            return self.named(How::Rst, first);
        }
        let by = match closed.info.map(|info| info.state) {
            Some(state::CLOSE_WAIT | state::LAST_ACK) => By::Peer,
            Some(_) => By::Weir,
            None => first,
        };
        self.named(How::Fin, by)
    }

    fn named(&self, how: How, by: By) -> Close {
        let by = match by {
            By::Peer => self.opened.side.token(),
            By::Weir => "weir",
            By::Kernel => "kernel",
        };
        let how = match how {
            How::Fin => "fin",
            How::Rst => "rst",
            How::Timeout => "timeout",
        };
        Close { by, how }
    }

    /// What filters look at: who dialled, and whom.
    pub(super) fn subject(&self) -> Subject {
        let Opened { local, remote, .. } = self.opened;
        let (source, destination) = match self.opened.side {
            Side::Client => (remote, local),
            Side::Upstream => (local, remote),
        };
        Subject { cookie: self.cookie, source, destination, hostname: self.hostname.clone() }
    }
}

/// Something learned of a flow's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Figures {
    /// What the packet counters say, which were attached then.
    Wire {
        wire: Wire,
        since: Instant,
    },
    Record(Record),
    Info(TcpInfo),
}
