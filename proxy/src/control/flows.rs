//! Flows: every TCP connection of weir, what the kernel knows of it and what weir made of it.

pub mod source;

pub use source::FlowSource;
