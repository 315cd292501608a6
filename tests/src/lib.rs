//! End-to-end tests of the weir binary: the harness that the suites in `tests/` share.
//!
//! A suite starts a [`Config`] as a [`Weir`], stands scripted [`Origin`]s behind it and raw [`Client`]s before it, and
//! judges by what each side saw. Nothing here sleeps in place of a condition: waiting is [`wait::until`] with a
//! deadline, or a blocking call with one.

pub mod client;
pub mod config;
pub mod dir;
pub mod dns;
pub mod exchange;
pub mod h2;
pub mod h2c;
pub mod load;
pub mod message;
pub mod metrics;
pub mod mmdb;
pub mod neighbour;
pub mod netns;
pub mod object;
pub mod origin;
pub mod ports;
pub mod process;
pub mod program;
pub mod proxied;
pub mod script;
pub mod servers;
pub mod spelling;
pub mod tls;
pub mod wait;
pub mod websocket;
pub mod weir;

pub use client::{Client, Ended};
pub use config::Config;
pub use dns::{NameServer, Says};
pub use exchange::{get, manage, request};
pub use message::{Request, Response};
pub use neighbour::Neighbour;
pub use origin::Origin;
pub use script::Gate;
pub use weir::{Exit, Weir};
