//! Group wire: packets per connection, both ways, while somebody looks.

use core::ptr::addr_of;

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_sk_fullsock};
use aya_ebpf::macros::{cgroup_skb, map};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::SkBuffContext;
use weir_common::abi::flow::state;
use weir_common::abi::wire::{WIRE_MAX, Wire};

use crate::atomic;

#[map]
static WIRE: LruHashMap<u64, Wire> = LruHashMap::with_max_entries(WIRE_MAX, 0);

const IPPROTO_TCP: u32 = 6;
const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const IPV6_HEADER: u32 = 40;

/// Reads a field of a struct that the verifier knows by its fields, in one load.
macro_rules! read {
    ($of:expr, $($field:tt)+) => {{
        // SAFETY: the kernel's, valid for the program's run, not null.
        unsafe { addr_of!((*$of).$($field)+).read_volatile() }
    }};
}

/// Counts what comes in.
#[cgroup_skb(ingress)]
fn weir_wire_in(ctx: SkBuffContext) -> i32 {
    if let Some((wire, packets, bytes)) = packet(&ctx) {
        // SAFETY: fields of a map value, aligned.
        unsafe {
            atomic::add(&raw mut (*wire).packets_in, packets);
            atomic::add(&raw mut (*wire).bytes_in, bytes);
        }
    }
    1
}

/// Counts what goes out.
#[cgroup_skb(egress)]
fn weir_wire_out(ctx: SkBuffContext) -> i32 {
    if let Some((wire, packets, bytes)) = packet(&ctx) {
        // SAFETY: fields of a map value, aligned.
        unsafe {
            atomic::add(&raw mut (*wire).packets_out, packets);
            atomic::add(&raw mut (*wire).bytes_out, bytes);
        }
    }
    1
}

/// The counters of a packet's connection, how many packets it is on the wire, and their octets with IP's header.
#[inline(always)]
fn packet(ctx: &SkBuffContext) -> Option<(*mut Wire, u64, u64)> {
    if !of_connection(ctx) {
        return None;
    }
    // SAFETY: a helper of this program's type, on its context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    let skb = ctx.skb.skb;
    let segments = u64::from(read!(skb, gso_segs).max(1));
    let mut bytes = u64::from(read!(skb, len));
    if segments > 1 {
        // The network card cuts it, or has joined it: each segment has headers of its own.
        bytes += (segments - 1) * u64::from(headers(ctx)?);
    }
    counters(cookie).map(|wire| (wire, segments, bytes))
}

/// Whether the packet's socket is a TCP connection: a handshake's packets bear their listener's.
#[inline(always)]
fn of_connection(ctx: &SkBuffContext) -> bool {
    let socket: *mut bpf_sock = read!(ctx.skb.skb, __bindgen_anon_2.sk);
    if socket.is_null() {
        return false;
    }
    // SAFETY: the socket of the context, not null.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    !socket.is_null() && read!(socket, protocol) == IPPROTO_TCP && read!(socket, state) != u32::from(state::LISTEN)
}

/// Octets of the IP and TCP headers. The kernel's own packets have no IPv6 extension headers.
#[inline(always)]
fn headers(ctx: &SkBuffContext) -> Option<u32> {
    let ip = match read!(ctx.skb.skb, protocol) {
        ETH_P_IP => u32::from(ctx.load::<u8>(0).ok()? & 0xf) * 4,
        _ => IPV6_HEADER,
    };
    let tcp = u32::from(ctx.load::<u8>(ip as usize + 12).ok()? >> 4) * 4;
    Some(ip + tcp)
}

#[inline(always)]
fn counters(cookie: u64) -> Option<*mut Wire> {
    WIRE.get_ptr_mut(cookie).or_else(|| {
        // Another CPU may have come first: then its entry is there, and is used.
        let _ = WIRE.insert(cookie, Wire::default(), u64::from(BPF_NOEXIST));
        WIRE.get_ptr_mut(cookie)
    })
}
