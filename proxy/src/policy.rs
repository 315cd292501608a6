//! The layers before routing: who the client is, what a request is asked, and what becomes of it.
//!
//! [`identity`] says who the client is, [`ban`] who is banned; [`expr`] reads what rules ask, [`rule`] walks them,
//! [`geoip`] tells where addresses are; [`limit`] counts requests, [`tier`] tells whom the kernel is to drop;
//! [`finding`] adds denials up.

pub mod ban;
pub mod expr;
pub mod finding;
pub mod geoip;
pub mod identity;
pub mod limit;
pub mod rule;
pub mod tier;

pub use expr::{Context, Expr, Facts, Source, Tls};
pub use rule::{Rule, RuleId, Rules};
