//! What a request can be asked about. Read where it lies; what must be worked out is worked out once, when first asked.

use std::cell::OnceCell;
use std::net::IpAddr;

use super::pairs::Pairs;
use crate::config::value::Protocol;
use crate::http::{BodyLength, Known, Paths, Request, Version, is_token};
use crate::policy::geoip::{Country, GeoIp};

/// Where the facts of a request lie.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The head.
    pub request: Request<'a>,
    /// The readings of its path.
    pub paths: &'a Paths<'a>,
    /// The client, if it is known.
    pub client: Option<IpAddr>,
    /// The other end of the TCP connection; none for a Unix peer.
    pub peer: Option<IpAddr>,
    /// The listener's name.
    pub listener: &'a str,
    /// The listener's port.
    pub port: u16,
    /// What the listener speaks.
    pub protocol: Protocol,
    /// The TLS session, if there is one.
    pub tls: Option<Tls<'a>>,
    /// Where addresses are looked up; none if no database is configured.
    pub geoip: Option<&'a GeoIp>,
}

/// A TLS session.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// `1.2` or `1.3`.
    pub version: &'a str,
    /// The name that the client asked for, in lower case.
    pub sni: Option<&'a str>,
}

/// The facts of one request.
pub struct Facts<'a> {
    source: Source<'a>,
    client: Option<IpAddr>,
    peer: Option<IpAddr>,
    country: OnceCell<Country>,
    asn: OnceCell<u32>,
    query: OnceCell<Pairs>,
    cookies: OnceCell<Pairs>,
}

/// A header field's name, recognised once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldName {
    known: Known,
    /// In lower case.
    text: Box<str>,
}

impl FieldName {
    /// The field of that name, in any case.
    pub fn new(name: &str) -> Self {
        let text = name.to_ascii_lowercase();
        // What is no token is no field's name, though it may look like one to a recogniser of tokens.
        let known = if is_token(text.as_bytes()) { Known::of(text.as_bytes()) } else { Known::Other };
        Self { known, text: text.into() }
    }

    /// In lower case.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<'a> Facts<'a> {
    /// The facts that lie there; nothing is read yet.
    pub fn new(source: Source<'a>) -> Self {
        // A v4 client of a dual-stack socket arrives as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
        let canonical = |address: Option<IpAddr>| address.map(|address| address.to_canonical());
        Self {
            source,
            client: canonical(source.client),
            peer: canonical(source.peer),
            country: OnceCell::new(),
            asn: OnceCell::new(),
            query: OnceCell::new(),
            cookies: OnceCell::new(),
        }
    }

    /// The client's address, if it is known; IPv4 as such.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The peer's address; none for a Unix peer.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The method's token.
    pub fn method(&self) -> &'a [u8] {
        self.source.request.method()
    }

    /// `http` or `https`.
    pub fn protocol(&self) -> &'static str {
        self.source.protocol.word()
    }

    /// The listener's name.
    pub fn listener(&self) -> &'a str {
        self.source.listener
    }

    /// The listener's port.
    pub fn port(&self) -> u16 {
        self.source.port
    }

    /// `1.0`, `1.1` or `2`.
    pub fn http_version(&self) -> &'static str {
        match self.source.request.version() {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }

    /// The TLS session, if there is one.
    pub fn tls(&self) -> Option<Tls<'a>> {
        self.source.tls
    }

    /// Lower case, no port; none if the request names none.
    pub fn host(&self) -> Option<&'a str> {
        Some(self.source.request.host()).filter(|host| !host.is_empty())
    }

    /// The path, decoded once.
    pub fn path(&self) -> &[u8] {
        &self.source.paths.path
    }

    /// The path as received.
    pub fn path_raw(&self) -> &'a [u8] {
        self.source.request.path_raw()
    }

    /// Content-Length, if it is given.
    pub fn content_length(&self) -> Option<u64> {
        match self.source.request.head.body() {
            BodyLength::Length(length) => Some(length),
            BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => None,
        }
    }

    /// The client's country, if the client is known.
    pub fn country(&self) -> Option<Country> {
        let client = self.client?;
        Some(*self.country.get_or_init(|| self.source.geoip.map_or(Country::UNKNOWN, |geoip| geoip.country(client))))
    }

    /// The number of the client's network, 0 if no database has it; none if the client is not known.
    pub fn asn(&self) -> Option<u32> {
        let client = self.client?;
        Some(*self.asn.get_or_init(|| self.source.geoip.map_or(0, |geoip| geoip.asn(client))))
    }

    /// All values of a header field, in order.
    pub fn headers<'n>(&self, name: &'n FieldName) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let request = self.source.request;
        let fields = &request.head.fields;
        let may_be_there = fields.has(name.known);
        let lines = if may_be_there { fields.list() } else { &[] };
        let indexed = !matches!(name.known, Known::Other | Known::XForwarded);
        let same = move |text: &[u8]| indexed || text.eq_ignore_ascii_case(name.text.as_bytes());
        let named = lines.iter().filter(move |line| line.known == name.known && same(line.name.of(request.bytes)));
        named.map(move |line| line.value.of(request.bytes))
    }

    /// The names of all header fields, as received.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.source.request.fields().map(|(name, _)| name)
    }

    /// All values of a query key, decoded, in order.
    pub fn queries<'s>(&'s self, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        let pairs = self.query.get_or_init(|| Pairs::of_query(self.query_text()));
        pairs.iter(self.query_text()).filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The names of the query's keys, decoded.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &[u8]> {
        let pairs = self.query.get_or_init(|| Pairs::of_query(self.query_text()));
        pairs.iter(self.query_text()).map(|(key, _)| key)
    }

    fn query_text(&self) -> &'a [u8] {
        self.source.request.query().unwrap_or_default()
    }

    /// The first cookie of that name.
    pub fn cookie(&self, name: &[u8]) -> Option<&'a [u8]> {
        let bytes = self.source.request.bytes;
        let pairs = self.cookies.get_or_init(|| {
            let lines = self.source.request.head.fields.all(Known::Cookie);
            Pairs::of_cookies(lines.map(|line| (line.value.start, line.value.of(bytes))))
        });
        pairs.received(bytes).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}
