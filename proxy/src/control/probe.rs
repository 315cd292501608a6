//! Active health checks: one task per endpoint that asks, waits, and says how it went.

mod grpc;
mod http2;
mod secure;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use self::secure::Secure;
use crate::config::value::{HealthMethod, TargetProtocol};
use crate::listen::proxy_protocol::Version;
use crate::target::health::{Check, Probe};
use crate::target::{EndpointId, Live};
use crate::tls::Outgoing;

/// Probes under way at once: each holds a descriptor.
const PROBES_MAX: usize = 256;
/// A response's head; what is longer has failed.
const HEAD_MAX: usize = 64 * 1024;
/// Fields of it.
const FIELDS_MAX: usize = 256;
/// Interim responses before the final one.
const INTERIM_MAX: usize = 8;

/// How a probe went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProbeResult {
    /// Which endpoint.
    pub(super) endpoint: EndpointId,
    /// Whether it passed.
    pub(super) passed: bool,
    /// In a word or two: `passed`, `status 503`, `connection refused`, `timeout`.
    pub(super) cause: Box<str>,
}

/// Probes by their result.
#[derive(Default, Debug)]
pub(super) struct Counts {
    /// Passed.
    pub(super) passed: AtomicU64,
    /// Failed.
    pub(super) failed: AtomicU64,
}

/// What one endpoint's task probes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Subject {
    address: SocketAddr,
    authority: Box<str>,
    protocol: TargetProtocol,
    announces: Option<Version>,
    tls: Option<Arc<Outgoing>>,
    check: Arc<Check>,
}

/// All probes of this node. Its tasks end with it.
pub(super) struct Prober {
    results: mpsc::Sender<ProbeResult>,
    slots: Arc<Semaphore>,
    counts: Arc<Counts>,
    tasks: HashMap<EndpointId, (Subject, AbortHandle)>,
}

impl Prober {
    pub(super) fn new(results: mpsc::Sender<ProbeResult>) -> Self {
        let slots = Arc::new(Semaphore::new(PROBES_MAX));
        Self { results, slots, counts: Arc::default(), tasks: HashMap::new() }
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Probes exactly the endpoints of this table from now on. Those that stay as they are keep their rhythm.
    pub(super) fn follow(&mut self, live: &Live) {
        let mut wanted = subjects(live);
        self.tasks.retain(|id, (subject, task)| {
            let stays = wanted.get(id) == Some(subject);
            if stays {
                wanted.remove(id);
            } else {
                task.abort();
            }
            stays
        });
        for (id, subject) in wanted {
            let task = tokio::spawn(probe_for_ever(
                id,
                subject.clone(),
                self.results.clone(),
                Arc::clone(&self.slots),
                Arc::clone(&self.counts),
            ));
            self.tasks.insert(id, (subject, task.abort_handle()));
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.tasks.values().for_each(|(_, task)| task.abort());
    }
}

/// The endpoints that are to be probed: of enabled targets with a check, and an address.
fn subjects(live: &Live) -> HashMap<EndpointId, Subject> {
    let probed = live.endpoints().filter_map(|(place, endpoint)| {
        let target = &live.route(place.slot)?.groups().targets[place.target];
        let check = target.health.clone().filter(|_| target.enabled)?;
        let mut address = endpoint.address?;
        address.set_port(check.port.unwrap_or(address.port()));
        let origin = target.origin()?;
        let (authority, tls) = (origin.authority.clone(), origin.tls.clone());
        let (protocol, announces) = (target.protocol, target.announces);
        Some((endpoint.cells.id(), Subject { address, authority, protocol, announces, tls, check }))
    });
    probed.collect()
}

async fn probe_for_ever(
    endpoint: EndpointId,
    subject: Subject,
    results: mpsc::Sender<ProbeResult>,
    slots: Arc<Semaphore>,
    counts: Arc<Counts>,
) {
    tokio::time::sleep(subject.check.first_pause(fastrand::u64(..))).await;
    loop {
        let Ok(slot) = slots.acquire().await else { return };
        let result = probe(&subject).await;
        drop(slot);
        let passed = result.is_ok();
        let cell = if passed { &counts.passed } else { &counts.failed };
        cell.fetch_add(1, Ordering::Relaxed);
        let cause = result.err().unwrap_or_else(|| "passed".to_owned()).into();
        if results.send(ProbeResult { endpoint, passed, cause }).await.is_err() {
            return;
        }
        tokio::time::sleep(subject.check.pause(fastrand::u64(..))).await;
    }
}

/// One probe; why it failed.
async fn probe(subject: &Subject) -> Result<(), String> {
    match tokio::time::timeout(subject.check.timeout, ask(subject)).await {
        Err(_) => Err("timeout".to_owned()),
        Ok(Err(error)) => Err(spoken(&error)),
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(status))) if subject.check.passes(status) => Ok(()),
        Ok(Ok(Some(status))) => Err(format!("status {status}")),
    }
}

/// The same failure in the same few words, whatever the platform says of it.
fn spoken(error: &io::Error) -> String {
    if let Some(unwell) = error.get_ref().and_then(|inner| inner.downcast_ref::<grpc::Unwell>()) {
        return unwell.to_string();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => return "certificate not valid".to_owned(),
        Some(_) => return "TLS handshake failed".to_owned(),
        None => {}
    }
    match error.kind() {
        io::ErrorKind::InvalidData => "bad response".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed".to_owned(),
        kind => kind.to_string(),
    }
}

/// Connects, by TLS where that is spoken, and asks where there is something to ask; the status.
async fn ask(subject: &Subject) -> io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(subject.address).await?;
    if let Some(version) = subject.announces {
        let mut header = Vec::new();
        version.announce_own(&mut header);
        stream.write_all(&header).await?;
    }
    match (&subject.check.probe, &subject.tls) {
        (Probe::Tcp, _) => Ok(None),
        (probe, Some(outgoing)) => {
            let mut secure = Secure::connect(outgoing, stream).await?;
            let http2 = secure.is_http2();
            if !http2 && (subject.protocol == TargetProtocol::H2 || matches!(probe, Probe::Grpc { .. })) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            speak(subject, &mut secure, http2).await
        }
        (_, None) => speak(subject, &mut stream, subject.protocol == TargetProtocol::H2c).await,
    }
}

/// Asks; the status.
async fn speak(
    subject: &Subject,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    http2: bool,
) -> io::Result<Option<u16>> {
    let scheme = if subject.tls.is_some() { "https" } else { "http" };
    let (method, path, host) = match &subject.check.probe {
        Probe::Tcp => return Ok(None),
        Probe::Grpc { service, host } => {
            let host = host.as_deref().unwrap_or(&subject.authority);
            return grpc::ask(stream, &format!("{scheme}://{host}"), service).await.map(|()| None);
        }
        Probe::Http { method, path, host, .. } => (method, path, host),
    };
    let host = host.as_deref().unwrap_or(&subject.authority);
    let method = match method {
        HealthMethod::Get => "GET",
        HealthMethod::Head => "HEAD",
    };
    if http2 {
        let request = http::Request::builder().method(method).uri(format!("{scheme}://{host}{path}"));
        let request = request.header("user-agent", "weir-health").header("accept", "*/*").body(());
        return http2::ask(stream, request.map_err(|_| io::ErrorKind::InvalidInput)?).await.map(Some);
    }
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    final_status(stream).await.map(Some)
}

/// Reads heads until one is final (RFC 9110 section 15.2). The body is left to the closing connection.
async fn final_status(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
    let mut received = Vec::with_capacity(4096);
    for _ in 0..=INTERIM_MAX {
        let (status, length) = head(stream, &mut received).await?;
        if status >= 200 {
            return Ok(status);
        }
        received.drain(..length);
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads until a whole head is there; its status and length.
async fn head(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> io::Result<(u16, usize)> {
    loop {
        if let Some(parsed) = parse(received)? {
            return Ok(parsed);
        }
        if received.len() >= HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn parse(received: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|status| (status, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests;
