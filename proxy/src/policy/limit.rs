//! Rate limits: how many requests of a key may pass in which time.
//!
//! A [`Limiter`] is one rule's: [`key`] makes a key of a request, [`store`] holds the states of all keys, shared by all
//! workers and kept from generation to generation by [`Tables`], and each algorithm is arithmetic on one key's state.
//! Times are nanoseconds of the monotonic clock.

pub(super) mod algorithm;
mod bucket;
mod denial;
mod fixed;
mod headers;
pub(super) mod key;
mod limiter;
mod rule;
mod sliding;
pub(super) mod store;
pub(super) mod tables;
mod wait;

pub use algorithm::{Charge, Standing};
pub use denial::Denial;
pub use headers::Told;
pub use key::Key;
pub use limiter::{Limiter, Occupancy};
pub use rule::Limit;
pub use tables::{Tables, bytes};
pub use wait::Wait;

#[cfg(test)]
mod tests;
