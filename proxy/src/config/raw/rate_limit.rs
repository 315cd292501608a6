//! Rate limits: how many requests of a key may pass in which time, and what the others are told.

use super::rule::rule_table;
use crate::config::check;
use crate::config::format::{List, Maybe, Pairs, Sub};
use crate::config::number::{Count, Time};
use crate::config::table::config_table;
use crate::config::text::{Name, Text};
use crate::config::value::{FieldValues, KeyPart, LimitAlgorithm, LimitHeaders, LimitScope, OnFull};

rule_table! {
    /// How many requests of a key may pass in which time. All that match are charged in order, until one denies.
    pub struct RateLimit: "rate_limit", checked by check::rate_limit {
        /// How requests are counted.
        algorithm: LimitAlgorithm = "token_bucket";
        /// Requests in a window; at most a million a second.
        limit: Count = 60, in 1 to 86_400_000_000;
        /// The window.
        window: Time = "60s", in "1s" to "24h";
        /// Requests of a bucket that may come at once, at most 10 x `limit`; 0: as many as `limit`.
        burst: Count = 0, in 0 to 864_000_000_000;
        /// How long a request of a leaky bucket that came too early may wait for its time, at most 10,000 of them at
        /// once; 0: none waits.
        delay_max: Time = 0, in "1ms" to "10s" or 0;
        /// What of a request is counted together; `[]`: all of them.
        key: List<KeyPart> = ["client_ip"], at most 8;
        /// Bits of an IPv4 address that count.
        ipv4_prefix: u8 = 32, in 1 to 32;
        /// Bits of an IPv6 address that count.
        ipv6_prefix: u8 = 64, in 1 to 128;
        /// Keys that are told apart. Each takes 32 octets of `limits.memory_max`, 128 for a sliding window.
        keys_max: Count = 65_536, in 1024 to 16_777_216;
        /// A key that was silent for so long is forgotten: two windows at least. As set: 15 minutes, or two windows if
        /// that is longer.
        idle: Maybe<Time>, in "2s" to "7d";
        /// What becomes of a key that finds no room.
        on_full: OnFull = "share";
        /// The answer to a request that is denied.
        response: Sub<DenyResponse>;
        /// The header fields that tell clients what is left.
        headers: LimitHeaders = "both";
        /// When clients that are denied again and again are dropped by the kernel; never, if it is absent.
        kernel: Maybe<Sub<KernelTier>>;
        /// Where requests are counted.
        scope: LimitScope = "node";
    }
}

config_table! {
    /// The answer to a request that is denied.
    pub struct DenyResponse: "response", checked by check::deny_response {
        /// Its status.
        status: u16 = 429, in 400 to 599;
        /// Its body's media type.
        content_type: Text = "text/plain; charset=utf-8", in 1 to 255;
        /// Its body.
        body: Text = "Rate limit exceeded\n", in 0 to 65536;
        /// The template that is its body.
        template: Maybe<Name>;
        /// Further header fields.
        headers: Pairs<FieldValues>, at most 32;
    }
}

config_table! {
    /// When a client that a rule denies again and again is dropped by the kernel.
    pub struct KernelTier: "kernel", checked by check::kernel_tier {
        /// Enforced denials of one client by this rule; with one more it is dropped.
        after: Count = 1000, in 1 to 1_000_000;
        /// The time in which they come.
        within: Time = "10s", in "1s" to "1h";
        /// For how long it is dropped.
        ttl: Time = "60s", in "1s" to "24h";
        /// For how long at most, doubled with each relapse.
        ttl_max: Time = "1h", in "1s" to "7d";
    }
}
