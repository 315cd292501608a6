//! A worker's denials on their way to control: added up for a moment, then one batch.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use crate::base::metric::Queue;
use crate::policy::finding::Denial;
use crate::ring;

/// How long denials are added up.
const GATHER: Duration = Duration::from_millis(100);

impl Worker {
    /// Adds a denial to the findings; what does not fit is counted.
    pub fn found(&self, denial: &Denial<'_>) {
        if !self.findings_out.is_wanted() {
            return;
        }
        let mut findings = self.findings.borrow_mut();
        if findings.is_empty() {
            self.findings_begun.notify();
        }
        if !findings.add(denial, self.wall.unix_ns(ring::now()) / 1_000_000_000) {
            self.counters.lost_times(Queue::Finding, denial.times);
        }
    }

    /// Hands over what is there.
    pub(super) fn send_findings(&self) {
        let batch = self.findings.borrow_mut().take();
        if !batch.is_empty()
            && let Err(lost) = self.findings_out.send(batch)
        {
            self.counters.lost_times(Queue::Finding, lost.iter().map(|finding| finding.count).sum());
        }
    }
}

/// Hands over for ever. While nothing is denied, nothing wakes it.
pub(super) async fn send(worker: Rc<Worker>) {
    loop {
        worker.findings_begun.wait().await;
        ring::sleep_until(ring::now() + GATHER).await;
        worker.send_findings();
    }
}
