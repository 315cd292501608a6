//! Group flow: what TCP did on weir's connections, told by the kernel's callbacks on weir's cgroup.

mod fallback;
mod ring;

use core::ptr::addr_of;

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RETRANS_CB,
    BPF_SOCK_OPS_RETRANS_CB_FLAG, BPF_SOCK_OPS_RTO_CB, BPF_SOCK_OPS_RTO_CB_FLAG, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
    BPF_SOCK_OPS_TIMEOUT_INIT, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sock_ops_cb_flags_set};
use aya_ebpf::macros::{map, sock_ops};
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use aya_ebpf::programs::SockOpsContext;
use weir_common::abi::Address;
use weir_common::abi::flow::{FLOWS_MAX, Flow, FlowConf, Kind, SYN_AT_MAX, mark, state, want};

#[map]
static SYN_AT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(SYN_AT_MAX, 0);
#[map]
static FLOWS: HashMap<u64, Flow> = HashMap::with_max_entries(FLOWS_MAX, 0);
#[map]
static FLOW_CONF: Array<FlowConf> = Array::with_max_entries(1, 0);

const AF_INET: u32 = 2;

/// Reads a field of the context, in one load of its own width at its own place: the verifier knows no other.
macro_rules! read {
    ($ops:expr, $($field:tt)+) => {{
        // SAFETY: the kernel's context, valid for the program's run.
        unsafe { addr_of!((*$ops.0).$($field)+).read_volatile() }
    }};
}

/// Told of whatever TCP does on the sockets of a cgroup.
#[sock_ops]
fn weir_flow(ctx: SockOpsContext) -> u32 {
    let ops = Ops(ctx.ops);
    match read!(ops, op) {
        BPF_SOCK_OPS_TIMEOUT_INIT if read!(ops, is_fullsock) == 0 => syn(ops),
        BPF_SOCK_OPS_TCP_CONNECT_CB => syn(ops),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => open(ops, mark::ACTIVE),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => open(ops, 0),
        BPF_SOCK_OPS_RETRANS_CB => retransmitted(ops),
        BPF_SOCK_OPS_RTO_CB => timed_out(ops),
        BPF_SOCK_OPS_RTT_CB => measured(ops),
        BPF_SOCK_OPS_STATE_CB => stepped(ops),
        _ => {}
    }
    // Some callbacks ask for a value: the kernel's own.
    ctx.set_reply(u32::MAX);
    1
}

/// The context.
#[derive(Clone, Copy)]
struct Ops(*mut bpf_sock_ops);

impl Ops {
    #[inline(always)]
    fn cookie(self) -> u64 {
        // SAFETY: a helper of this program's type, on its context.
        unsafe { bpf_get_socket_cookie(self.0.cast()) }
    }

    #[inline(always)]
    fn arg(self, n: usize) -> u32 {
        // SAFETY: the kernel's context; it has four of them.
        unsafe { addr_of!((*self.0).__bindgen_anon_1.args[n]).read_volatile() }
    }

    #[inline(always)]
    fn local(self) -> Address {
        let v4 = read!(self, local_ip4);
        let [a, b] = [read!(self, local_ip6[0]), read!(self, local_ip6[1])];
        self.address(v4, [a, b, read!(self, local_ip6[2]), read!(self, local_ip6[3])])
    }

    #[inline(always)]
    fn remote(self) -> Address {
        let v4 = read!(self, remote_ip4);
        let [a, b] = [read!(self, remote_ip6[0]), read!(self, remote_ip6[1])];
        self.address(v4, [a, b, read!(self, remote_ip6[2]), read!(self, remote_ip6[3])])
    }

    /// Both are read before one is chosen: LLVM would make one load at an offset that varies of two in two branches.
    #[inline(always)]
    fn address(self, v4: u32, v6: [u32; 4]) -> Address {
        if read!(self, family) == AF_INET { Address::v4(v4) } else { Address::v6(v6) }
    }

    #[inline(always)]
    fn watch(self) {
        let wants = FLOW_CONF.get(0).map_or(0, |conf| conf.flags);
        let rtt = if wants & want::RTT == 0 { 0 } else { BPF_SOCK_OPS_RTT_CB_FLAG };
        let flags = BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG | rtt;
        // SAFETY: a helper of this program's type, on its context.
        unsafe { bpf_sock_ops_cb_flags_set(self.0, flags as i32) };
    }

    /// What the kernel knows now.
    #[inline(always)]
    fn refresh(self, flow: &mut Flow) {
        flow.srtt_us = read!(self, srtt_us);
        flow.min_rtt_us = read!(self, rtt_min);
        flow.cwnd = read!(self, snd_cwnd);
        flow.retrans = read!(self, total_retrans);
        flow.segs_in = read!(self, segs_in);
        flow.segs_out = read!(self, segs_out);
        flow.bytes_received = read!(self, bytes_received);
        flow.bytes_acked = read!(self, bytes_acked);
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The record of a connection. Nothing else writes it: callbacks hold the socket's lock.
#[inline(always)]
fn flow<'a>(cookie: u64) -> Option<&'a mut Flow> {
    // SAFETY: a map value, aligned, written by the callbacks of one socket alone, one after the other.
    FLOWS.get_ptr_mut(cookie).map(|flow| unsafe { &mut *flow })
}

/// A SYN came in or goes out. Cookies of request sockets are those of their connections.
#[inline(always)]
fn syn(ops: Ops) {
    // A map without room has nothing to tell later: the time is unknown then.
    let _ = SYN_AT.insert(ops.cookie(), now(), 0);
}

#[inline(always)]
fn open(ops: Ops, flags: u32) {
    let (cookie, now) = (ops.cookie(), now());
    // SAFETY: copied at once.
    let syn_ns = unsafe { SYN_AT.get(cookie) }.map_or(0, |at| *at);
    let _ = SYN_AT.remove(cookie);
    let from = if flags & mark::ACTIVE != 0 { state::SYN_SENT } else { state::SYN_RECV };
    let mut flow = Flow {
        syn_ns,
        open_ns: now,
        states: step(from, state::ESTABLISHED),
        local: ops.local(),
        remote: ops.remote(),
        local_port: read!(ops, local_port) as u16,
        // In network order, as a word.
        remote_port: u32::from_be(read!(ops, remote_port)) as u16,
        flags,
        ..Flow::default()
    };
    ops.refresh(&mut flow);
    if FLOWS.insert(cookie, flow, 0).is_err() {
        return ring::full();
    }
    ops.watch();
    ring::tell_flow(Kind::Open, now, cookie, 0, &flow);
}

#[inline(always)]
fn retransmitted(ops: Ops) {
    let cookie = ops.cookie();
    if let Some(flow) = flow(cookie) {
        ops.refresh(flow);
        ring::tell(Kind::Retrans, now(), cookie, flow.retrans);
    }
}

#[inline(always)]
fn timed_out(ops: Ops) {
    let cookie = ops.cookie();
    if let Some(flow) = flow(cookie) {
        ops.refresh(flow);
        flow.flags |= mark::RTO | if ops.arg(2) == 0 { 0 } else { mark::EXPIRED };
        ring::tell(Kind::Rto, now(), cookie, ops.arg(0));
    }
}

#[inline(always)]
fn measured(ops: Ops) {
    let (cookie, now) = (ops.cookie(), now());
    let Some(flow) = flow(cookie) else { return };
    let stamp = (now >> 20) as u32 & (u32::MAX >> mark::STAMP_SHIFT);
    if flow.flags >> mark::STAMP_SHIFT == stamp {
        return;
    }
    flow.flags = flow.flags & ((1 << mark::STAMP_SHIFT) - 1) | stamp << mark::STAMP_SHIFT;
    ops.refresh(flow);
    let us = match ops.arg(0) {
        0 => flow.srtt_us >> 3,
        us => us,
    };
    ring::tell(Kind::Rtt, now, cookie, us);
}

#[inline(always)]
fn stepped(ops: Ops) {
    let new = ops.arg(1) as u8;
    if new == state::ESTABLISHED {
        // A connection that was accepted steps there after its opening was told: that step is in the record already.
        return;
    }
    let cookie = ops.cookie();
    let Some(flow) = flow(cookie) else { return };
    let last = step(ops.arg(0) as u8, new);
    flow.states = flow.states << 8 | last;
    if new != state::CLOSE {
        return;
    }
    flow.close_ns = now();
    ops.refresh(flow);
    ring::tell_flow(Kind::Close, flow.close_ns, cookie, last as u32, flow);
    let _ = FLOWS.remove(cookie);
}

/// A step from state to state, as `states` keeps it.
#[inline(always)]
fn step(old: u8, new: u8) -> u64 {
    u64::from(old << 4 | new & 0xf)
}
