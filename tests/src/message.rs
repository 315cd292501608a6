//! Strict reading of HTTP/1 messages: what the harness accepts is what RFC 9112 allows, and nothing else.

use std::io::{self, Read};

/// Header fields in wire order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of a field, by name in any case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a list-valued field names `token`.
    pub fn names(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }
}

/// A request as an origin saw it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method, target and version of its first line.
    pub method: String,
    /// The target as spelled.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Header fields.
    pub fields: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Fields,
}

/// A response as a client saw it.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// Header fields.
    pub fields: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Fields,
    /// Interim responses that came before it.
    pub interim: Vec<Response>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }
}

/// What went wrong while a message was read.
#[derive(Debug)]
pub enum Bad {
    /// The peer ended the stream where no octet of a message had come.
    Ended,
    /// The peer ended it within a message.
    Cut(String),
    /// The peer's octets are not HTTP/1.
    Malformed(String),
    /// The socket failed: reset, or the deadline passed.
    Io(io::Error),
}

/// Octets of a stream, buffered, with the total taken from it.
pub struct Wire<R> {
    inner: R,
    buffer: Vec<u8>,
    used: usize,
}

impl<R: Read> Wire<R> {
    /// Around a stream.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), used: 0 }
    }

    /// What has arrived and not been read.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// The stream itself.
    pub fn stream(&self) -> &R {
        &self.inner
    }

    /// One read of the stream into the buffer; 0 is its end.
    pub fn fill(&mut self) -> io::Result<usize> {
        if self.used > 64 * 1024 || self.used == self.buffer.len() {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + 64 * 1024, 0);
        let outcome = self.inner.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *outcome.as_ref().unwrap_or(&0));
        outcome
    }

    fn need(&mut self, so_far: &str) -> Result<(), Bad> {
        match self.fill() {
            Ok(0) => Err(Bad::Cut(so_far.to_owned())),
            Ok(_) => Ok(()),
            Err(e) => Err(Bad::Io(e)),
        }
    }

    /// Exactly `n` octets.
    pub fn take(&mut self, n: usize) -> Result<Vec<u8>, Bad> {
        while self.pending().len() < n {
            self.need("body")?;
        }
        self.used += n;
        Ok(self.buffer[self.used - n..self.used].to_vec())
    }

    /// A line without its CRLF.
    fn line(&mut self) -> Result<String, Bad> {
        let mut scanned = 0;
        loop {
            if let Some(at) = self.pending()[scanned..].iter().position(|&b| b == b'\n') {
                let line = self.take(scanned + at + 1)?;
                let line = String::from_utf8(line).map_err(|_| Bad::Malformed("line is not UTF-8".into()))?;
                let line = line.strip_suffix("\r\n").ok_or_else(|| Bad::Malformed(format!("bare LF: {line:?}")))?;
                return match line.contains(['\r', '\0']) {
                    true => Err(Bad::Malformed(format!("control octet: {line:?}"))),
                    false => Ok(line.to_owned()),
                };
            }
            scanned = self.pending().len();
            self.need("line")?;
        }
    }

    fn fields(&mut self) -> Result<Fields, Bad> {
        let mut fields = Fields::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| Bad::Malformed(format!("no colon: {line:?}")))?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(Bad::Malformed(format!("field name: {line:?}")));
            }
            fields.0.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    fn start(&mut self) -> Result<String, Bad> {
        if self.pending().is_empty() {
            match self.fill() {
                Ok(0) => return Err(Bad::Ended),
                Ok(_) => {}
                Err(e) => return Err(Bad::Io(e)),
            }
        }
        self.line()
    }

    /// The head of a request.
    pub fn request_head(&mut self) -> Result<Request, Bad> {
        let line = self.start()?;
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = parts[..] else {
            return Err(Bad::Malformed(format!("request line: {line:?}")));
        };
        let fields = self.fields()?;
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            fields,
            ..Request::default()
        };
        Ok(request)
    }

    /// A whole request with its body.
    pub fn request(&mut self) -> Result<Request, Bad> {
        let mut request = self.request_head()?;
        self.request_body(&mut request)?;
        Ok(request)
    }

    /// The body of a request whose head was read.
    pub fn request_body(&mut self, request: &mut Request) -> Result<(), Bad> {
        // RFC 9112 6.3: neither length means no body.
        if let Some(length) = length(&request.fields)? {
            request.body = self.take(length)?;
        } else if request.fields.names("transfer-encoding", "chunked") {
            (request.body, request.trailers) = self.chunked()?;
        }
        Ok(())
    }

    /// The head of a response, interim or final.
    pub fn response_head(&mut self) -> Result<Response, Bad> {
        let line = self.start()?;
        let bad = || Bad::Malformed(format!("status line: {line:?}"));
        let (version, rest) = line.split_once(' ').ok_or_else(bad)?;
        let (status, _) = rest.split_once(' ').ok_or_else(bad)?;
        let status = status.parse().ok().filter(|s| (100..=599).contains(s)).ok_or_else(bad)?;
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(bad());
        }
        let version = version.to_owned();
        Ok(Response { version, status, fields: self.fields()?, ..Response::default() })
    }

    /// A whole response to a request of that method: interim responses are kept beside it.
    pub fn response(&mut self, method: &str) -> Result<Response, Bad> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.response_head()?;
            if response.status < 200 && response.status != 101 {
                interim.push(response);
                continue;
            }
            response.interim = interim;
            self.response_body(&mut response, method)?;
            return Ok(response);
        }
    }

    /// RFC 9112 6.3, in its order.
    fn response_body(&mut self, response: &mut Response, method: &str) -> Result<(), Bad> {
        let length = length(&response.fields)?;
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(());
        }
        let chunked = response.fields.names("transfer-encoding", "chunked");
        match (length, chunked) {
            (Some(_), true) => return Err(Bad::Malformed("both lengths".into())),
            (Some(length), false) => response.body = self.take(length)?,
            (None, true) => (response.body, response.trailers) = self.chunked()?,
            (None, false) => response.body = self.rest()?,
        }
        Ok(())
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Result<Vec<u8>, Bad> {
        while self.fill().map_err(Bad::Io)? > 0 {}
        self.take(self.pending().len())
    }

    fn chunked(&mut self) -> Result<(Vec<u8>, Fields), Bad> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            if size.is_empty() || size.len() > 16 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Bad::Malformed(format!("chunk size: {line:?}")));
            }
            let size = usize::from_str_radix(size, 16).map_err(|e| Bad::Malformed(e.to_string()))?;
            if size == 0 {
                return Ok((body, self.fields()?));
            }
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(Bad::Malformed("chunk data without CRLF".into()));
            }
        }
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn length(fields: &Fields) -> Result<Option<usize>, Bad> {
    let values: Vec<_> = fields.all("content-length").collect();
    match values[..] {
        [] => Ok(None),
        [one] if !one.is_empty() && one.bytes().all(|b| b.is_ascii_digit()) => {
            one.parse().map(Some).map_err(|_| Bad::Malformed(format!("Content-Length {one}")))
        }
        _ => Err(Bad::Malformed(format!("Content-Length {values:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_response_with_trailers_and_interim_is_read_whole() {
        let bytes = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n";
        let response = Wire::new(&bytes[..]).response("GET").expect("valid");
        assert_eq!((response.status, response.text().as_str()), (200, "abc"));
        assert_eq!(response.interim[0].status, 103);
        assert_eq!(response.trailers.first("t"), Some("v"));
    }

    #[test]
    fn lenient_framing_is_refused() {
        for bytes in [
            &b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"[..],
            b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nBad name: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        ] {
            assert!(matches!(Wire::new(bytes).response("GET"), Err(Bad::Malformed(_))));
        }
        assert!(matches!(
            Wire::new(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx"[..]).response("GET"),
            Err(Bad::Cut(_))
        ));
    }
}
