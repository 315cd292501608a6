//! Group drop: the XDP program. The decision itself is [`weir_common::verdict`]; here are its tables, which are maps,
//! and what becomes of a verdict.

mod maps;
mod packet;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use weir_common::abi::drop::{Action, Conf, Sample, counted, skipped};
use weir_common::packet::{Tcp, parse};
use weir_common::pressure::sampled;
use weir_common::verdict::{Verdict, judge};

use self::maps::{CONF, DROPS, Maps, count, cpu};
use self::packet::Packet;

/// Judges every packet that comes in by an interface.
#[xdp(frags)]
fn weir_drop(ctx: XdpContext) -> u32 {
    let packet = Packet::new(&ctx);
    let tcp = match parse(&packet) {
        Ok(tcp) => tcp,
        Err(why) => {
            count(skipped(why), packet.length());
            return XDP_PASS;
        }
    };
    let Some(conf) = CONF.get(0) else { return XDP_PASS };
    match judge(&tcp, || packet.length(), now, conf, &Maps) {
        None => XDP_PASS,
        Some(verdict) => carry_out(&packet, &tcp, verdict, conf),
    }
}

/// The coarse monotonic clock: the precise one would cost more than all the rest.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: takes nothing, reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Counts, samples, drops; or passes after all, in dry run.
#[inline(always)]
fn carry_out(packet: &Packet, tcp: &Tcp, verdict: Verdict, conf: &Conf) -> u32 {
    let action = if conf.dry_run == 0 { Action::Drop } else { Action::WouldDrop };
    count(counted(verdict.cause, action), packet.length());
    sample(packet, tcp, verdict, action, conf.samples);
    match action {
        Action::Drop => XDP_DROP,
        Action::WouldDrop => XDP_PASS,
    }
}

#[inline(always)]
fn sample(packet: &Packet, tcp: &Tcp, verdict: Verdict, action: Action, samples: u64) {
    let Some(cpu) = cpu() else { return };
    if !sampled(cpu, verdict.at, samples) {
        return;
    }
    let Some(mut entry) = DROPS.reserve::<Sample>(0) else {
        cpu.lost += 1;
        return;
    };
    entry.write(Sample {
        ts: verdict.at,
        src: tcp.src,
        dst: tcp.dst,
        sport: tcp.sport,
        dport: tcp.dport,
        rule: verdict.rule,
        ifindex: packet.interface(),
        len: packet.length() as u32,
        cause: verdict.cause as u8,
        action: action as u8,
        flags: tcp.flags,
        pad: [0; 5],
    });
    entry.submit(0);
}
