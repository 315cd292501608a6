//! What kernel and user space share: map keys and values, packet decoding, limiter arithmetic, the verdict.
#![no_std]

#[cfg(any(test, feature = "tables"))]
extern crate std;

pub mod abi;
pub mod gcra;
pub mod packet;
pub mod pressure;
pub mod sketch;
#[cfg(any(test, feature = "tables"))]
pub mod tables;
pub mod verdict;
