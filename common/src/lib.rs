//! What kernel and user space share: map keys and values, packet decoding, limiter arithmetic, the verdict.
#![no_std]

pub mod abi;
