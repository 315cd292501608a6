//! What the kernel half's keys say together.

use crate::config::raw::{Kernel, KernelSyn};
use crate::config::reader::Reader;
use crate::config::value::{KernelGroup, KernelMode, KernelSteer};

pub(in crate::config) fn kernel(kernel: &mut Kernel, reader: &mut Reader) {
    if !kernel.flow_ring.is_power_of_two() {
        reader.push(kernel.at.problem("flow_ring", "flow_ring is not a power of 2"));
    }
    let off = |group: &KernelGroup| match group {
        KernelGroup::Drop => kernel.mode == KernelMode::Off,
        KernelGroup::Flow => !kernel.flow,
        KernelGroup::Steer => kernel.steer == KernelSteer::Off,
    };
    for group in kernel.required.iter().filter(|group| off(group)) {
        reader.push(kernel.at.problem("required", format!("required: {} is off", group.word())));
    }
}

pub(in crate::config) fn kernel_syn(syn: &mut KernelSyn, reader: &mut Reader) {
    let burst = syn.rate / 10..=syn.rate * 10;
    if syn.burst != 0 && !burst.contains(&syn.burst) {
        let message = format!("syn.burst is not within {} to {}, as syn.rate asks", burst.start(), burst.end());
        reader.push(syn.at.problem("burst", message));
    }
}
