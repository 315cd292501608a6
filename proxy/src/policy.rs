//! The layers before routing: what a request is asked, and what becomes of it.
//!
//! [`expr`] reads what rules ask, [`rule`] walks them, [`geoip`] tells where addresses are, [`limit`] counts requests,
//! [`identity`] tells who the client is, [`tier`] tells whom the kernel is to drop.

pub mod expr;
pub mod geoip;
pub mod identity;
pub mod limit;
pub mod rule;
pub mod tier;

pub use expr::{Context, Expr, Facts, Source};
pub use rule::{Rule, RuleId, Rules};
