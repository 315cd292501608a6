//! Listening sockets, accepted connections and their limits.

mod bind;
mod client;
mod crowd;
mod flow;
pub mod proxy_protocol;
mod quota;
mod socket_file;
mod tls;
mod whence;

pub use bind::{Bind, BindError, Opened, begin, join, open};
pub use client::{Client, Doing, Held, Stopped, Told, deadline};
pub use crowd::{Counted, Crowd, Crowded, Member, Place};
pub use flow::{Flow, Teller};
pub use proxy_protocol::Announced;
pub use quota::{Lease, Quota, Share};
pub use socket_file::{Access, SocketFile};
pub use tls::Secured;
pub use whence::Whence;
