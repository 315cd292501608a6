//! Who the client is, and how much of the process one client may take.

use std::path::PathBuf;

use crate::config::check;
use crate::config::format::{List, Maybe, Objects};
use crate::config::number::Count;
use crate::config::table::config_table;
use crate::config::text::Text;
use crate::config::value::{ClientDoubt, ClientMode, PeerNet};

config_table! {
    /// Who the client is.
    pub struct Clients: "client" {
        /// Peers that say who the client is: proxies before this one.
        proxies as "proxy": Objects<ClientProxy>, at most 64;
    }
}

config_table! {
    /// Trusted peers: their forwarding headers and request ids count, and neither bans nor limits per client concern
    /// them. No peer may be of two such tables.
    pub struct ClientProxy: "client.proxy", checked by check::client_proxy {
        /// Their addresses; `unix` for peers on Unix sockets.
        cidrs: List<PeerNet> = [], at most 10_000;
        /// In place of `cidrs`: a file with one on each line, read again when it changes. `#` begins a comment.
        file: Maybe<PathBuf>;
        /// The header that names the client: a list of addresses, or RFC 7239's if it is `forwarded`.
        header: Text = "x-forwarded-for", in 1 to 64;
        /// How it is read.
        mode: ClientMode = "trusted_chain";
        /// Who the client is if the header is not there.
        on_missing: ClientDoubt = "unknown";
        /// Who the client is if the header is wrong: no address where one is needed, more than 32 hops or 8 KiB.
        on_invalid: ClientDoubt = "reject";
    }
}

config_table! {
    /// What one client may have at once, by its IPv4 address or the /64 of its IPv6 address, in the whole process. 0 is
    /// off. Trusted proxies and peers on Unix sockets are not counted. A client that has nothing and comes to several
    /// workers at the same moment may have one more for each of them but one.
    pub struct Connections: "connections" {
        /// Connections of a peer; more are reset.
        per_client_max: Count = 1000;
        /// Connections of a peer on which no whole request head has come yet; more are reset.
        handshaking_per_client_max: Count = 64;
        /// Requests in flight of a client; more: 429.
        requests_per_client_max: Count = 0;
    }
}
