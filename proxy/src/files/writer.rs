//! The thread that writes access logs: one task per log, so that a file that stalls holds up no other.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;

use super::LINE_MAX;
use super::log::{Drops, Job, Log, LogSettings, Output, count, lines};

/// Buffers that may wait for one log; workers own two each per log, so that this holds for 512 of them.
const QUEUE: usize = 1024;
/// Offset that means where the file is: its end (O_APPEND), or a pipe.
const HERE: u64 = u64::MAX;

struct Opened {
    file: std::fs::File,
    settings: LogSettings,
    drops: Arc<Drops>,
    jobs: mpsc::Receiver<Job>,
}

/// The thread. Logs are opened through it, and live until their last [`Log`] and handle, or the thread, are gone.
pub struct Writer {
    opened: mpsc::UnboundedSender<Opened>,
    ended: std::sync::mpsc::Receiver<()>,
}

impl Writer {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (opened, requests) = mpsc::unbounded_channel();
        let (end, ended) = std::sync::mpsc::sync_channel(1);
        thread::Builder::new().name("weir-log".to_owned()).spawn(move || {
            tokio_uring::builder().entries(64).start(write_logs(requests));
            let _ = end.send(());
        })?;
        Ok(Self { opened, ended })
    }

    /// Opens a log's output now, so that a path that cannot be opened is an error of the configuration.
    pub fn open(&self, settings: LogSettings) -> io::Result<Log> {
        let settings = LogSettings { buffer: settings.buffer.max(2 * LINE_MAX), ..settings };
        let file = open(&settings.output)?;
        let (sender, jobs) = mpsc::channel(QUEUE);
        let drops = Arc::new(Drops::default());
        let opened = Opened { file, settings: settings.clone(), drops: Arc::clone(&drops), jobs };
        self.opened.send(opened).map_err(|_| io::Error::other("the log writer has ended"))?;
        Ok(Log::new(settings, drops, sender))
    }

    /// Writes what was handed over and ends, whoever still holds a log; waits at most `within`. Whether it has ended.
    pub fn finish(self, within: Duration) -> bool {
        drop(self.opened);
        self.ended.recv_timeout(within).is_ok()
    }
}

fn open(output: &Output) -> io::Result<std::fs::File> {
    match output {
        Output::File(path) => open_file(path),
        Output::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
    }
}

/// Readable by the group, as log shippers need, and by nobody else.
fn open_file(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

async fn write_logs(mut requests: mpsc::UnboundedReceiver<Opened>) {
    let mut tasks = Vec::new();
    let (end, ending) = watch::channel(());
    while let Some(opened) = requests.recv().await {
        tasks.retain(|task: &tokio::task::JoinHandle<()>| !task.is_finished());
        tasks.push(tokio_uring::spawn(Lines::new(opened).run(ending.clone())));
    }
    drop(end);
    for task in tasks {
        let _ = task.await;
    }
}

/// One log's open file.
struct Lines {
    file: File,
    settings: LogSettings,
    drops: Arc<Drops>,
    jobs: mpsc::Receiver<Job>,
    /// The file ends within a line, because a write stopped there.
    torn: bool,
    /// The last write failed: said once, not per buffer.
    failing: bool,
}

impl Lines {
    fn new(opened: Opened) -> Self {
        let Opened { file, settings, drops, jobs } = opened;
        Self { file: File::from_std(file), settings, drops, jobs, torn: false, failing: false }
    }

    /// Works until nobody holds the log, or until the thread ends and nothing is queued.
    async fn run(mut self, mut ending: watch::Receiver<()>) {
        loop {
            tokio::select! {
                biased;
                job = self.jobs.recv() => match job {
                    Some(job) => self.work(job).await,
                    None => return,
                },
                _ = ending.changed() => break,
            }
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.work(job).await;
        }
    }

    async fn work(&mut self, job: Job) {
        match job {
            Job::Write { buffer, home } => {
                let mut buffer = self.write(buffer).await;
                buffer.clear();
                let _ = home.push(buffer);
            }
            Job::Reopen => self.reopen(),
        }
    }

    /// Writes whole lines. What the file does not take is dropped and counted: serving goes on.
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        if self.torn && self.put(b"\n".to_vec()).await.1 == 1 {
            self.torn = false;
        }
        let (buffer, written) = self.put(buffer).await;
        let lost = lines(&buffer[written..]);
        if lost > 0 {
            count(&self.drops.io, lost);
            self.torn |= written > 0 && buffer[written - 1] != b'\n';
        }
        buffer
    }

    /// Writes as much as the file takes.
    async fn put(&mut self, mut buffer: Vec<u8>) -> (Vec<u8>, usize) {
        let mut written = 0;
        while written < buffer.len() {
            let (result, slice) = self.file.write_at(buffer.slice(written..), HERE).submit().await;
            buffer = slice.into_inner();
            match result {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed(&error);
                    return (buffer, written);
                }
            }
        }
        self.failing = false;
        (buffer, written)
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(log = %self.settings.name, %error, "access log cannot be written; lines are dropped and counted");
        }
    }

    /// Goes on in the file that now has the name; keeps the old one if there is none to be had.
    fn reopen(&mut self) {
        let Output::File(path) = &self.settings.output else { return };
        match open_file(path) {
            Ok(file) => {
                self.file = File::from_std(file);
                self.torn = false;
                self.failing = false;
            }
            Err(error) => {
                tracing::warn!(log = %self.settings.name, %error, "access log cannot be reopened; the old file is kept");
            }
        }
    }
}

#[cfg(test)]
mod tests;
