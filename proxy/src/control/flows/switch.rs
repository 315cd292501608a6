//! Programs that are attached while they are wanted: the calls may wait, so they are made off the task that wants, one
//! after the other.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::base::Instant;

type Call = dyn Fn(bool) -> Result<(), String> + Send + Sync;

/// Something that is on or off, and takes its time.
pub(super) struct Switch {
    name: &'static str,
    call: Arc<Call>,
    is: bool,
    since: Instant,
    turning: Option<(bool, JoinHandle<()>)>,
}

impl Switch {
    pub(super) fn new(name: &'static str, call: impl Fn(bool) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name, call: Arc::new(call), is: false, since: Instant::default(), turning: None }
    }

    /// Has it as wanted, sooner or later. What it has just become.
    pub(super) fn follow(&mut self, wanted: bool, now: Instant) -> Option<bool> {
        let turned = match &self.turning {
            Some((on, turning)) if turning.is_finished() => Some(*on),
            Some(_) => return None,
            None => None,
        };
        if let Some(on) = turned {
            (self.is, self.since, self.turning) = (on, now, None);
        }
        // What nobody has wanted yet is off.
        if self.is != wanted {
            let (name, call) = (self.name, Arc::clone(&self.call));
            // A call that fails is not made again before the wish changes.
            let turn = move || call(wanted).unwrap_or_else(|error| tracing::warn!(on = wanted, error, "{name}"));
            self.turning = Some((wanted, tokio::task::spawn_blocking(turn)));
        }
        turned
    }

    /// Since when it is on.
    pub(super) fn on_since(&self) -> Option<Instant> {
        (self.is).then_some(self.since)
    }
}
