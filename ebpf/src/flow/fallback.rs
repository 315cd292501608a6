//! Without cgroup2: the tracepoint of TCP's states. Its states are numbers and its socket goes into a helper and nowhere
//! else, so no kernel struct is read; for the same reason it sees the whole machine, and user space picks its own.

use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::BtfTracePointContext;
use weir_common::abi::flow::{FLOWS_MAX, Flow, Kind, mark, state};

use super::{now, ring, step};

#[map]
static FLOWS_SEEN: LruHashMap<u64, Flow> = LruHashMap::with_max_entries(FLOWS_MAX, 0);

/// Told of each step of each TCP socket.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn weir_flow_states(ctx: BtfTracePointContext) -> i32 {
    let socket: *const c_void = ctx.arg(0);
    let [old, new]: [i32; 2] = [ctx.arg(1), ctx.arg(2)];
    // SAFETY: the kernel's socket, valid for the program's run.
    let cookie = unsafe { bpf_get_socket_cookie(socket.cast_mut()) };
    match new as u8 {
        state::ESTABLISHED => open(cookie, old as u8),
        new => stepped(cookie, old as u8, new),
    }
    0
}

#[inline(always)]
fn open(cookie: u64, old: u8) {
    let active = if old == state::SYN_SENT { mark::ACTIVE } else { 0 };
    let states = step(old, state::ESTABLISHED);
    let flow = Flow { open_ns: now(), states, flags: mark::FALLBACK | active, ..Flow::default() };
    if FLOWS_SEEN.insert(cookie, flow, 0).is_err() {
        return ring::full();
    }
    ring::tell_flow(Kind::Open, flow.open_ns, cookie, 0, &flow);
}

#[inline(always)]
fn stepped(cookie: u64, old: u8, new: u8) {
    let Some(flow) = FLOWS_SEEN.get_ptr_mut(cookie) else { return };
    // SAFETY: a map value, aligned, written by the steps of one socket alone, one after the other.
    let flow = unsafe { &mut *flow };
    let last = step(old, new);
    flow.states = flow.states << 8 | last;
    if new == state::CLOSE {
        flow.close_ns = now();
        ring::tell_flow(Kind::Close, flow.close_ns, cookie, last as u32, flow);
        let _ = FLOWS_SEEN.remove(cookie);
    }
}
