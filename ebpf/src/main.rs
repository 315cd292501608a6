//! weir's eBPF programs, one module per group. What they share with user space is in `weir-common`.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "the atomics of BPF are intrinsics only")]
#![feature(core_intrinsics, asm_experimental_arch)]

mod atomic;
mod drop;
mod flow;
mod steer;
mod wire;

/// The kernel gives some helpers only to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 26] = *b"GPL and additional rights\0";

/// Never reached: a program that could panic does not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
