//! A worker's side of an access log: whole lines into a buffer of its own, full buffers to the writer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::mpsc;

use super::LINE_MAX;
use crate::base::Instant;

/// Buffers per worker and log: one being filled while the other is being written.
const BUFFERS: usize = 2;

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Appended to this file, which is made if it is absent.
    File(PathBuf),
    /// The process's standard output.
    Stdout,
}

/// One `[[access_log]]`, as far as writing goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// Its name, for metrics and messages.
    pub name: String,
    /// Where its lines go.
    pub output: Output,
    /// Octets of one buffer.
    pub buffer: usize,
    /// How long a line may wait in a buffer.
    pub flush: Duration,
}

/// Lines that were not written, by why.
#[derive(Default, Debug)]
pub struct Drops {
    /// No buffer was free.
    pub full: AtomicU64,
    /// The file took no more.
    pub io: AtomicU64,
    /// The line was longer than [`LINE_MAX`].
    pub oversize: AtomicU64,
}

/// What the writer is asked to do, in order.
pub(super) enum Job {
    /// Write these lines, and give the buffer back.
    Write { buffer: Vec<u8>, home: Arc<ArrayQueue<Vec<u8>>> },
    /// Go on in the file that now has the name.
    Reopen,
}

/// An open log, shared by all workers.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    settings: LogSettings,
    drops: Arc<Drops>,
    jobs: mpsc::Sender<Job>,
}

impl Log {
    pub(super) fn new(settings: LogSettings, drops: Arc<Drops>, jobs: mpsc::Sender<Job>) -> Self {
        Self(Arc::new(Shared { settings, drops, jobs }))
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &LogSettings {
        &self.0.settings
    }

    /// Its lines that were not written.
    pub fn drops(&self) -> &Drops {
        &self.0.drops
    }

    /// Lines handed over before go to the old file, later ones to the file that now has the name. False if the writer
    /// is too far behind to be told now.
    pub fn reopen(&self) -> bool {
        self.0.jobs.try_send(Job::Reopen).is_ok()
    }

    /// Whether both are the same open log.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A worker's own handle.
    pub fn handle(&self) -> LogHandle {
        let home = ArrayQueue::new(BUFFERS);
        for _ in 0..BUFFERS {
            let _ = home.push(Vec::with_capacity(self.0.settings.buffer));
        }
        LogHandle { log: self.clone(), home: Arc::new(home), filling: None, due: None }
    }
}

/// One worker's end of a log. Dropping it hands over what it holds.
pub struct LogHandle {
    log: Log,
    /// Empty buffers, given back by the writer.
    home: Arc<ArrayQueue<Vec<u8>>>,
    filling: Option<Vec<u8>>,
    /// When what is in `filling` must leave.
    due: Option<Instant>,
}

impl LogHandle {
    /// The log behind it.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Appends a line: `write` adds it without its end of line. Dropped and counted if no buffer is free or it is too
    /// long.
    pub fn line(&mut self, now: Instant, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(mut buffer) = self.filling.take().or_else(|| self.home.pop()) else {
            count(&self.log.0.drops.full, 1);
            return;
        };
        let start = buffer.len();
        write(&mut buffer);
        if buffer.len() - start > LINE_MAX {
            buffer.truncate(start);
            buffer.shrink_to(self.log.0.settings.buffer);
            count(&self.log.0.drops.oversize, 1);
        } else {
            buffer.push(b'\n');
        }
        self.keep(buffer, now);
    }

    /// Keeps a buffer that still has room for any line, hands over the others.
    fn keep(&mut self, buffer: Vec<u8>, now: Instant) {
        if buffer.len() + LINE_MAX >= self.log.0.settings.buffer {
            return self.hand_over(buffer);
        }
        if self.due.is_none() && !buffer.is_empty() {
            self.due = Some(now + self.log.0.settings.flush);
        }
        self.filling = Some(buffer);
    }

    /// Hands over lines that have waited long enough. A worker calls it from time to time.
    pub fn tick(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.flush();
        }
    }

    /// Hands over all lines.
    pub fn flush(&mut self) {
        if let Some(buffer) = self.filling.take() {
            self.hand_over(buffer);
        }
    }

    fn hand_over(&mut self, buffer: Vec<u8>) {
        self.due = None;
        if buffer.is_empty() {
            let _ = self.home.push(buffer);
            return;
        }
        let job = Job::Write { buffer, home: Arc::clone(&self.home) };
        if let Err(refused) = self.log.0.jobs.try_send(job) {
            self.take_back(refused.into_inner());
        }
    }

    /// The queue is full or the writer gone: the lines are lost, the buffer is not.
    fn take_back(&mut self, job: Job) {
        if let Job::Write { mut buffer, home } = job {
            count(&self.log.0.drops.full, lines(&buffer));
            buffer.clear();
            let _ = home.push(buffer);
        }
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.flush();
    }
}

/// How many lines end in these octets.
pub(super) fn lines(octets: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', octets).count() as u64
}

pub(super) fn count(cell: &AtomicU64, n: u64) {
    cell.fetch_add(n, Ordering::Relaxed);
}
