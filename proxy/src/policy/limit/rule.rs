//! What a rate limit does with the requests that it matches.

use std::sync::Arc;
use std::time::Duration;

use super::denial::Denial;
use super::limiter::Limiter;
use super::tables::Tables;
use crate::config::raw::RateLimit;
use crate::config::value::LimitHeaders;
use crate::policy::tier::Tier;

/// One rate limit of a generation.
pub struct Limit {
    /// Counts.
    pub limiter: Limiter,
    /// Answers requests that it denies.
    pub denial: Denial,
    /// Tells whom the kernel is to drop.
    pub tier: Option<Tier>,
    pub(super) headers: LimitHeaders,
    pub(super) limit: u64,
    /// `"NAME"`: names hold nothing that would have to be escaped (RFC 9651 section 3.3.3).
    pub(super) item: Box<str>,
    /// `"NAME";q=LIMIT;w=SECONDS`.
    pub(super) policy: Box<str>,
}

impl Limit {
    /// A checked rule, on the table that it had before, if it had one.
    pub fn build(raw: &RateLimit, tables: &Tables, template: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Self {
        let limiter = Limiter::build(raw, tables);
        let (name, limit) = (&raw.name, raw.limit);
        Self {
            tier: raw.kernel.as_ref().map(|kernel| Tier::build(kernel, &raw.name, limiter.table(), tables)),
            limiter,
            denial: Denial::of(&raw.response, template),
            headers: raw.headers,
            limit,
            item: format!("\"{name}\"").into(),
            policy: format!("\"{name}\";q={limit};w={}", seconds(raw.window)).into(),
        }
    }
}

/// Whole seconds; a part of one counts as one.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
