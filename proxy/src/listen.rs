//! Listening sockets, accepted connections and their limits.

mod bind;
mod quota;

pub use bind::{Bind, BindError, Opened, open};
pub use quota::{Lease, Quota, Share};
