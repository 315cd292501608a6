//! The heads of a server's answer: interim ones, then the final one.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;

use super::{Ended, Payload};
use crate::http::h2::read_outgoing;

/// Where an answer's content goes, and how long it is, if that was said.
pub(super) type Begun = (SendStream<Payload>, Option<u64>);

/// An answer whose final head is still to come.
pub(super) struct Reply {
    respond: SendResponse<Payload>,
    /// It answers a HEAD.
    bodiless: bool,
}

impl Reply {
    pub(super) fn new(respond: SendResponse<Payload>, bodiless: bool) -> Self {
        Self { respond, bodiless }
    }

    /// Sends what heads `octets` hold. Once the final one has gone: where its content goes, and how long that is. It ends
    /// where there is none, unless it is `held`.
    pub(super) fn head(&mut self, octets: Vec<u8>, held: bool) -> Result<Option<Begun>, Ended> {
        let mut octets = Bytes::from(octets);
        while !octets.is_empty() {
            let out = read_outgoing(&octets, self.bodiless).map_err(|_| Ended::Lost)?;
            if !out.head.status().is_informational() {
                let sent = self.respond.send_response(out.head, out.content == Some(0) && !held);
                return sent.map(|stream| Some((stream, out.content))).map_err(|error| Ended::of(&error));
            }
            self.respond.send_informational(out.head).map_err(|error| Ended::of(&error))?;
            octets = octets.split_off(out.used);
        }
        Ok(None)
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<h2::Reason, h2::Error>> {
        self.respond.poll_reset(cx)
    }

    pub(super) fn reset(&mut self, code: h2::Reason) {
        self.respond.send_reset(code);
    }
}
