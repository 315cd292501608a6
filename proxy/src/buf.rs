//! Buffers: ranges of received memory that are shared without copying, and ordered parts to send.

mod block;
mod chunk;
mod outgoing;
mod pool;
mod reading;

pub use chunk::Chunk;
pub(crate) use outgoing::Views;
pub use outgoing::{SendBuf, spare_vec};
pub(crate) use pool::Pool;
pub use reading::Reading;
