//! Rate limits: how many requests of a key may pass in which time.
//!
//! A [`Limiter`] is one rule's: [`key`] makes a key of a request, [`store`] holds the states of all keys, shared by all
//! workers and kept from generation to generation by [`Tables`], and each algorithm is arithmetic on one key's state.
//! Times are nanoseconds of the monotonic clock.

mod algorithm;
mod bucket;
mod fixed;
mod key;
mod limiter;
mod sliding;
mod store;
mod tables;
mod wait;

pub use algorithm::{Charge, Standing};
pub use key::{Key, KeyPlan, Parts};
pub use limiter::Limiter;
pub use tables::{Tables, bytes};
pub use wait::Wait;

#[cfg(test)]
mod tests;
