//! What the kernel is compared with: frames of every kind, and the verdict's tables as ordinary maps.

pub mod frame;
pub mod tables;

pub use frame::Frame;
pub use tables::Ordinary;
