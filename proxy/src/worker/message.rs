//! What the rest of the process tells a worker, through its mailbox.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use ipnet::IpNet;

use crate::base::Instant;
use crate::base::metric::RouteCells;
use crate::config::Snapshot;
use crate::control::port::Kept;
use crate::files::Log;
use crate::kernel::Listening;
use crate::listen::Quota;
use crate::policy::ban::Bans;
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::policy::rule::RuleCells;
use crate::target::{Live, Wake};
use crate::tls::Stores;

/// One message to one worker.
pub enum Message {
    /// New requests use this configuration and these endpoints.
    Adopt(Box<Adoption>),
    /// Endpoints have changed.
    Live(Arc<Live>),
    /// Lists of trusted peers have changed; for this generation alone, as a newer one has read them later.
    Trust(u64, Arc<Trust>),
    /// Certificates have changed; for this generation alone.
    Tls(u64, Arc<Stores>),
    /// Others are banned than before.
    Bans(Arc<Bans>),
    /// Addresses are elsewhere than before.
    GeoIp(Arc<GeoIp>),
    /// A listener that could not be bound before now is.
    Listen(NewSocket),
    /// Hand out duplicates of the listening sockets, for the kernel to choose among.
    ShareListeners(Sender<Vec<Listening>>),
    /// Reset the connections of these sources, sorted: the kernel drops their packets.
    KernelDenied(Arc<[IpNet]>),
    /// Stop accepting, close what is idle, finish the rest until `deadline`, cut what is left then.
    Drain {
        /// When what is left is cut; a second message may bring it forward.
        deadline: Instant,
        /// What another process accepts on from now on: that is left alone as it is.
        kept: Kept,
    },
    /// Hand over the access log's lines, and say so: the files are about to be reopened.
    FlushLogs(Sender<()>),
    /// A slot that a request of this worker waits for came free on another one.
    Wake(Wake),
}

/// A generation and what comes with it.
pub struct Adoption {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Its endpoints.
    pub live: Arc<Live>,
    /// Who is banned.
    pub bans: Arc<Bans>,
    /// Where addresses are.
    pub geoip: Arc<GeoIp>,
    /// This worker's counters of its routes.
    pub cells: RouteCells,
    /// Its counters of the rate limits.
    pub limit_cells: RuleCells,
    /// Open logs, in the document's order.
    pub logs: Vec<Log>,
    /// The process's caps.
    pub quotas: Quotas,
    /// This worker's sockets of listeners that were not there before.
    pub sockets: Vec<NewSocket>,
}

/// Caps of the process, and of those listeners that have their own, by position.
#[derive(Clone)]
pub struct Quotas {
    /// Requests in flight.
    pub requests: Quota,
    /// Connections.
    pub connections: Quota,
    /// Requests and connections of each listener.
    pub listeners: Vec<(Option<Quota>, Option<Quota>)>,
}

/// One listening socket for one worker.
pub struct NewSocket {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Its address, as the document writes it: a socket whose listener or address is gone stops accepting.
    pub address: Arc<str>,
    /// The port it is bound to; 0 for a Unix socket.
    pub port: u16,
    /// The socket.
    pub fd: OwnedFd,
}
