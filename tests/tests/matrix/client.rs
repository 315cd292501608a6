//! A client of either protocol, asked in the same words.

use weir_tests::h2::{Frame, Peer, hpack};
use weir_tests::message::Fields;
use weir_tests::tls::Pipe;
use weir_tests::{Ended, h2};

/// The key of RFC 6455's example, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request.
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    fields: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    /// Whether the body's length is announced; `None`: there is no body.
    known: Option<bool>,
    trailers: Vec<(&'static str, &'static str)>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    pub(crate) interim: Vec<Fields>,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        let (fields, body, trailers) = (Vec::new(), Vec::new(), Vec::new());
        Self { method, path: path.to_owned(), fields, body, known: None, trailers }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Vec<u8>, known: bool) -> Self {
        self.body = body;
        self.known = Some(known);
        self
    }

    pub(crate) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    /// As HTTP/1 spells it.
    fn octets(&self) -> Vec<u8> {
        let Self { method, path, body, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
            if *name == "te" {
                head += "Connection: te\r\n";
            }
        }
        match self.known {
            None => [head.as_bytes(), b"\r\n"].concat(),
            Some(true) => [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(),
            Some(false) => {
                let mut octets = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for part in body.chunks(10_000) {
                    octets.extend([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
                }
                let trailers = self.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                octets.extend(format!("0\r\n{}\r\n", trailers.collect::<String>()).as_bytes());
                octets
            }
        }
    }
}

/// One connection.
pub(crate) enum Client {
    Http1(Box<weir_tests::Client>),
    /// With the scheme of its requests, and the stream of the last.
    Http2(Box<Peer>, &'static str, u32),
}

impl Client {
    pub(crate) fn new(pipe: Pipe, is_h2: bool, is_secured: bool) -> Self {
        if !is_h2 {
            return Self::Http1(Box::new(weir_tests::Client::through(pipe)));
        }
        let mut peer = Peer::of(pipe, h2::Role::Client);
        peer.greet(&[]);
        Self::Http2(Box::new(peer), if is_secured { "https" } else { "http" }, 0)
    }

    /// Sends a request whole.
    #[track_caller]
    pub(crate) fn send(&mut self, ask: Ask) {
        let (peer, scheme, last) = match self {
            Self::Http1(client) => return client.write(ask.octets()),
            Self::Http2(peer, scheme, last) => (peer, scheme, last),
        };
        let mut fields =
            vec![(":method", ask.method), (":scheme", scheme), (":path", &ask.path), (":authority", "test")];
        fields.extend(&ask.fields);
        let length = ask.body.len().to_string();
        if ask.known == Some(true) {
            fields.push(("content-length", &length));
        }
        *last = peer.open(&fields, ask.known.is_none());
        if ask.known.is_some() {
            assert!(peer.send_body(*last, &ask.body, ask.trailers.is_empty()), "the body is not wanted");
        }
        if !ask.trailers.is_empty() {
            peer.send(Frame::headers(*last, hpack::block(&ask.trailers), true));
        }
    }

    /// Reads the answer to what was sent last; `None` if it does not end well.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Option<Answer> {
        match self {
            Self::Http1(client) => {
                let response = client.try_response(method).ok()?;
                Some(Answer {
                    status: response.status,
                    fields: response.fields,
                    body: response.body,
                    trailers: response.trailers,
                    interim: response.interim.into_iter().map(|interim| interim.fields).collect(),
                })
            }
            Self::Http2(peer, _, stream) => {
                let message = peer.response(*stream);
                message.ended.then(|| Answer {
                    status: message.status(),
                    fields: message.fields,
                    body: message.body,
                    trailers: message.trailers,
                    interim: message.interim,
                })
            }
        }
    }

    /// One exchange.
    #[track_caller]
    pub(crate) fn ask(&mut self, ask: Ask) -> Answer {
        let what = format!("{} {}", ask.method, ask.path);
        self.try_ask(ask).unwrap_or_else(|| panic!("no whole answer to {what}"))
    }

    /// One exchange that may not end well.
    #[track_caller]
    pub(crate) fn try_ask(&mut self, ask: Ask) -> Option<Answer> {
        let method = ask.method;
        self.send(ask);
        self.answer(method)
    }

    /// Goes without a word.
    pub(crate) fn reset(self) {
        match self {
            Self::Http1(client) => client.reset(),
            Self::Http2(peer, ..) => peer.reset(),
        }
    }

    /// How the connection ends.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ended {
        match self {
            Self::Http1(client) => client.ended(),
            Self::Http2(peer, ..) => peer.expect_end(),
        }
    }
}

/// An open WebSocket; what it carries is not framed here, for weir carries octets.
pub(crate) struct Socket {
    client: Client,
    heard: usize,
}

impl Socket {
    /// Opens one: by Upgrade in HTTP/1, by extended CONNECT in HTTP/2 (RFC 8441).
    #[track_caller]
    pub(crate) fn open(mut client: Client) -> Self {
        match &mut client {
            Client::Http1(client) => {
                client.write(format!(
                    "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
                ));
                let head = client.head();
                assert_eq!((head.status, head.fields.first("sec-websocket-accept")), (101, Some(ACCEPT)));
            }
            Client::Http2(peer, scheme, last) => {
                let fields = [
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", *scheme),
                    (":path", "/chat"),
                    (":authority", "test"),
                    ("sec-websocket-version", "13"),
                ];
                *last = peer.open(&fields, false);
                assert_eq!(peer.head(*last).status(), 200);
            }
        }
        Self { client, heard: 0 }
    }

    #[track_caller]
    pub(crate) fn say(&mut self, word: &str) {
        match &mut self.client {
            Client::Http1(client) => client.write(word),
            Client::Http2(peer, _, stream) => assert!(peer.send_body(*stream, word.as_bytes(), false)),
        }
    }

    /// So many octets of the other side.
    #[track_caller]
    pub(crate) fn hear(&mut self, length: usize) -> String {
        let octets = match &mut self.client {
            Client::Http1(client) => client.take(length),
            Client::Http2(peer, _, stream) => {
                let (from, stream) = (self.heard, *stream);
                if peer.message(stream).body.len() < from + length {
                    peer.until("a word", |peer, _| peer.message(stream).body.len() >= from + length);
                }
                peer.message(stream).body[from..from + length].to_vec()
            }
        };
        self.heard += length;
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Ends this side, and waits for the other's end.
    #[track_caller]
    pub(crate) fn end(mut self) {
        match &mut self.client {
            Client::Http1(client) => {
                client.half_close();
                client.ended();
            }
            Client::Http2(peer, _, stream) => {
                let stream = *stream;
                peer.send(Frame::data(stream, [], true));
                assert!(peer.response(stream).ended, "the tunnel was reset");
            }
        }
    }
}
