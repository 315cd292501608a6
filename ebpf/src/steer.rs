//! Group steer: a new connection goes to the worker of the CPU that its SYN came in by.

use core::ptr::addr_of;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::{map, sk_reuseport};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, ReusePortSockArray};
use aya_ebpf::programs::SkReuseportContext;
use weir_common::abi::steer::{GROUPS_MAX, LISTENERS_MAX, SLOTS_MAX, worker};
use weir_common::abi::{Address, Endpoint};

use crate::atomic;

#[map]
static GROUPS: HashMap<Endpoint, u32> = HashMap::with_max_entries(GROUPS_MAX, 0);
#[map]
static SLOTS: Array<u32> = Array::with_max_entries(SLOTS_MAX, 0);
#[map]
static LISTENERS: ReusePortSockArray = ReusePortSockArray::with_max_entries(LISTENERS_MAX, 0);
#[map]
static STEER_COUNT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

const AF_INET: u32 = 2;
const SK_PASS: u32 = 1;

/// Asked for the socket of each new connection.
#[sk_reuseport]
fn weir_steer(ctx: SkReuseportContext) -> u32 {
    // SAFETY: a map value, aligned.
    STEER_COUNT.get_ptr_mut(0).map(|count| unsafe { atomic::add(count, 1) });
    if let Some(socket) = socket(&ctx) {
        // An empty place selects nothing, as no slot does: the kernel's hash decides then.
        let _ = LISTENERS.select_reuseport(&ctx, socket);
    }
    SK_PASS
}

/// The place of this CPU's worker's socket.
#[inline(always)]
fn socket(ctx: &SkReuseportContext) -> Option<u32> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let worker = worker(*SLOTS.get(cpu)?)?;
    // SAFETY: copied at once.
    let base = unsafe { GROUPS.get(endpoint(ctx)) }?;
    Some(*base + worker)
}

/// What the group listens on.
#[inline(always)]
fn endpoint(ctx: &SkReuseportContext) -> Endpoint {
    let socket: *mut bpf_sock = ctx.sk().sock;
    macro_rules! read {
        ($($field:tt)+) => {{
            // SAFETY: a socket of the group, valid for the program's run.
            unsafe { addr_of!((*socket).$($field)+).read_volatile() }
        }};
    }
    // Both are read before one is chosen: LLVM would make one load at an offset that varies of two in two branches.
    let v4 = read!(src_ip4);
    let v6 = [read!(src_ip6[0]), read!(src_ip6[1]), read!(src_ip6[2]), read!(src_ip6[3])];
    let address = if read!(family) == AF_INET { Address::v4(v4) } else { Address::v6(v6) };
    Endpoint::new(address, read!(src_port) as u16)
}
