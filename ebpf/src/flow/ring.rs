//! The ring of events, and what it had no room for.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use weir_common::abi::flow::{Event, EventFlow, FLOW_RING_OCTETS, Flow, FlowCount, Kind};

use crate::atomic;

#[map]
static FLOW_EVENTS: RingBuf = RingBuf::with_byte_size(FLOW_RING_OCTETS, 0);
#[map]
static FLOW_COUNT: PerCpuArray<FlowCount> = PerCpuArray::with_max_entries(1, 0);

/// Tells what happened.
#[inline(always)]
pub(super) fn tell(kind: Kind, ts: u64, cookie: u64, a: u32) {
    put(&Event { ts, cookie, kind: kind as u32, a });
}

/// Tells what happened, with the connection as it is now.
#[inline(always)]
pub(super) fn tell_flow(kind: Kind, ts: u64, cookie: u64, a: u32, flow: &Flow) {
    put(&EventFlow { event: Event { ts, cookie, kind: kind as u32, a }, flow: *flow });
}

/// A connection that the map had no room for.
#[inline(always)]
pub(super) fn full() {
    // SAFETY: a field of a map value, aligned.
    FLOW_COUNT.get_ptr_mut(0).map(|count| unsafe { atomic::add(&raw mut (*count).full, 1) });
}

#[inline(always)]
fn put<T>(record: &T) {
    if FLOW_EVENTS.output::<T>(record, wakes()).is_err() {
        // Atomic though it is the CPU's own: a callback of the network may come between one of a call.
        // SAFETY: a field of a map value, aligned.
        FLOW_COUNT.get_ptr_mut(0).map(|count| unsafe { atomic::add(&raw mut (*count).lost, 1) });
    }
}

/// The reader comes each few milliseconds anyway: it is woken once the ring is half full.
#[inline(always)]
fn wakes() -> u64 {
    let waiting = FLOW_EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let half = FLOW_EVENTS.query(u64::from(BPF_RB_RING_SIZE)) / 2;
    u64::from(if waiting < half { BPF_RB_NO_WAKEUP } else { BPF_RB_FORCE_WAKEUP })
}
