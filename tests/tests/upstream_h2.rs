//! HTTP/2 to upstreams on the real binary: messages, shared connections, each row of failures, tunnels, peers that are
//! wrong or silent.

use weir_tests::Config;

#[path = "upstream_h2/both.rs"]
mod both;
#[path = "upstream_h2/failures.rs"]
mod failures;
#[path = "upstream_h2/foreign.rs"]
mod foreign;
#[path = "upstream_h2/messages.rs"]
mod messages;
#[path = "upstream_h2/raw.rs"]
mod raw;
#[path = "upstream_h2/sharing.rs"]
mod sharing;
#[path = "upstream_h2/tunnels.rs"]
mod tunnels;

/// One route for every path to one origin without TLS.
fn to(url: impl AsRef<str>) -> Config {
    Config::forwarding(url).with("protocol = \"h2c\"")
}
