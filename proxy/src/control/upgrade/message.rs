//! What is said on `upgrade_socket`, as JSON. Both sides ignore keys that they do not know, and do without those that
//! are absent: they may be of different releases.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::kernel::{Home, handover};

/// The version of the manifest that this binary writes and reads. Another is refused.
pub(super) const VERSION: u32 = 1;

/// The first word of whoever connects.
#[derive(Serialize, Deserialize, Debug)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Ask {
    /// Start another binary, and say how it went.
    Upgrade {
        /// Which; none: the one that runs, by its path.
        binary: Option<PathBuf>,
    },
    /// Give me everything.
    Takeover {
        /// The manifest that it reads.
        version: u32,
    },
}

/// How an upgrade went.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Another process serves.
    Done {
        /// Its process id.
        pid: u32,
        /// That of the one before, which finishes its connections.
        before: u32,
    },
    /// The same process serves as before.
    Failed {
        /// In words.
        why: String,
    },
    /// It did not become ready in time; the same process serves as before.
    Late {
        /// In words.
        why: String,
    },
    /// Who asks is neither weir's user nor root.
    NotAllowed {
        /// Who asks.
        uid: u32,
    },
}

/// What the process before says to the next one.
#[derive(Serialize, Deserialize, Debug)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum FromOld {
    /// All there is to take. The descriptors follow.
    Manifest(Box<Manifest>),
    /// Not now.
    Refused {
        /// In words.
        why: String,
    },
    /// Nothing changes any more; this is how the kernel half stands.
    Frozen {
        /// If it runs.
        #[serde(default)]
        kernel: Option<handover::Standing>,
    },
    /// Begin to accept.
    Yours,
    /// The process before ends.
    Last {
        /// What it has found since, JSON each.
        #[serde(default)]
        findings: Vec<String>,
    },
}

/// What the next process says.
#[derive(Serialize, Deserialize, Debug)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum FromNew {
    /// Change nothing any more.
    Freeze,
    /// All is taken, and could be accepted on.
    Ready {
        /// The listeners' sockets that it has a use for: name and address, as in the manifest.
        claimed: Vec<(String, String)>,
    },
    /// It accepts.
    Serving,
    /// It cannot, and ends.
    Failed {
        /// In words.
        why: String,
    },
}

/// Places among the descriptors.
pub(super) type Places = Range<usize>;

/// What there is to take.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Manifest {
    /// Of its format.
    pub(super) version: u32,
    /// The process that gives.
    pub(super) pid: u32,
    /// Its release.
    pub(super) release: String,
    /// How many descriptors follow.
    pub(super) descriptors: usize,
    /// Listeners' sockets.
    pub(super) sockets: Vec<Sockets>,
    /// The management API's, in the document's order.
    #[serde(default)]
    pub(super) management: Vec<(SocketAddr, usize)>,
    /// That of the metrics.
    #[serde(default)]
    pub(super) metrics: Option<(SocketAddr, usize)>,
    /// The socket that this is said on.
    #[serde(default)]
    pub(super) upgrade: Option<(PathBuf, usize)>,
    /// The state directory's lock.
    #[serde(default)]
    pub(super) lock: Option<usize>,
    /// Where weir's sockets were made.
    #[serde(default)]
    pub(super) home: Option<Home>,
    /// The key of sticky cookies, in hexadecimal digits.
    #[serde(default)]
    pub(super) sticky_key: Secret,
    /// The keys of TLS tickets, as they are kept.
    #[serde(default)]
    pub(super) tickets: Secret,
    /// The kernel half.
    #[serde(default)]
    pub(super) kernel: Option<(handover::Inventory, Places)>,
}

/// What is not to be seen in any log.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One bound address of a listener.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Sockets {
    /// The listener's name.
    pub(super) listener: String,
    /// The address, as the document writes it.
    pub(super) address: String,
    /// The port; 0 for a Unix socket.
    pub(super) port: u16,
    /// Its sockets, in the group's order.
    pub(super) places: Places,
}
