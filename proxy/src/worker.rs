//! One core: runtime, accept loops, per-core state, mailbox.

mod wall;

pub use wall::Wall;
