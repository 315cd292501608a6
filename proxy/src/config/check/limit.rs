//! Rate limits: what only a whole rule shows, and the memory of all of them.

use std::time::Duration;

use crate::config::raw::{DenyResponse, Document, KernelTier, RateLimit};
use crate::config::reader::Reader;
use crate::config::value::{KeyPart, LimitAlgorithm, LimitScope, is_token};
use crate::policy::{limit, tier};

/// Requests a second, at most.
const RATE_MAX: u64 = 1_000_000;
const BURST_MAX: u64 = 10;

/// Fields that weir computes, or that frame the message.
const OWN_FIELDS: [&str; 21] = [
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
    "content-type",
    "content-length",
    "connection",
    "date",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

pub(in crate::config) fn rate_limit(rule: &mut RateLimit, reader: &mut Reader) {
    numbers(rule, reader);
    if rule.idle.is_some_and(|idle| idle < rule.window * 2) {
        reader.push(rule.at.problem("idle", "idle is less than two windows: counts would be forgotten too early"));
    }
    if rule.scope == LimitScope::Cluster {
        reader.push(rule.at.problem("scope", "scope = \"cluster\" is not available yet"));
    }
    if !rule.key.is_empty() && rule.key.iter().all(KeyPart::is_invented) {
        let message = "key is made only of what a client can make up anew for each request: it limits nobody who does";
        reader.push(rule.at.warning("key", message));
    }
}

fn numbers(rule: &RateLimit, reader: &mut Reader) {
    use LimitAlgorithm::{FixedWindow, LeakyBucket, SlidingWindow};
    let most = u128::from(RATE_MAX) * rule.window.as_millis() / 1000;
    if u128::from(rule.limit) > most {
        let message = format!("limit = {} is more than a million a second: {most} in this window", rule.limit);
        reader.push(rule.at.problem("limit", message));
    }
    if rule.burst > rule.limit.saturating_mul(BURST_MAX) {
        let message = format!("burst = {} is more than {BURST_MAX} x limit", rule.burst);
        reader.push(rule.at.problem("burst", message));
    }
    if rule.burst > 0 && matches!(rule.algorithm, FixedWindow | SlidingWindow) {
        let message = format!("burst is for buckets: algorithm is \"{}\"", rule.algorithm.word());
        reader.push(rule.at.problem("burst", message));
    }
    if rule.delay_max > Duration::ZERO && rule.algorithm != LeakyBucket {
        let message = format!("delay_max is for leaky_bucket: algorithm is \"{}\"", rule.algorithm.word());
        reader.push(rule.at.problem("delay_max", message));
    }
}

pub(in crate::config) fn deny_response(response: &mut DenyResponse, reader: &mut Reader) {
    if response.template.is_some() && response.at.has("body") {
        reader.push(response.at.problem("template", "response has both a body and a template"));
    }
    let lines = response.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    for (name, value) in lines.chain([(&"Content-Type".to_owned(), &response.content_type)]) {
        // RFC 9110 section 5.5.
        if value.bytes().any(|octet| (octet < b' ' && octet != b'\t') || octet == 0x7f) {
            reader.push(response.at.problem("headers", format!("header {name} holds a control character")));
        }
    }
    for (name, _) in &response.headers {
        if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
            reader.push(response.at.problem("headers", format!("header {name} is not for a rule to set")));
        } else if !is_token(name) {
            let message = format!("\"{}\" is not a field name", name.escape_debug());
            reader.push(response.at.problem("headers", message));
        }
    }
}

pub(in crate::config) fn kernel_tier(tier: &mut KernelTier, reader: &mut Reader) {
    if tier.ttl > tier.ttl_max {
        reader.push(tier.at.problem("ttl", "ttl is above ttl_max"));
    }
}

/// What only the document shows: whether there is what the rules need.
pub(super) fn rate_limits(document: &Document, reader: &mut Reader) {
    let by_country = |rule: &&RateLimit| rule.key.contains(&KeyPart::Country);
    for rule in document.rate_limits.iter().filter(by_country).filter(|_| document.geoip.db.is_none()) {
        reader.push(rule.at.problem("key", "key names the country: that needs geoip.db"));
    }
    memory(document, reader);
}

/// All tables together fit into `limits.memory_max`: judged before one is made.
fn memory(document: &Document, reader: &mut Reader) {
    let max = document.limits.memory_max;
    let mut sum = 0u64;
    for rule in document.rate_limits.iter().filter(|rule| rule.enabled) {
        let own = limit::bytes(rule) + rule.kernel.as_ref().map_or(0, |_| tier::BYTES);
        sum = sum.saturating_add(own);
        if max > 0 && sum > max {
            let message = format!(
                "keys_max = {} takes {} MiB, with the rules before it {} MiB: limits.memory_max allows {} MiB",
                rule.keys_max,
                mebibytes(own),
                mebibytes(sum),
                mebibytes(max),
            );
            reader.push(rule.at.problem("keys_max", message));
            return;
        }
    }
}

fn mebibytes(octets: u64) -> u64 {
    octets.div_ceil(1 << 20)
}
