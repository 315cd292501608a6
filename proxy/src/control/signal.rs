//! Signals, as values.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What somebody asked of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// TERM, INT: drain; a second one: now.
    Stop,
    /// HUP: read the configuration again.
    Reload,
    /// USR1: go on in the files that now have the logs' names.
    ReopenLogs,
    /// USR2: start the binary anew, and let it take over.
    Upgrade,
}

impl Signal {
    /// A word for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::ReopenLogs => "reopen logs",
            Self::Upgrade => "upgrade",
        }
    }
}

/// Sends signals to `out` from now on.
pub(super) fn listen(out: &mpsc::Sender<Signal>) -> io::Result<()> {
    let kinds = [
        (SignalKind::terminate(), Signal::Stop),
        (SignalKind::interrupt(), Signal::Stop),
        (SignalKind::hangup(), Signal::Reload),
        (SignalKind::user_defined1(), Signal::ReopenLogs),
        (SignalKind::user_defined2(), Signal::Upgrade),
    ];
    for (kind, value) in kinds {
        let (mut signals, out) = (signal(kind)?, out.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && out.send(value).await.is_ok() {} });
    }
    Ok(())
}
