//! One request of a connection: its head spelled as HTTP/1 has it, judged by the one parser, and then the one path.

use std::rc::Rc;

use ::http::Request;
use ::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;

use super::super::head::{Arrived, HeadBytes};
use super::super::{answer, head_limits, one, plan_of};
use super::shared::{Entered, Shared};
use crate::base::{Fault, Reason};
use crate::http::h2::write_incoming;
use crate::http::{Head, HeadLimits, parse_request};
use crate::listen::Client;
use crate::ring::{self, spare_vec};
use crate::wire::{Payload, Stream, Wire};

/// Starts a task for it.
pub(super) fn begin(shared: &Rc<Shared>, request: Request<RecvStream>, respond: SendResponse<Payload>) {
    let (parts, content) = request.into_parts();
    let ends = content.is_end_stream();
    let stream = Stream::of_server(content, respond, parts.method == ::http::Method::HEAD);
    let client = Client::of_stream(&shared.client, Wire::Stream(Box::new(stream)));
    let entered = shared.enter(client.clone());
    ring::spawn(run(shared.clone(), entered, client, parts, ends));
}

async fn run(shared: Rc<Shared>, entered: Entered, client: Rc<Client>, parts: Parts, ends: bool) {
    let worker = &*shared.worker;
    let current = worker.current_of(&client.listener);
    if let Some(listener) = plan_of(&current, &client) {
        let limits = head_limits(&current, listener);
        let mut scratch = shared.scratch();
        let mut bytes = spare_vec();
        let read = {
            let key = STANDARD.encode(worker.random.borrow_mut().u128(..).to_ne_bytes());
            read(parts, ends, &key, &limits, &mut bytes, &mut scratch.head)
        };
        // Who has left before anything was done for it gets nothing done.
        let gone = client.socket.stream().is_some_and(Stream::has_failed);
        match read.and_then(|()| if gone { Err(Fault::new(Reason::ClientCancelled)) } else { Ok(()) }) {
            Ok(()) => {
                let arrived = Arrived { bytes: HeadBytes::Gathered(bytes), first_octet: ring::now() };
                one(worker, &client, &current, listener, arrived, limits.underscore, &mut scratch).await;
            }
            Err(fault) => {
                answer::bad_head(worker, &client, &current, listener, fault, &bytes, &scratch.head).await;
            }
        }
        shared.give_back(scratch);
    }
    drop(client);
    drop(entered);
}

/// Reads a head as the codec has it.
fn read(
    mut parts: Parts,
    ends: bool,
    key: &str,
    limits: &HeadLimits,
    bytes: &mut Vec<u8>,
    head: &mut Head,
) -> Result<(), Fault> {
    head.clear();
    let protocol = parts.extensions.remove::<Protocol>();
    let protocol = protocol.as_ref().map(Protocol::as_str);
    let incoming = write_incoming(&mut parts, protocol, key, limits, bytes)?;
    let parsed = parse_request(bytes, limits, head);
    head.carry(incoming, ends);
    if parsed?.is_none() {
        return Err(Fault::new(Reason::HeadersTooLarge));
    }
    // RFC 8441 section 5, RFC 6455 section 4.1: what an offer lacks cannot be made up for.
    if incoming.extended && crate::http::Request::new(head, bytes).websocket().is_none() {
        return Err(Fault::new(Reason::ProtocolUnsupported));
    }
    Ok(())
}
