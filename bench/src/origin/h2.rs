//! The origin over HTTP/2: the same answers, on as many streams as come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};

use super::{BLOCK, size_of};
use crate::stream::{Adapter, Stream};

/// Windows that never stand in the way of uploads.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Bodies by their size, made once.
#[derive(Default)]
pub(super) struct Bodies(RefCell<HashMap<u64, Bytes>>);

impl Bodies {
    fn body(&self, size: u64) -> Bytes {
        let mut bodies = self.0.borrow_mut();
        // Clients choose the size: what they can make us keep is bounded.
        if bodies.len() > 64 {
            bodies.clear();
        }
        bodies.entry(size).or_insert_with(|| (0..size).map(|at| b'a' + (at % 26) as u8).collect()).clone()
    }
}

/// Serves one connection to its end.
pub(super) async fn connection(stream: Stream, bodies: &Rc<Bodies>) -> Result<(), h2::Error> {
    let mut builder = Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    builder.max_concurrent_streams(10_000).max_send_buffer_size(4 << 20);
    let mut connection = builder.handshake::<_, Bytes>(Adapter(stream)).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        let bodies = bodies.clone();
        // A stream that is reset ends its own task, and nothing else.
        glommio::spawn_local(async move { drop(exchange(request, respond, &bodies).await) }).detach();
    }
    Ok(())
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    bodies: &Bodies,
) -> Result<(), h2::Error> {
    let size = size_of(request.uri().path());
    let mut upload = request.into_body();
    while let Some(data) = upload.data().await {
        upload.flow_control().release_capacity(data?.len())?;
    }
    let response = Response::builder().header("content-type", "text/plain").header("content-length", size);
    let response = response.body(()).map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let mut send = respond.send_response(response, size == 0)?;
    let mut left = size;
    while left > 0 {
        let length = left.min(BLOCK as u64);
        left -= length;
        let block = bodies.body(length);
        paced(&mut send, block, left == 0).await?;
    }
    Ok(())
}

/// Sends a block; what the windows do not let through yet is waited for, so that one block a stream is held at most.
async fn paced(send: &mut SendStream<Bytes>, mut block: Bytes, end: bool) -> Result<(), h2::Error> {
    while !block.is_empty() {
        send.reserve_capacity(block.len());
        if send.capacity() == 0 {
            match poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(capacity) => drop(capacity?),
                None => return Err(h2::Reason::CANCEL.into()),
            }
        }
        let part = block.split_to(send.capacity().min(block.len()));
        send.send_data(part, end && block.is_empty())?;
    }
    Ok(())
}
