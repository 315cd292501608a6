//! Where weir listens, and how requests are read there.

use super::{Http2Overlay, LimitsOverlay, TimeoutsOverlay};
use crate::config::check;
use crate::config::format::{List, Maybe, OneOrList, Sub};
use crate::config::table::config_table;
use crate::config::text::{Mode, Name, Text};
use crate::config::value::{Bind, Forwarded, HostWildcard, Protocol, UnderscoreHeaders};

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
        /// Its own limits.
        limits: Sub<LimitsOverlay>;
        /// Its own timeouts.
        timeouts: Sub<TimeoutsOverlay>;
        /// Its own manners of HTTP/2.
        http2: Sub<Http2Overlay>;
    }
}
