//! The heads of a client's stream: a request's on its way out, its response's on their way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};

use super::{Ended, Payload};
use crate::http::h2::{Asked, read_asked, write_response, write_switching};
use crate::http::websocket_accept;

/// A request whose head is still to come.
pub(super) struct Ask {
    sender: SendRequest<Payload>,
    secure: bool,
    /// Stands in for a Host that is empty.
    authority: Box<str>,
}

/// A request that has left.
pub(super) struct Sent {
    pub(super) stream: SendStream<Payload>,
    /// Octets of content that follow; `None`: until the stream's end.
    pub(super) content: Option<u64>,
    pub(super) answer: Answer,
}

/// A response whose final head is still to come.
pub(super) struct Answer {
    response: ResponseFuture,
    /// The proof that an upgrade asks for, whose place an extended CONNECT has taken.
    accept: Option<[u8; 28]>,
    /// No interim response can come any more.
    interim_over: bool,
}

/// A response's head as HTTP/1 spells it.
pub(super) enum Head {
    /// Another follows.
    Interim(Vec<u8>),
    /// Content follows.
    Final(Vec<u8>, RecvStream),
}

impl Ask {
    pub(super) fn new(sender: SendRequest<Payload>, secure: bool, authority: &str) -> Self {
        Self { sender, secure, authority: authority.into() }
    }

    /// Sends the head.
    pub(super) fn head(&mut self, octets: Vec<u8>) -> Result<Sent, Ended> {
        let Asked { request, content, key } =
            read_asked(octets, self.secure, &self.authority).map_err(|_| Ended::Unsendable)?;
        let accept = key.map(|key| websocket_accept(&key));
        // That it is refused here says that the connection takes no more: nothing has left.
        let sent = self.sender.send_request(request, content == Some(0)).map_err(|_| Ended::Refused)?;
        let (response, stream) = sent;
        Ok(Sent { stream, content, answer: Answer { response, accept, interim_over: false } })
    }
}

impl Answer {
    /// The next head.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
        let mut octets = Vec::new();
        if !self.interim_over {
            if let Some(interim) = ready!(self.response.poll_informational(cx)?) {
                write_response(&mut octets, interim.status().as_u16(), interim.headers());
                return Poll::Ready(Ok(Head::Interim(octets)));
            }
            self.interim_over = true;
        }
        let (head, content) = ready!(Pin::new(&mut self.response).poll(cx))?.into_parts();
        match self.accept.filter(|_| head.status.is_success()) {
            Some(accept) => write_switching(&mut octets, &head.headers, &accept),
            None => write_response(&mut octets, head.status.as_u16(), &head.headers),
        }
        Poll::Ready(Ok(Head::Final(octets, content)))
    }
}
