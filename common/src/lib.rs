//! What kernel and user space share: map keys and values, packet decoding, limiter arithmetic, the verdict.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod gcra;
pub mod packet;
pub mod pressure;
pub mod sketch;
pub mod verdict;
