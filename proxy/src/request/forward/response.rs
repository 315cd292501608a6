//! From an upstream's response head to the client's: interim responses, upgrades, pages in its place, its body.

use std::pin::pin;
use std::time::Duration;

use super::super::beside::Beside;
use super::super::coding::Coded;
use super::super::record::Record;
use super::super::relay::{Download, Ended, is_chunked};
use super::super::upload::Progress;
use super::attempt::Attempt;
use crate::base::{Fault, Reason};
use crate::buf::{Chunk, SendBuf, spare_vec};
use crate::http::{
    BodyLength, BodyReader, Connection, Edits, Known, Method, Response, ResponseHead, ResponseOut, Version,
    client_body, parse_response, write_continue, write_interim,
};
use crate::respond::{Wanted, render};
use crate::ring;
use crate::target::Stick;
use crate::transport::Upstream;

/// The longest response head.
const HEAD_MAX: usize = 64 * 1024;

/// Fields that describe a body which is not sent.
const OF_A_BODY: [&[u8]; 12] = [
    b"Content-Type",
    b"Content-Encoding",
    b"Content-Language",
    b"Content-Location",
    b"Content-Disposition",
    b"Content-Range",
    b"Content-Digest",
    b"Repr-Digest",
    b"Digest",
    b"ETag",
    b"Last-Modified",
    b"Accept-Ranges",
];

/// A parsed response head's octets, and what came behind it.
pub(super) struct Arrived {
    bytes: Bytes,
    rest: Option<Chunk>,
}

enum Bytes {
    Received(Chunk),
    Gathered(Vec<u8>),
}

impl Arrived {
    /// Parses in place if the head came whole, else gathers. None: more must come.
    pub(super) fn parse(
        gathered: &mut Option<Vec<u8>>,
        mut chunk: Chunk,
        response: &mut ResponseHead,
    ) -> Result<Option<Self>, Fault> {
        let rest = |chunk: Chunk| (!chunk.is_empty()).then_some(chunk);
        let Some(bytes) = gathered else {
            let Some(used) = parse_response(&chunk, response)? else {
                *gathered = Some(chunk.to_vec());
                return Ok(None);
            };
            let head = chunk.split_to(used);
            return Ok(Some(Self { bytes: Bytes::Received(head), rest: rest(chunk) }));
        };
        let before = bytes.len();
        let room = (HEAD_MAX + 1).saturating_sub(before).min(chunk.len());
        bytes.extend_from_slice(&chunk[..room]);
        let Some(used) = parse_response(bytes, response)? else { return Ok(None) };
        bytes.truncate(used);
        chunk.advance(used - before);
        let bytes = gathered.take().unwrap_or_default();
        Ok(Some(Self { bytes: Bytes::Gathered(bytes), rest: rest(chunk) }))
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Received(chunk) => chunk,
            Bytes::Gathered(bytes) => bytes,
        }
    }
}

impl Attempt<'_, '_, '_> {
    /// Passes a 1xx on: 100 only to a client that waits for it, none to HTTP/1.0 (RFC 9110 section 15.2).
    pub(super) fn relay_interim(
        &self,
        upstream: &Upstream,
        arrived: Arrived,
        response: &ResponseHead,
        progress: &Progress,
    ) {
        let exchange = self.forward.exchange;
        let is_continue = response.status() == 100;
        if is_continue {
            progress.go();
        }
        let asked = !is_continue || (exchange.request.head.expect_continue() && !progress.continued.replace(true));
        if asked && exchange.request.version() >= Version::Http11 {
            let mut out = spare_vec();
            match is_continue {
                true => write_continue(&mut out),
                false => write_interim(&mut out, &Response::new(response, arrived.bytes())),
            }
            exchange.client.socket.begin_send(out.into());
            progress.relayed.set(true);
        }
        if let Some(rest) = arrived.rest {
            upstream.socket.unread(rest);
        }
    }

    /// Gives the client the response. `None`: the upstream connection is of no further use.
    #[expect(clippy::too_many_arguments, reason = "the scratch of a connection, lent part by part")]
    pub(super) async fn respond<F>(
        &self,
        upstream: &Upstream,
        arrived: Arrived,
        head: &ResponseHead,
        record: &mut Record,
        beside: &mut Beside<'_, F>,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<Option<Ended>, Fault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let exchange = self.forward.exchange;
        let response = Response::new(head, arrived.bytes());
        upstream.note(&response);
        exchange.heed_drain(record);
        if head.status() == 101 {
            return self.switch(upstream, &response, &arrived, record, edits, text).await.map(|()| None);
        }
        // RFC 8441 section 5: a client would take any success for the tunnel that it asked for.
        if exchange.request.head.is_extended() && matches!(head.status(), 200..=299) {
            return Err(Fault::new(Reason::UpstreamBadUpgrade));
        }
        self.edit(&response, edits, text);
        if let Some(out) = self.intercepted(&response, record, edits).await {
            exchange.send(out).await?;
            return Ok(None);
        }
        let asked = exchange.request.verb();
        let stated = head.body(asked);
        let from = upstream.framing(stated);
        let silence = self.silence(&response);
        let stream = silence.1 == Reason::TunnelIdle;
        let coded = exchange.code(&response, from, arrived.rest.as_deref(), stream, edits);
        let to = match (stated, from) {
            // Its stream ended with its head.
            (BodyLength::UntilClose, BodyLength::None) => BodyLength::Length(0),
            _ => client_body(coded.length(stated), exchange.request.version()),
        };
        if to == BodyLength::UntilClose {
            record.keep_alive = false;
            record.close_delimited = true;
        }
        if let (Some(own), Some(theirs)) = (exchange.client.socket.stream(), upstream.socket.stream())
            && !theirs.has_ended()
        {
            own.hold();
        }
        let mut octets = spare_vec();
        exchange.write_head(&mut octets, coded.head(self.out(head, &response, to, record, edits)));
        record.status = head.status();
        record.answered = true;
        let mut send = SendBuf::new();
        send.push_vec(octets);
        let reader = BodyReader::response(from);
        let trailers = exchange.request.head.takes_trailers();
        let (first, chunked, is_coded) = (arrived.rest.clone(), is_chunked(to), matches!(coded, Coded::Body(_)));
        let two_way = exchange.is_grpc();
        let download = Download { upstream, reader, first, chunked, silence, trailers, two_way, coded: is_coded };
        let main = pin!(exchange.deliver(coded, download, send, record));
        // A fault of the request's body, or the client's going away, ends the exchange.
        let ended = beside.run(main, |sent: &Result<(), Fault>| sent.err()).await??;
        Ok((from != BodyLength::UntilClose).then_some(ended))
    }

    /// An event stream, or gRPC, is silent while nothing happens: it is bounded as a tunnel is.
    fn silence(&self, response: &Response<'_>) -> (Duration, Reason) {
        let timeouts = &self.forward.exchange.rules.timeouts;
        let media = response.known(Known::ContentType).unwrap_or_default();
        let kind = media.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii_end();
        if kind.eq_ignore_ascii_case(b"text/event-stream") || self.forward.exchange.is_grpc() {
            return (timeouts.tunnel, Reason::TunnelIdle);
        }
        (timeouts.read, Reason::UpstreamBodyTimeout)
    }

    fn out<'o>(
        &'o self,
        head: &ResponseHead,
        response: &Response<'o>,
        body: BodyLength,
        record: &Record,
        edits: &'o Edits,
    ) -> ResponseOut<'o> {
        let exchange = self.forward.exchange;
        let bodiless = exchange.request.verb() == Method::Head || head.status() == 304;
        ResponseOut {
            status: head.status(),
            upstream: Some(*response),
            body,
            stated_length: head.content_length().filter(|_| bodiless),
            version: exchange.request.version(),
            connection: if record.keep_alive { Connection::KeepAlive } else { Connection::Close },
            date: &[],
            request_id: exchange.id_header(),
            edits,
        }
    }

    /// The route's edits of the response, and its sticky cookie.
    fn edit(&self, response: &Response<'_>, edits: &mut Edits, text: &mut Vec<u8>) {
        let route = self.forward.decided.route;
        edits.clear();
        if !route.response_headers.is_empty() {
            let has = |name: &[u8]| response.fields().any(|(field, _)| field.eq_ignore_ascii_case(name));
            let mut value = Vec::new();
            route.response_headers.apply(&self.forward.exchange.facts(route), has, &mut value, edits);
        }
        if self.picked.stick == Stick::Set {
            self.set_cookie(edits);
        }
        self.forward.exchange.told.write(edits);
        let _ = text;
    }

    fn set_cookie(&self, edits: &mut Edits) {
        let live = self.forward.live;
        let groups = live.groups();
        let (target, endpoint) = (usize::from(self.picked.target), usize::from(self.picked.endpoint));
        let Some(sticky) = &groups.sticky else { return };
        let Some(endpoint) = live.targets()[target].endpoints.get(endpoint) else { return };
        let worker = self.forward.exchange.worker;
        let unix = worker.wall.unix_ns(ring::now()) / 1_000_000_000;
        let side = groups.side_name(self.forward.choice.group);
        let mut value = Vec::new();
        let secure = self.forward.exchange.client.secured().is_some();
        sticky.set_cookie(endpoint.sticky_hash, side, unix, secure, &mut value);
        edits.add(b"Set-Cookie", &value);
    }

    /// The operator's page in the place of an upstream's error body.
    async fn intercepted(&self, response: &Response<'_>, record: &mut Record, edits: &mut Edits) -> Option<SendBuf> {
        let exchange = self.forward.exchange;
        let status = response.status();
        let rules = exchange.rules;
        if status < 400 || !rules.intercept.iter().any(|range| range.contains(status)) {
            return None;
        }
        rules.pages.page(status)?;
        let mut page = Vec::new();
        let wanted = if exchange.wanted() == Wanted::Json { Wanted::Json } else { Wanted::Html };
        let kind = render(&mut page, &rules.pages, wanted, status, Reason::Ok, exchange.id_text());
        OF_A_BODY.iter().for_each(|name| edits.remove(name));
        edits.set(b"Content-Type", kind.as_bytes());
        let page = exchange.code_whole(status, Some(response), &page, edits).await.unwrap_or(page);
        let bodiless = exchange.request.verb() == Method::Head;
        let length = page.len() as u64;
        let out = ResponseOut {
            body: if bodiless { BodyLength::None } else { BodyLength::Length(length) },
            stated_length: bodiless.then_some(length),
            ..self.out(response.head, response, BodyLength::None, record, edits)
        };
        let mut octets = spare_vec();
        exchange.write_head(&mut octets, out);
        record.status = status;
        record.answered = true;
        let mut send = SendBuf::new();
        send.push_vec(octets);
        if !bodiless {
            record.body_out = length;
            send.push_vec(page);
        }
        Some(send)
    }

    /// 101: only what was asked for, and only with the right proof (RFC 6455 section 4.1).
    async fn switch(
        &self,
        upstream: &Upstream,
        response: &Response<'_>,
        arrived: &Arrived,
        record: &mut Record,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let exchange = self.forward.exchange;
        let offer = exchange.request.websocket().filter(|_| exchange.rules.websocket);
        if !offer.is_some_and(|offer| response.accepts_websocket(offer.key)) {
            return Err(Fault::new(Reason::UpstreamBadUpgrade));
        }
        self.edit(response, edits, text);
        let mut octets = spare_vec();
        let out = self.out(response.head, response, BodyLength::None, record, edits);
        exchange.write_head(&mut octets, ResponseOut { connection: Connection::Upgrade, ..out });
        record.status = 101;
        record.answered = true;
        record.keep_alive = false;
        let mut send = SendBuf::new();
        send.push_vec(octets);
        if let Some(rest) = &arrived.rest {
            send.push_chunk(rest.clone());
        }
        exchange.send(send).await?;
        exchange.tunnel(&upstream.socket, record).await
    }
}
