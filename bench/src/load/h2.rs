//! One HTTP/2 connection of the generator: so many streams at once, each sending requests one after the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;

use super::Plan;
use super::connection::Received;
use super::pace::Pace;
use super::report::{Failure, Tally};
use crate::stream::{Adapter, Stream};

/// Windows that never stand in the way: what is measured is the server.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// What became of a request.
enum Outcome {
    Answered(Received),
    Failed(Failure),
    /// The server takes no more on this connection: the request goes out again on the next.
    Unsent,
}

/// Sends requests until the pace has no more, on one connection after the other.
pub(super) async fn drive(plan: Rc<Plan>, pace: Rc<Pace>, tally: Rc<RefCell<Tally>>) {
    // Requests that were due on a connection that ended before it took them.
    let unsent = Rc::new(RefCell::new(Vec::new()));
    loop {
        let again = unsent.borrow_mut().pop();
        let Some(first) = again.or_else(|| pace.next(Instant::now())) else { return };
        let client = match open(&plan).await {
            Ok(client) => client,
            Err(failure) => {
                tally.borrow_mut().failure(failure);
                continue;
            }
        };
        unsent.borrow_mut().push(first);
        let streams: Vec<_> = (0..plan.streams)
            .map(|_| {
                let (plan, pace, tally) = (plan.clone(), pace.clone(), tally.clone());
                glommio::spawn_local(stream(plan, pace, tally, client.clone(), unsent.clone()))
            })
            .collect();
        for stream in streams {
            stream.await;
        }
    }
}

async fn open(plan: &Plan) -> Result<SendRequest<Bytes>, Failure> {
    let stream = Stream::open(plan.url.address, plan.tls.as_ref()).await?;
    if plan.tls.is_some() && !stream.speaks_h2() {
        return Err(Failure::Handshake);
    }
    let mut builder = Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (client, connection) = builder.handshake(Adapter(stream)).await.map_err(|e| failure(&e))?;
    // How it ends is told to its streams.
    glommio::spawn_local(async move { drop(connection.await) }).detach();
    Ok(client)
}

/// One request after the other, until the pace or the connection ends.
async fn stream(
    plan: Rc<Plan>,
    pace: Rc<Pace>,
    tally: Rc<RefCell<Tally>>,
    client: SendRequest<Bytes>,
    unsent: Rc<RefCell<Vec<Instant>>>,
) {
    let mut now = Instant::now();
    loop {
        let again = unsent.borrow_mut().pop();
        let Some(due) = again.or_else(|| pace.next(now)) else { return };
        if let Some(early) = due.checked_duration_since(now).filter(|early| !early.is_zero()) {
            glommio::timer::sleep(early).await;
        }
        let outcome = match client.clone().ready().await {
            Ok(ready) => exchange(&plan, ready).await,
            Err(e) => outcome(&e),
        };
        now = Instant::now();
        match outcome {
            Outcome::Answered(received) => tally.borrow_mut().response(&received, now - due),
            Outcome::Failed(failure) => {
                tally.borrow_mut().failure(failure);
                return;
            }
            Outcome::Unsent => {
                unsent.borrow_mut().push(due);
                return;
            }
        }
    }
}

async fn exchange(plan: &Plan, client: SendRequest<Bytes>) -> Outcome {
    match answer(plan, client).await {
        Ok(received) => Outcome::Answered(received),
        Err(e) => outcome(&e),
    }
}

async fn answer(plan: &Plan, mut client: SendRequest<Bytes>) -> Result<Received, h2::Error> {
    let mut request = Request::builder().method(plan.method).uri(plan.uri.as_str());
    for (name, value) in &plan.fields {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (response, mut body) = client.send_request(request, plan.body.is_empty())?;
    if !plan.body.is_empty() {
        // The windows may let it go in pieces; h2 keeps the rest.
        body.send_data(plan.body.clone(), true)?;
    }
    let response = response.await?;
    let status = response.status().as_u16();
    let (mut body, mut octets) = (response.into_body(), 0);
    while let Some(data) = body.data().await {
        let data = data?;
        octets += data.len() as u64;
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(Received { status, octets })
}

fn outcome(e: &h2::Error) -> Outcome {
    let is_refused = e.reason() == Some(h2::Reason::REFUSED_STREAM);
    let is_over = e.is_go_away() && e.reason() == Some(h2::Reason::NO_ERROR);
    if is_refused || is_over { Outcome::Unsent } else { Outcome::Failed(failure(e)) }
}

fn failure(e: &h2::Error) -> Failure {
    match e {
        e if e.is_reset() || e.is_go_away() && e.is_remote() => Failure::Reset,
        e if e.is_io() => Failure::Read,
        _ => Failure::Malformed,
    }
}
