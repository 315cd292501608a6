//! What kernel and user space share: map keys and values, packet decoding, limiter arithmetic, the verdict.
#![no_std]

#[cfg(any(test, feature = "oracle"))]
extern crate std;

pub mod abi;
pub mod gcra;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
pub mod packet;
pub mod pressure;
pub mod sketch;
pub mod verdict;
