//! Who is banned, and how denials are kept.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::check;
use crate::config::format::Maybe;
use crate::config::number::{Count, Size, Time};
use crate::config::table::config_table;
use crate::config::text::Text;
use crate::config::value::Moment;

config_table! {
    /// Addresses that are refused: a peer's connections are reset, a client's requests get 403. Trusted proxies and
    /// peers on Unix sockets are never banned. All together 1,000,000 CIDRs at most.
    pub struct Ban: "ban", by "cidr" | "file", checked by check::ban {
        /// The addresses.
        cidr: Maybe<IpNet>;
        /// In place of `cidr`: a file with one on each line, read again when it changes. `#` begins a comment.
        file: Maybe<PathBuf>;
        /// Why, for those who look at bans.
        reason: Text = "", in 0 to 256;
        /// When it ends.
        expires: Maybe<Moment>;
    }
}

config_table! {
    /// How findings, which are denials added up, are kept.
    pub struct Audit: "audit" {
        /// What has changed is written so late at most.
        flush: Time = "5s", in "1s" to "1h";
        /// A finding is kept for so long after its last denial.
        retention: Time = "30d", in "1h" to "365d";
        /// Octets that findings may take on disk; the oldest go.
        disk_max: Size = "256MiB", in "32MiB" to "64GiB";
        /// How many findings are kept; the oldest go.
        findings_max: Count = 100_000, in 1000 to 1_000_000;
    }
}
