//! The layers before routing: who the client is, and what it may do.

pub mod ban;
pub mod finding;
pub mod identity;
