//! Group drop: the XDP program. The decision itself is [`weir_common::verdict`].

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Judges every packet that comes in by an interface.
#[xdp(frags)]
fn weir_drop(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
