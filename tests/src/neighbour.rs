//! A well-behaved client beside an attack: requests at a steady rate, each timed from when it should have left, so that
//! a stall hides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::exchange::bytes;

/// Between two requests.
const PACE: Duration = Duration::from_millis(4);

/// The client at work.
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Service>,
}

/// How it was served.
#[derive(Debug, Default)]
pub struct Service {
    latencies: Vec<Duration>,
    /// What went wrong, if anything did.
    pub failures: Vec<String>,
}

impl Neighbour {
    /// GETs a path until told to stop, on one kept connection.
    pub fn start(address: SocketAddr, path: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, ask) = (stop.clone(), bytes("GET", path, &[], b""));
        let thread = std::thread::spawn(move || serve(address, &ask, &stopped));
        Self { stop, thread }
    }

    /// Stops it, and says how it was served.
    pub fn stop(self) -> Service {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the neighbour")
    }
}

impl Service {
    /// How many requests were answered.
    pub fn answered(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that 99 of 100 requests stayed under.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
    }
}

fn serve(address: SocketAddr, ask: &[u8], stop: &AtomicBool) -> Service {
    let (mut service, start) = (Service::default(), Instant::now());
    let mut client = Client::connect(address);
    for number in 0u32.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let due = start + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let outcome = client.try_write(ask).map_err(|e| e.to_string());
        match outcome.and_then(|()| client.try_response("GET").map_err(|bad| format!("{bad:?}"))) {
            Ok(response) if response.status == 200 => service.latencies.push(due.elapsed()),
            Ok(response) => service.failures.push(format!("{}: {}", response.status, response.text())),
            Err(failure) => {
                service.failures.push(failure);
                client = Client::connect(address);
            }
        }
    }
    service
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Origin, ok};

    #[test]
    fn a_stall_is_counted_against_every_request_that_it_delays() {
        let origin = Origin::scripted(|mut conn, _| {
            while conn.request().is_some() {
                std::thread::sleep(PACE * 10);
                conn.send(ok("late"));
            }
        });
        let neighbour = Neighbour::start(origin.address(), "/");
        origin.wait_requests(20);
        let service = neighbour.stop();
        assert!(service.answered() >= 19 && service.p99() > PACE * 100, "{:?}", service.p99());
        assert!(service.failures.is_empty());
    }
}
