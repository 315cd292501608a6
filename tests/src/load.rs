//! Steady load from this process, counted exactly: for tests that must not lose one request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::message::{Bad, Response, Wire};
use crate::wait::SOON;

/// What the load has met so far.
#[derive(Default)]
pub struct Tally {
    good: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Clients in a loop, each on a kept connection, until told to stop.
pub struct Load {
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// `clients` that GET `path` and expect 200. A connection that the peer closes *between* requests, after
    /// `Connection: close` or silently, is opened anew: HTTP allows that, and a request sent into such a close was not
    /// processed. Everything else is a failure.
    pub fn start(address: SocketAddr, path: &str, clients: usize) -> Self {
        Self::with(address, path, clients, Manner::Kept)
    }

    /// The same where somebody must listen all the time: a refused connection is a failure.
    pub fn unbroken(address: SocketAddr, path: &str, clients: usize) -> Self {
        Self::with(address, path, clients, Manner::Unbroken)
    }

    /// The same with a connection for each request.
    pub fn fresh(address: SocketAddr, path: &str, clients: usize) -> Self {
        Self::with(address, path, clients, Manner::Fresh)
    }

    fn with(address: SocketAddr, path: &str, clients: usize, manner: Manner) -> Self {
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let threads = (0..clients).map(|_| {
            let (tally, stop, ask) = (tally.clone(), stop.clone(), ask.clone());
            std::thread::spawn(move || run(address, ask.as_bytes(), manner, &tally, &stop))
        });
        Self { threads: threads.collect(), tally, stop }
    }

    /// Good responses so far.
    pub fn good(&self) -> u64 {
        self.tally.good.load(Ordering::SeqCst)
    }

    /// Waits until `n` more good responses have come.
    #[track_caller]
    pub fn progress(&self, n: u64) {
        let goal = self.good() + n;
        crate::wait::until_within(Duration::from_secs(30), "the load goes on", || self.good() >= goal);
    }

    /// Failures so far.
    pub fn failures(&self) -> Vec<String> {
        self.tally.failures.lock().expect("tally").clone()
    }

    /// Stops, and gives the good responses and the failures.
    pub fn stop(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a load thread");
        }
        (self.good(), self.failures())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// What the load does with its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Kept,
    Unbroken,
    Fresh,
}

enum Step {
    /// The connection serves on.
    Kept,
    /// It ended in order; the next request needs another.
    Ended,
    /// The listener is gone.
    Gone,
    Failed(String),
}

fn run(address: SocketAddr, ask: &[u8], manner: Manner, tally: &Tally, stop: &AtomicBool) {
    let mut wire = None;
    let mut fresh = true;
    while !stop.load(Ordering::SeqCst) {
        let (connection, step) = one(address, ask, wire.take(), fresh, tally);
        match step {
            Step::Kept if manner == Manner::Fresh => drop(connection),
            Step::Kept => (wire, fresh) = (connection, false),
            Step::Ended => fresh = true,
            Step::Gone if manner == Manner::Kept => return,
            Step::Gone => {
                tally.failures.lock().expect("tally").push("refused".to_owned());
                return;
            }
            Step::Failed(what) => {
                tally.failures.lock().expect("tally").push(what);
                return;
            }
        }
    }
}

type Connection = Option<Wire<std::net::TcpStream>>;

fn one(address: SocketAddr, ask: &[u8], wire: Connection, fresh: bool, tally: &Tally) -> (Connection, Step) {
    use std::io::Write;
    let mut wire = match wire.map_or_else(|| connect(address), Ok) {
        Ok(wire) => wire,
        // A closed listener refuses: whoever stops the proxy decides whether that is right.
        Err(_) => return (None, Step::Gone),
    };
    if wire.stream().write_all(ask).is_err() {
        return (None, if fresh { Step::Failed("reset before the request".into()) } else { Step::Ended });
    }
    match wire.response("GET") {
        Ok(response) => (Some(wire), judge(&response, tally)),
        // Not one octet of an answer on a kept connection: closed while idle, the request was not taken.
        Err(Bad::Ended) if !fresh => (None, Step::Ended),
        Err(Bad::Io(e)) if !fresh && e.kind() == std::io::ErrorKind::ConnectionReset => (None, Step::Ended),
        Err(bad) => (None, Step::Failed(format!("{bad:?}"))),
    }
}

fn judge(response: &Response, tally: &Tally) -> Step {
    if response.status != 200 {
        return Step::Failed(format!("status {}: {}", response.status, response.text()));
    }
    tally.good.fetch_add(1, Ordering::SeqCst);
    if response.fields.names("connection", "close") { Step::Ended } else { Step::Kept }
}

fn connect(address: SocketAddr) -> std::io::Result<Wire<std::net::TcpStream>> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(Wire::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Origin, answer, ok};

    #[test]
    fn counts_good_responses_and_reopens_closed_connections() {
        let origin = Origin::scripted(|mut conn, _| {
            conn.request();
            conn.send(answer(200, &[("Connection", "close")], "x"));
            conn.close();
        });
        let load = Load::start(origin.address(), "/", 2);
        load.progress(20);
        let (good, failures) = load.stop();
        assert!(good >= 20 && failures.is_empty(), "{failures:?}");
    }

    #[test]
    fn a_cut_response_is_a_failure() {
        let origin = Origin::scripted(|mut conn, _| {
            conn.request();
            conn.send(&ok("four")[..20]);
            conn.close();
        });
        let load = Load::start(origin.address(), "/", 1);
        crate::wait::until("a failure", || !load.failures().is_empty());
    }
}
