//! Listening sockets, accepted connections and their limits.

mod bind;
mod client;
mod flow;
mod quota;

pub use bind::{Bind, BindError, Opened, open};
pub use client::{Client, Doing, Stopped, Told, deadline};
pub use flow::{Flow, Teller};
pub use quota::{Lease, Quota, Share};
