//! Sockets of the management API, and the limits of its connections.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::answer::{Lane, Refusal, frame};
use super::{State, all_resources, open_resources};
use crate::control::upgrade::{Phase, given};
use crate::control::{Settings, StartError};

/// A request's head.
const HEAD_MAX: usize = 16 * 1024;
/// A request's fields.
const FIELDS_MAX: usize = 100;
/// From a connection, or its last answer, to a whole head.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Connections of one listener.
const CONNECTIONS_MAX: usize = 128;
/// Those among them that only [`super::is_reserved`] resources are answered on.
const RESERVED: usize = 16;
/// Wait after a failed accept: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bound sockets that are not served yet.
pub(in crate::control) struct Listeners {
    management: Vec<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds every address, but for those whose socket is given. Runs within the runtime.
    pub(in crate::control) fn bind(settings: &Settings, mut given: Vec<Bound>) -> Result<Self, StartError> {
        if let Some(&open) = settings.management.iter().find(|address| !address.ip().is_loopback()) {
            return Err(StartError::NotLoopback(open));
        }
        let mut bound = |&address: &SocketAddr| {
            let place = given.iter().position(|(asked, _)| *asked == address);
            let given = place.map(|place| given.swap_remove(place).1);
            listen(address, given).map_err(|error| StartError::Bind(address, error))
        };
        Ok(Self {
            management: settings.management.iter().map(&mut bound).collect::<Result<_, _>>()?,
            metrics: settings.metrics.as_ref().map(bound).transpose()?,
        })
    }

    /// Duplicates for another process, by the addresses that the document has; without descriptors, none.
    pub(in crate::control) fn share(&self, settings: &Settings) -> (Vec<Bound>, Option<Bound>) {
        let share = |(address, listener): (&SocketAddr, &TcpListener)| {
            Some((*address, listener.as_fd().try_clone_to_owned().ok()?))
        };
        let management = settings.management.iter().zip(&self.management).filter_map(share).collect();
        (management, settings.metrics.as_ref().zip(self.metrics.as_ref()).and_then(share))
    }

    /// Where the API and the metrics alone are bound.
    pub(in crate::control) fn addresses(&self) -> (Vec<SocketAddr>, Option<SocketAddr>) {
        let address = |listener: &TcpListener| listener.local_addr().ok();
        (self.management.iter().filter_map(address).collect(), self.metrics.as_ref().and_then(address))
    }

    /// Answers on every socket until the runtime ends, or another process does.
    pub(in crate::control) fn serve(self, state: Arc<State>, phase: &watch::Receiver<Phase>) {
        let spawn = |accepts: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let mut phase = phase.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = accepts => {}
                    () = given(&mut phase) => {}
                }
            });
        };
        for listener in self.management {
            let operators = Arc::clone(&state);
            let note = move |peer: SocketAddr| operators.clients.note(peer.ip(), (operators.clock)());
            spawn(Box::pin(accept(listener, framed(all_resources(), &state), note)));
        }
        if let Some(listener) = self.metrics {
            // Whoever reaches it may read: that makes nobody an operator.
            spawn(Box::pin(accept(listener, framed(open_resources(), &state), |_| {})));
        }
    }
}

/// A listening socket, by the address that the document has.
pub(in crate::control) type Bound = (SocketAddr, OwnedFd);

fn listen(address: SocketAddr, given: Option<OwnedFd>) -> io::Result<TcpListener> {
    let listener = given.map_or_else(|| StdListener::bind(address), |given| Ok(given.into()))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Resources with what holds for all of them.
pub(super) fn framed(resources: Router<Arc<State>>, state: &Arc<State>) -> Router {
    let framing = Arc::clone(state);
    resources
        .fallback(|| async { Refusal::not_found("no such resource") })
        .layer(from_fn(move |request: Request, next: Next| frame(Arc::clone(&framing), request, next)))
        .with_state(Arc::clone(state))
}

/// `note` learns who has connected.
async fn accept(listener: TcpListener, resources: Router, note: impl Fn(SocketAddr) + Send) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                note(peer);
                let lane = Lane { reserved: slots.available_permits() < RESERVED };
                let resources = resources.clone();
                tokio::spawn(async move {
                    converse(stream, resources, lane).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "management connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection. How it ends is the client's business.
async fn converse(stream: TcpStream, resources: Router, lane: Lane) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(lane);
        let answer = TowerToHyperService::new(resources.clone()).call(request);
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
