//! The decision of the XDP program, generic over its tables: in the kernel they are its maps, in user space any.

use crate::abi::drop::{Cause, Conf, arm};
use crate::abi::{Address, Endpoint};
use crate::gcra::{self, Cell, Charge};
use crate::packet::Tcp;
use crate::sketch;

/// What the decision asks. What a table cannot answer (a map always can) stops nothing.
pub trait Tables {
    /// A limiter's state.
    type Cell: Cell;
    /// An entry of DENY.
    type Entry: Entry;

    /// Whether some public listener has the port.
    fn port(&self, port: u16) -> bool;

    /// Whether a public listener has the address and port.
    fn listener(&self, endpoint: &Endpoint) -> bool;

    /// Whether the allow set holds a source.
    fn allowed(&self, src: Address) -> bool;

    /// The entry of a source.
    fn denied(&self, source: &Address) -> Option<Self::Entry>;

    /// The rule that bans a source.
    fn banned(&self, src: Address) -> Option<u32>;

    /// The SYNs of a source that is remembered.
    fn source(&self, source: &Address) -> Option<Self::Cell>;

    /// Remembers a source that is not; false if that failed, or it is remembered by now.
    fn remember(&self, source: &Address, tat: u64) -> bool;

    /// Counts a new source. True under pressure: then it shall not be remembered. See [`crate::pressure`].
    fn pressed(&self, now: u64, max: u64) -> bool;

    /// Until when a source is known to have sent requests.
    fn known(&self, source: &Address) -> Option<u64>;

    /// The two cells of a sketch.
    fn cells(&self, sketch: Sketch, places: [u32; 2]) -> Option<[Self::Cell; 2]>;

    /// All SYNs.
    fn total(&self) -> Option<Self::Cell>;
}

/// An entry of DENY.
pub trait Entry {
    /// When it ends.
    fn expires_ns(&self) -> u64;

    /// Counts a packet dropped by it. Gives its rule.
    fn hit(&self, bytes: u64) -> u32;
}

/// Which of the two sketches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sketch {
    /// Parents of sources.
    Parent,
    /// Sources that are not remembered.
    Source,
}

/// Why a packet is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The cause.
    pub cause: Cause,
    /// The rule of DENY or of a ban, else 0.
    pub rule: u32,
    /// The time that it was judged by.
    pub at: u64,
}

/// Whether a packet goes to a public listener: all others pass before anything else is asked.
#[inline(always)]
pub fn in_scope(tcp: &Tcp, tables: &impl Tables) -> bool {
    tables.port(tcp.dport) && tables.listener(&Endpoint::new(tcp.dst, tcp.dport))
}

/// Whether anything that is armed can stop the packet.
#[inline(always)]
pub fn concerned(tcp: &Tcp, conf: &Conf) -> bool {
    let armed = if tcp.opens() { arm::ANY | arm::SYN } else { arm::ANY };
    conf.armed & armed != 0
}

/// Judges a packet. None: it passes. Its octets and the time are asked for only if something depends on them.
#[inline(always)]
pub fn judge(
    tcp: &Tcp,
    bytes: impl Fn() -> u64,
    now: impl Fn() -> u64,
    conf: &Conf,
    tables: &impl Tables,
) -> Option<Verdict> {
    if !in_scope(tcp, tables) || !concerned(tcp, conf) {
        return None;
    }
    judge_concerned(tcp, bytes, now, conf, tables)
}

/// The part of [`judge`] behind scope and idle.
#[inline(always)]
pub fn judge_concerned(
    tcp: &Tcp,
    bytes: impl Fn() -> u64,
    now: impl Fn() -> u64,
    conf: &Conf,
    tables: &impl Tables,
) -> Option<Verdict> {
    let (v4, armed) = (tcp.src.is_v4(), conf.armed);
    if armed & if v4 { arm::ALLOW4 } else { arm::ALLOW6 } != 0 && tables.allowed(tcp.src) {
        return None;
    }
    let source = if v4 { tcp.src } else { tcp.src.masked(conf.source6) };
    if armed & arm::DENY != 0
        && let Some(entry) = tables.denied(&source)
    {
        let at = now();
        if at < entry.expires_ns() {
            return Some(Verdict { cause: Cause::Deny, rule: entry.hit(bytes()), at });
        }
    }
    if armed & if v4 { arm::BANS4 } else { arm::BANS6 } != 0
        && let Some(rule) = tables.banned(tcp.src)
    {
        return Some(Verdict { cause: Cause::Ban, rule, at: now() });
    }
    if !tcp.opens() || armed & arm::SYN == 0 {
        return None;
    }
    let at = now();
    syn(tcp.src, &source, at, conf, tables).map(|cause| Verdict { cause, rule: 0, at })
}

/// The limits of SYNs: of the source, of its parent, of all.
#[inline(always)]
fn syn(src: Address, source: &Address, now: u64, conf: &Conf, tables: &impl Tables) -> Option<Cause> {
    if conf.armed & arm::SOURCE != 0
        && let Some(cause) = stopped(charge_source(source, now, conf, tables), Cause::SynSource)
    {
        return Some(cause);
    }
    if conf.armed & arm::PARENT != 0 {
        let parent = src.masked(if src.is_v4() { conf.parent4 } else { conf.parent6 });
        let charge = charge_sketch(Sketch::Parent, parent, now, conf, tables);
        if let Some(cause) = stopped(charge, Cause::SynPrefix) {
            return Some(cause);
        }
    }
    if conf.armed & arm::TOTAL == 0 {
        return None;
    }
    let charge = tables.total().map_or(Charge::Admitted, |cell| gcra::charge(&cell, now, conf.total));
    stopped(charge, Cause::SynTotal).filter(|_| !is_known(source, now, tables))
}

#[inline(always)]
fn stopped(charge: Charge, cause: Cause) -> Option<Cause> {
    match charge {
        Charge::Admitted => None,
        Charge::Denied => Some(cause),
        Charge::Contended => Some(Cause::Contended),
    }
}

#[inline(always)]
fn is_known(source: &Address, now: u64, tables: &impl Tables) -> bool {
    tables.known(source).is_some_and(|expires_ns| now < expires_ns)
}

/// A remembered source has a cell of its own. A new one is remembered, unless so many come that they would evict the
/// real ones; then the sketch decides.
#[inline(always)]
fn charge_source(source: &Address, now: u64, conf: &Conf, tables: &impl Tables) -> Charge {
    if let Some(cell) = tables.source(source) {
        return gcra::charge(&cell, now, conf.source);
    }
    if !tables.pressed(now, conf.pressure) || is_known(source, now, tables) {
        if tables.remember(source, now.saturating_add(conf.source.t)) {
            return Charge::Admitted;
        }
        // Another CPU may have just met the same source.
        if let Some(cell) = tables.source(source) {
            return gcra::charge(&cell, now, conf.source);
        }
    }
    charge_sketch(Sketch::Source, *source, now, conf, tables)
}

#[inline(always)]
fn charge_sketch(sketch: Sketch, key: Address, now: u64, conf: &Conf, tables: &impl Tables) -> Charge {
    let limit = if matches!(sketch, Sketch::Parent) { conf.parent } else { conf.source };
    let places = conf.seeds.map(|seed| sketch::place(key, seed));
    tables.cells(sketch, places).map_or(Charge::Admitted, |cells| sketch::charge(&cells, now, limit))
}

#[cfg(test)]
mod tests;
