//! What rate limits tell a client: RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), the fields
//! that were usual before, and Retry-After (RFC 9110 section 10.2.3).

use smallvec::SmallVec;

use super::algorithm::Charge;
use super::rule::{Limit, seconds};
use crate::config::value::LimitHeaders;
use crate::http::Edits;

/// The enforced rate limits that a request met, in order, and what became of it there. A shadow is not told of.
#[derive(Default)]
pub struct Told<'s> {
    items: SmallVec<[Item<'s>; 4]>,
}

struct Item<'s> {
    limit: &'s Limit,
    remaining: u64,
    /// Seconds.
    reset: u64,
    denied: bool,
}

/// Most values fit, so that none is made on the heap.
type Value = SmallVec<[u8; 256]>;

impl<'s> Told<'s> {
    /// Takes note of a charge.
    pub fn push(&mut self, limit: &'s Limit, charge: &Charge) {
        let (remaining, reset, denied) = match charge {
            Charge::Admitted(left) | Charge::Delayed(left, _) => (left.remaining, seconds(left.reset), false),
            Charge::Denied { retry_after, .. } => (0, seconds(*retry_after).max(1), true),
        };
        self.items.push(Item { limit, remaining: remaining.min(limit.limit), reset, denied });
    }

    /// Whether no rate limit was met.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds the fields to a response. Those of the draft stand beside the upstream's, the others replace them.
    pub fn write(&self, edits: &mut Edits) {
        if self.is_empty() {
            return;
        }
        self.write_draft(edits);
        self.write_legacy(edits);
        if let Some(denier) = self.denier() {
            set(edits, "Retry-After", denier.reset);
        }
    }

    fn denier(&self) -> Option<&Item<'s>> {
        self.items.iter().find(|item| item.denied)
    }

    fn write_draft(&self, edits: &mut Edits) {
        let (mut policies, mut states) = (Value::new(), Value::new());
        for item in self.items.iter().filter(|item| item.limit.tells_draft()) {
            if !policies.is_empty() {
                policies.extend_from_slice(b", ");
                states.extend_from_slice(b", ");
            }
            policies.extend_from_slice(item.limit.policy.as_bytes());
            item.write_state(&mut states);
        }
        if !policies.is_empty() {
            edits.add_own("RateLimit-Policy", &policies);
            edits.add_own("RateLimit", &states);
        }
    }

    /// Of the limit that denied, else of that which leaves least.
    fn write_legacy(&self, edits: &mut Edits) {
        let tells = |item: &&Item<'_>| item.limit.tells_legacy();
        let closest = || self.items.iter().filter(tells).min_by_key(|item| item.remaining);
        let Some(item) = self.denier().map_or_else(closest, |denier| Some(denier).filter(tells)) else { return };
        let (limit, remaining, reset) = (item.limit.limit, item.remaining, item.reset);
        for (name, value) in [(LIMIT, limit), (REMAINING, remaining), (RESET, reset)] {
            name.iter().for_each(|name| set(edits, name, value));
        }
    }
}

const LIMIT: [&str; 2] = ["RateLimit-Limit", "X-RateLimit-Limit"];
const REMAINING: [&str; 2] = ["RateLimit-Remaining", "X-RateLimit-Remaining"];
const RESET: [&str; 2] = ["RateLimit-Reset", "X-RateLimit-Reset"];

impl Item<'_> {
    /// `"NAME";r=REMAINING;t=SECONDS`.
    fn write_state(&self, out: &mut Value) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(self.limit.item.as_bytes());
        out.extend_from_slice(b";r=");
        out.extend_from_slice(digits.format(self.remaining).as_bytes());
        out.extend_from_slice(b";t=");
        out.extend_from_slice(digits.format(self.reset).as_bytes());
    }
}

impl Limit {
    fn tells_draft(&self) -> bool {
        matches!(self.headers, LimitHeaders::Both | LimitHeaders::Draft)
    }

    fn tells_legacy(&self) -> bool {
        matches!(self.headers, LimitHeaders::Both | LimitHeaders::Legacy)
    }
}

fn set(edits: &mut Edits, name: &'static str, value: u64) {
    edits.set_own(name, itoa::Buffer::new().format(value).as_bytes());
}
