//! Buffers: ranges of received memory that are shared without copying, and ordered parts to send.

mod chunk;
mod outgoing;

pub use chunk::Chunk;
pub use outgoing::{SendBuf, spare_vec};
