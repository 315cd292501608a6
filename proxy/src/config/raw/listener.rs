//! Where weir listens, and how requests are read there.

use super::{Http2Overlay, LimitsOverlay, ListenerTls, TimeoutsOverlay};
use crate::config::check;
use crate::config::format::{List, Maybe, OneOrList, Sub};
use crate::config::table::config_table;
use crate::config::text::{Mode, Name, Text};
use crate::config::value::{
    Bind, Destination, Forwarded, HostWildcard, PeerNet, Protocol, SniCheck, UnderscoreHeaders,
};

config_table! {
    /// A place where weir listens.
    pub struct Listener: "listener", by "name", checked by check::listener {
        /// Routes name it.
        name: Name;
        /// Whether it listens.
        enabled: bool = true;
        /// Addresses and ports, or socket files.
        bind: OneOrList<Bind>, at most 16;
        /// What is spoken there.
        protocol: Protocol = "http";
        /// Hosts served here: exact names, `*.example.com`; others are answered 421. None: any.
        hostnames: List<Text> = [], in 1 to 255, at most 10_000;
        /// How many labels `*` stands for in this listener's and its routes' hosts.
        host_wildcard: HostWildcard = "any";
        /// Whether `//` in a path counts, and is forwarded, as `/`.
        merge_slashes: bool = true;
        /// Permissions of its socket files.
        mode: Mode = "0660";
        /// Owner of its socket files, by name or number; the process's own if there is none.
        owner: Maybe<Text>, in 1 to 255;
        /// Group of its socket files, by name or number; the process's own if there is none.
        group: Maybe<Text>, in 1 to 255;
        /// Proxies that announce by the PROXY protocol, version 1 or 2, whose connection they bring: their connections
        /// must begin with such a header, and whom it names is the peer. `unix` for peers on Unix sockets.
        proxy_protocol_from: List<PeerNet> = [], at most 1000;
        /// What clients may ask to be connected to with CONNECT, each as `host:port`; all else is answered 405.
        connect_allow: List<Destination> = [], at most 1000;
        /// What becomes of header fields whose names hold an underscore.
        underscore_headers: UnderscoreHeaders = "drop";
        /// How the upstream learns who the client is.
        forwarded: Forwarded = "x";
        /// The header that carries the request's id to the upstream and to the client.
        request_id_header: Text = "X-Request-Id", in 1 to 64;
        /// Whether clients may begin with HTTP/2 (RFC 9113 section 3.3); those that do not are served HTTP/1.
        h2c: bool = false;
        /// Whether WebSocket upgrades are forwarded.
        websocket: bool = true;
        /// How a request's authority is held against its connection, over TLS; 421 otherwise. It is `exact` for names
        /// whose clients show certificates, and nothing is asked where the certificate shown is weir's own making.
        sni_check: SniCheck = "certificate";
        /// Its certificates, and what it asks of clients over TLS.
        tls: Sub<ListenerTls>;
        /// Its own limits.
        limits: Sub<LimitsOverlay>;
        /// Its own timeouts.
        timeouts: Sub<TimeoutsOverlay>;
        /// Its own manners of HTTP/2.
        http2: Sub<Http2Overlay>;
    }
}
