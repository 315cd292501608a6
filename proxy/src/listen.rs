//! Listening sockets, accepted connections and their limits.

mod bind;
mod client;
mod crowd;
mod flow;
mod quota;
mod tls;

pub use bind::{Bind, BindError, Opened, open};
pub use client::{Client, Doing, Held, Stopped, Told, deadline};
pub use crowd::{Counted, Crowd, Crowded, Member, Place};
pub use flow::{Flow, Teller};
pub use quota::{Lease, Quota, Share};
pub use tls::Secured;
