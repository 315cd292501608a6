//! A packet as the verifier lets it be read.

use core::arch::asm;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use weir_common::packet::{Frame, Part};

/// The packet that the program was called for.
pub(super) struct Packet {
    ctx: *mut xdp_md,
    data: usize,
    end: usize,
}

/// Octets of it whose end was compared with the packet's.
pub(super) struct Checked(*const u8);

impl Packet {
    #[inline(always)]
    pub(super) fn new(ctx: &XdpContext) -> Self {
        let ctx = ctx.ctx;
        // SAFETY: the context is valid for the call. Volatile, at constant offsets: the verifier knows each field by
        // its own load.
        let (data, end) = unsafe { (read_volatile(addr_of!((*ctx).data)), read_volatile(addr_of!((*ctx).data_end))) };
        Self { ctx, data: data as usize, end: end as usize }
    }

    /// Of the whole packet, also of what lies in fragments.
    #[inline(always)]
    pub(super) fn length(&self) -> u64 {
        // SAFETY: the context is valid for the call.
        unsafe { bpf_xdp_get_buff_len(self.ctx) }
    }

    /// The interface that it came in by.
    #[inline(always)]
    pub(super) fn interface(&self) -> u32 {
        // SAFETY: as in `new`.
        unsafe { read_volatile(addr_of!((*self.ctx).ingress_ifindex)) }
    }

    /// Of the part in reach. Opaque to the compiler: it would conclude from a comparison with this that later ones with
    /// `end` hold, and leave out what the verifier wants to see.
    #[inline(always)]
    fn linear(&self) -> usize {
        let mut length = self.end - self.data;
        // SAFETY: moves a register to itself. No instruction at all would do, but has no line of its own.
        unsafe { asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack, preserves_flags)) };
        length
    }
}

impl Frame for Packet {
    type Part = Checked;

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<Checked> {
        let at = self.data + offset;
        if at + N > self.end { None } else { Some(Checked(at as *const u8)) }
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        self.linear() >= length || self.length() >= length as u64
    }
}

/// The parser asks only within what it loaded; the verifier would refuse the program otherwise. Alignment is no matter
/// to the kernels that this is built for, and whole loads are what the compiler makes of aligned pointers only.
impl Part for Checked {
    #[inline(always)]
    fn u8(&self, at: usize) -> u8 {
        // SAFETY: within what was loaded, see above.
        unsafe { *self.0.add(at) }
    }

    #[inline(always)]
    fn u16(&self, at: usize) -> u16 {
        // SAFETY: within what was loaded, see above.
        u16::from_be(unsafe { *self.0.add(at).cast() })
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        // SAFETY: within what was loaded, see above.
        unsafe { *self.0.add(at).cast() }
    }
}
