//! The eBPF programs in the running kernel: that it takes them, and that they tell what TCP did.
//!
//! Each test has a network and a cgroup of its own, and only root may make those.

#[path = "kernel_programs/close.rs"]
mod close;
#[path = "kernel_programs/fallback.rs"]
mod fallback;
#[path = "kernel_programs/flow.rs"]
mod flow;
#[path = "kernel_programs/loss.rs"]
mod loss;
#[path = "kernel_programs/setting.rs"]
mod setting;
#[path = "kernel_programs/steer.rs"]
mod steer;
#[path = "kernel_programs/verifier.rs"]
mod verifier;
#[path = "kernel_programs/wire.rs"]
mod wire;
