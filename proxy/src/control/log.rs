//! weir's own log: tracing events as lines, written by a thread, so that a full pipe holds up nobody.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::raw::Log as Settings;
use crate::config::value::{LogFormat, LogLevel};

/// Lines that may wait for the thread.
const QUEUE: usize = 8192;

/// Lines that found the queue full.
static LOST: AtomicU64 = AtomicU64::new(0);

enum Job {
    Line(Vec<u8>),
    Reopen,
    End,
}

/// The way to the thread of the process's own log, for whoever is told to reopen files.
static OWN: OnceLock<SyncSender<Job>> = OnceLock::new();

/// The log's thread. Dropping it writes what waits.
pub struct OwnLog {
    jobs: SyncSender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl OwnLog {
    /// Opens the log and makes it the process's own. Another call fails: there is one.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let output = Output::open(settings.file.as_deref())?;
        let console = is_console(settings);
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("weir-own-log".to_owned()).spawn(move || output.run(&queue))?;
        let lines = Lines { jobs: jobs.clone() };
        install(console, levels(settings), lines).map_err(io::Error::other)?;
        let _ = OWN.set(jobs.clone());
        Ok(Self { jobs, thread: Some(thread) })
    }
}

impl Drop for OwnLog {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Goes on in the file that now has the name. Lines that wait go to the old one.
pub(super) fn reopen() {
    if let Some(jobs) = OWN.get() {
        let _ = jobs.try_send(Job::Reopen);
    }
}

/// Lines that were lost so far.
pub(super) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn install(console: bool, levels: Targets, lines: Lines) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    if console {
        let ansi = io::stderr().is_terminal();
        let plain = layer.with_ansi(ansi).with_target(true);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(levels).with(plain))
    } else {
        let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(levels).with(json))
    }
}

/// For people on a terminal, else JSON.
fn is_console(settings: &Settings) -> bool {
    match settings.format {
        LogFormat::Console => true,
        LogFormat::Json => false,
        LogFormat::Auto => settings.file.is_none() && io::stderr().is_terminal(),
    }
}

/// weir's modules as set; libraries no chattier than warnings, unless named.
fn levels(settings: &Settings) -> Targets {
    let level = filter(settings.level);
    let mut targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("weir", level);
    for (module, level) in &settings.levels {
        let own = format!("weir::{module}");
        targets = targets.with_target(own, filter(*level)).with_target(module.clone(), filter(*level));
    }
    targets
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Hands events over, a line each.
struct Lines {
    jobs: SyncSender<Job>,
}

/// One line on its way.
struct Line<'a> {
    jobs: &'a SyncSender<Job>,
    octets: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { jobs: &self.jobs, octets: Vec::with_capacity(256) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.octets.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Line(std::mem::take(&mut self.octets))) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where lines end up.
enum Output {
    Stderr,
    File(PathBuf, File),
}

impl Output {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        match path {
            None => Ok(Self::Stderr),
            Some(path) => {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                Ok(Self::File(path.to_owned(), append(path).map_err(named)?))
            }
        }
    }

    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Line(line) => self.write(&line),
                Job::Reopen => self.reopen(),
                Job::End => return,
            }
        }
    }

    /// A line that cannot be written has nowhere to be complained about.
    fn write(&mut self, line: &[u8]) {
        let written = match self {
            Self::Stderr => io::stderr().write_all(line),
            Self::File(_, file) => file.write_all(line),
        };
        if written.is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A failed open keeps the old file.
    fn reopen(&mut self) {
        if let Self::File(path, file) = self
            && let Ok(new) = append(path)
        {
            *file = new;
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Settings {
        crate::config::parse(&format!("version = 1\n[log]\n{toml}"), "test.toml").expect("a good document").log
    }

    #[test]
    fn modules_have_their_own_levels_and_libraries_stay_quiet() {
        let levels = levels(&settings("level = \"info\"\nlevels = { control = \"debug\", hyper = \"info\" }"));
        let enabled = |target, level| levels.would_enable(target, &level);
        assert!(enabled("weir::route", tracing::Level::INFO) && !enabled("weir::route", tracing::Level::DEBUG));
        assert!(enabled("weir::control::probe", tracing::Level::DEBUG));
        assert!(enabled("hyper::proto", tracing::Level::INFO) && !enabled("h2", tracing::Level::INFO));
        assert!(enabled("h2", tracing::Level::WARN));
    }

    #[test]
    fn lines_go_to_the_file_and_after_a_reopen_to_the_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("own.log"), folder.path().join("own.log.1"));
        let output = Output::open(Some(&path)).expect("a file");
        let (jobs, queue) = sync_channel(QUEUE);
        std::fs::rename(&path, &old).expect("renamed");
        for job in [Job::Line(b"one\n".to_vec()), Job::Reopen, Job::Line(b"two\n".to_vec()), Job::End] {
            jobs.send(job).expect("room");
        }
        output.run(&queue);
        let text = |path| std::fs::read_to_string(path).expect("readable");
        assert_eq!((text(&old), text(&path)), ("one\n".to_owned(), "two\n".to_owned()));
    }
}
