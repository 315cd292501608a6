//! Buffers: ranges of received memory that are shared without copying.
