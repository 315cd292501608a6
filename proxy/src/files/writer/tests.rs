//! The writer on real files, pipes and full disks.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::*;
use crate::base::Instant;
use crate::files::LogHandle;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn settings(path: PathBuf) -> LogSettings {
    LogSettings { name: "main".to_owned(), output: Output::File(path), buffer: 0, flush: Duration::from_secs(1) }
}

/// Writes everything and ends the thread.
fn finish(writer: Writer, log: Log, handles: Vec<LogHandle>) {
    drop((log, handles));
    assert!(writer.finish(Duration::from_secs(20)), "the writer did not end");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a log is text")
}

fn drops(log: &Log) -> [u64; 3] {
    let drops = log.drops();
    [&drops.full, &drops.io, &drops.oversize].map(|cell| cell.load(Relaxed))
}

#[test]
fn lines_of_all_workers_reach_the_file_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings(path.clone())).expect("a log");
    let workers = (0..4).map(|worker| {
        let mut handle = log.handle();
        thread::spawn(move || {
            (0..2_000).for_each(|n| handle.line(NOW, |out| out.extend_from_slice(format!("{worker} {n}").as_bytes())));
            handle
        })
    });
    let handles: Vec<_> = workers.collect::<Vec<_>>().into_iter().map(|w| w.join().expect("no panic")).collect();
    let dropped = log.drops().full.load(Relaxed);
    let log_drops = drops(&log);
    finish(writer, log, handles);
    let text = text(&path);
    assert_eq!(text.lines().count() as u64 + dropped, 8_000);
    assert_eq!(&log_drops[1..], [0, 0]);
    let is_whole = |line: &str| {
        line.split_once(' ').is_some_and(|(worker, n)| worker.len() == 1 && n.parse::<u32>().is_ok_and(|n| n < 2_000))
    };
    assert!(text.ends_with('\n') && text.lines().all(is_whole));
}

#[test]
fn a_line_waits_no_longer_than_the_flush_interval() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings(path.clone())).expect("a log");
    let mut handle = log.handle();
    handle.line(NOW, |out| out.extend_from_slice(b"one"));
    handle.tick(NOW + Duration::from_millis(999));
    assert_eq!(text(&path), "");
    handle.tick(NOW + Duration::from_secs(1));
    // The thread writes what it was handed and ends, though a worker still holds the log.
    finish(writer, log, vec![]);
    drop(handle);
    assert_eq!(text(&path), "one\n");
}

#[test]
fn a_line_that_is_too_long_is_dropped_whole_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings(path.clone())).expect("a log");
    let mut handle = log.handle();
    handle.line(NOW, |out| out.extend_from_slice(b"short"));
    handle.line(NOW, |out| out.resize(out.len() + LINE_MAX + 1, b'x'));
    handle.line(NOW, |out| out.resize(out.len() + LINE_MAX, b'y'));
    assert_eq!(drops(&log), [0, 0, 1]);
    finish(writer, log, vec![handle]);
    assert_eq!(text(&path), format!("short\n{}\n", "y".repeat(LINE_MAX)));
}

#[test]
fn without_a_free_buffer_lines_are_dropped_and_counted() {
    let (jobs, mut queue) = mpsc::channel(8);
    let log = Log::new(settings(PathBuf::new()), Arc::default(), jobs);
    let mut handle = log.handle();
    for _ in 0..5 {
        handle.line(NOW, |out| out.extend_from_slice(b"line"));
        handle.flush();
    }
    assert_eq!(drops(&log), [3, 0, 0]);
    // A buffer that comes home is used again.
    let Ok(Job::Write { mut buffer, home }) = queue.try_recv() else { panic!("two buffers were handed over") };
    buffer.clear();
    let _ = home.push(buffer);
    handle.line(NOW, |out| out.extend_from_slice(b"line"));
    assert_eq!(drops(&log), [3, 0, 0]);
}

#[test]
fn lines_handed_over_before_a_reopen_go_to_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings(path.clone())).expect("a log");
    let mut handle = log.handle();
    handle.line(NOW, |out| out.extend_from_slice(b"before"));
    handle.flush();
    fs::rename(&path, &rotated).expect("renamed");
    assert!(log.reopen());
    handle.line(NOW, |out| out.extend_from_slice(b"after"));
    finish(writer, log, vec![handle]);
    assert_eq!((text(&rotated), text(&path)), ("before\n".to_owned(), "after\n".to_owned()));
}

#[test]
fn a_failed_reopen_keeps_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, moved) = (folder.path().join("logs/access.log"), folder.path().join("old"));
    fs::create_dir(folder.path().join("logs")).expect("a folder");
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings(path)).expect("a log");
    let mut handle = log.handle();
    fs::rename(folder.path().join("logs"), &moved).expect("renamed");
    assert!(log.reopen());
    handle.line(NOW, |out| out.extend_from_slice(b"kept"));
    finish(writer, log, vec![handle]);
    assert_eq!(text(&moved.join("access.log")), "kept\n");
}

#[test]
fn a_full_disk_drops_and_counts_lines_and_ends_nothing() {
    let writer = Writer::start().expect("a thread");
    let log = writer.open(settings("/dev/full".into())).expect("a log");
    let seen = log.clone();
    let mut handle = log.handle();
    for _ in 0..3 {
        handle.line(NOW, |out| out.extend_from_slice(b"lost"));
    }
    handle.flush();
    drop((log, handle));
    // The clone keeps the log open; its writer is known to be done once the drops are counted.
    let drops_seen = || drops(&seen)[1];
    let started = std::time::Instant::now();
    while drops_seen() < 3 && started.elapsed() < Duration::from_secs(20) {
        thread::yield_now();
    }
    assert_eq!(drops_seen(), 3);
    drop(seen);
    assert!(writer.finish(Duration::from_secs(20)));
}

#[test]
fn a_log_that_stalls_holds_up_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    // Open both ends, so that the writer's open does not wait and its writes do, once the pipe is full.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a pipe");
    let path = folder.path().join("access.log");
    let writer = Writer::start().expect("a thread");
    let stalled = writer.open(settings(fifo)).expect("a log");
    let mut stalled_handle = stalled.handle();
    for _ in 0..64 {
        stalled_handle.line(NOW, |out| out.resize(out.len() + LINE_MAX - 1, b'x'));
    }
    let log = writer.open(settings(path.clone())).expect("a log");
    let mut handle = log.handle();
    handle.line(NOW, |out| out.extend_from_slice(b"served"));
    handle.flush();
    let started = std::time::Instant::now();
    while text(&path).is_empty() && started.elapsed() < Duration::from_secs(20) {
        thread::yield_now();
    }
    assert_eq!(text(&path), "served\n");
    assert!(drops(&stalled)[0] > 0);
    let drain = thread::spawn(move || {
        let mut reader = reader;
        let mut sink = [0; 65_536];
        while io::Read::read(&mut reader, &mut sink).is_ok_and(|n| n > 0) {}
    });
    drop((stalled, stalled_handle));
    finish(writer, log, vec![handle]);
    drop(drain);
}
