//! weir: an HTTP edge proxy for bare-metal Linux.
//!
//! [`request`] composes a request's path; the modules below it are the stages in the order in which a request meets
//! them. Start there.

pub mod base;
pub mod buf;
pub mod cli;
pub mod config;
pub mod control;
pub mod files;
pub mod http;
pub mod kernel;
pub mod listen;
pub mod policy;
pub mod request;
pub mod respond;
pub mod ring;
pub mod route;
pub mod target;
pub mod tls;
pub mod trace;
pub mod transport;
pub mod wire;
pub mod worker;
