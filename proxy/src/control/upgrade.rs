//! One binary takes over from another without a lost connection: what both sides say to each other on `upgrade_socket`.
//!
//! The process that serves listens there. It starts the next binary, or somebody else does; that one connects, gets a
//! manifest and every descriptor, builds all of itself, and says when it is ready. Until then nothing has changed for
//! clients, and whatever fails ends the new process alone.
//!
//! | new | old |
//! | --- | --- |
//! | [`Ask::Takeover`] | [`FromOld::Manifest`], descriptors |
//! | [`FromNew::Freeze`]: ready, but for what changes | writes nothing from here on; [`FromOld::Frozen`] |
//! | [`FromNew::Ready`] | [`FromOld::Yours`] |
//! | accepts; [`FromNew::Serving`] | stops accepting, finishes what it has; [`FromOld::Last`] at its end |

mod ask;
mod give;
mod message;
mod own;
mod take;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

pub use ask::{Asked, ask};
pub(super) use give::{Giver, Parts as GiverParts, open};
pub(super) use own::OwnSocket;
pub(super) use take::{Arrival, arrive};
pub use take::{NotTaken, Taking};

use tokio::sync::watch;

use super::port::Kept;

/// From the start of the new process to its `ready`.
const READY_MAX: Duration = Duration::from_secs(60);

/// The readiness warning while there is no socket.
const SOCKET_MISSING: &str = "UPGRADE_SOCKET";

/// How far this process is with giving itself to another one.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) enum Phase {
    /// It serves, and nobody asks.
    #[default]
    Serving,
    /// It serves, and another process gets ready to.
    Giving,
    /// Another one serves; this one finishes what it has.
    Given {
        /// Its process id.
        pid: u32,
        /// The listeners' addresses that it has taken.
        kept: Kept,
    },
}

/// Waits until another process serves.
pub(super) async fn given(phase: &mut watch::Receiver<Phase>) {
    if phase.wait_for(|phase| matches!(phase, Phase::Given { .. })).await.is_err() {
        std::future::pending().await
    }
}

/// How to start a binary as this one was started.
#[derive(Clone, Debug)]
pub struct Command {
    /// The binary, by the path that it had when it was started: another may have that name since.
    pub binary: PathBuf,
    /// What `run` was given.
    pub arguments: Vec<std::ffi::OsString>,
}
