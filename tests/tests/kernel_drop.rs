//! The XDP program in the running kernel, packet by packet by BPF_PROG_TEST_RUN: it decides as the same decision does
//! over ordinary maps, and does with it what it should. No interface is touched.

#[path = "kernel_drop/both.rs"]
mod both;
#[path = "kernel_drop/effects.rs"]
mod effects;
#[path = "kernel_drop/generated.rs"]
mod generated;
#[path = "kernel_drop/limits.rs"]
mod limits;
#[path = "kernel_drop/table.rs"]
mod table;
