//! A scripted raw origin: one thread per connection, every octet recorded, answers exactly as its script says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::message::Request;
use crate::script::Conn;
use crate::tls::{Acceptor, Pipe};
use crate::wait;

/// What an origin has seen on all its connections.
#[derive(Default)]
pub struct Record {
    accepted: AtomicUsize,
    open: AtomicUsize,
    octets: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    malformed: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

impl Record {
    pub(crate) fn octets(&self, bytes: &[u8]) {
        self.octets.fetch_add(bytes.len(), Ordering::SeqCst);
    }

    pub(crate) fn request(&self, request: Request) {
        self.requests.lock().expect("record").push(request);
    }

    pub(crate) fn malformed(&self, what: String) {
        self.malformed.lock().expect("record").push(what);
    }

    fn refused(&self, error: &std::io::Error) {
        self.refused.lock().expect("record").push(error.to_string());
    }
}

/// The origin. Dropping it closes its listener; connections end with their scripts.
pub struct Origin {
    address: SocketAddr,
    record: Arc<Record>,
    secured: bool,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Runs `script` on each connection, with the connection's number from 0.
    pub fn scripted(script: impl Fn(Conn, usize) + Send + Sync + 'static) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").expect("bind"), script)
    }

    /// The same on a listener that the test made.
    pub fn listening(listener: TcpListener, script: impl Fn(Conn, usize) + Send + Sync + 'static) -> Self {
        Self::started(listener, None, script)
    }

    /// The same within TLS. A handshake that fails is a connection without a script.
    pub fn secured(tls: Acceptor, script: impl Fn(Conn, usize) + Send + Sync + 'static) -> Self {
        Self::started(TcpListener::bind("127.0.0.1:0").expect("bind"), Some(tls), script)
    }

    fn started<S>(listener: TcpListener, tls: Option<Acceptor>, script: S) -> Self
    where
        S: Fn(Conn, usize) + Send + Sync + 'static,
    {
        let (address, secured) = (listener.local_addr().expect("an address"), tls.is_some());
        let (record, stopping) = (Arc::new(Record::default()), Arc::new(AtomicBool::new(false)));
        let (seen, stop) = (record.clone(), stopping.clone());
        let acceptor = std::thread::spawn(move || accept(&listener, tls, &seen, &stop, &Arc::new(script)));
        Self { address, record, secured, stopping, acceptor: Some(acceptor) }
    }

    /// Gives every request this answer, on kept connections.
    pub fn answering(answer: impl AsRef<[u8]>) -> Self {
        let answer = answer.as_ref().to_vec();
        Self::scripted(move |mut conn, _| while conn.request().is_some() && conn.send(&answer) {})
    }

    /// Answers 200 with a body, on kept connections.
    pub fn ok(body: &str) -> Self {
        Self::answering(ok(body))
    }

    /// Answers 200 with the request's own body, framed by its length.
    pub fn echo() -> Self {
        Self::scripted(|mut conn, _| {
            while let Some(request) = conn.request() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
                if !conn.send([head.as_bytes(), &request.body].concat()) {
                    return;
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`, `https://ADDRESS` within TLS.
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.secured { "s" } else { "" }, self.address)
    }

    /// Whether it speaks within TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// The requests it has read, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.record.requests.lock().expect("record").clone()
    }

    /// The last request; panics if none came.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("the origin saw a request")
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.record.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub fn open(&self) -> usize {
        self.record.open.load(Ordering::SeqCst)
    }

    /// Octets read so far, over all connections.
    pub fn octets(&self) -> usize {
        self.record.octets.load(Ordering::SeqCst)
    }

    /// What came that is no HTTP/1 message: of a proxy always a defect.
    pub fn malformed(&self) -> Vec<String> {
        self.record.malformed.lock().expect("record").clone()
    }

    /// Handshakes of TLS that failed, and why.
    pub fn refused(&self) -> Vec<String> {
        self.record.refused.lock().expect("record").clone()
    }

    /// Waits until it has read `n` requests.
    #[track_caller]
    pub fn wait_requests(&self, n: usize) {
        wait::until(&format!("{n} requests at the origin"), || self.record.requests.lock().expect("record").len() >= n);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accept.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept<S>(listener: &TcpListener, tls: Option<Acceptor>, record: &Arc<Record>, stop: &AtomicBool, script: &Arc<S>)
where
    S: Fn(Conn, usize) + Send + Sync + 'static,
{
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = record.accepted.fetch_add(1, Ordering::SeqCst);
        record.open.fetch_add(1, Ordering::SeqCst);
        let (script, record, tls) = (script.clone(), record.clone(), tls.clone());
        std::thread::spawn(move || {
            let pipe = match tls {
                Some(tls) => tls.accept(stream),
                None => Ok(Pipe::plain(stream)),
            };
            match pipe {
                Ok(pipe) => script(Conn::new(pipe, record.clone()), number),
                Err(e) => record.refused(&e),
            }
            record.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// The octets of a 200 with a body.
pub fn ok(body: &str) -> Vec<u8> {
    answer(200, &[], body)
}

/// The octets of an answer with fields and a body, framed by its length.
pub fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Text\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Ended};
    use crate::exchange::{get, request};

    #[test]
    fn answers_by_script_and_records() {
        let origin = Origin::ok("hello");
        assert_eq!(get(origin.address(), "/x?y").text(), "hello");
        assert_eq!(origin.last().target, "/x?y");
        assert_eq!(origin.accepted(), 1);
        assert!(origin.octets() > 20);
    }

    #[test]
    fn echoes_a_body() {
        let origin = Origin::echo();
        assert_eq!(request(origin.address(), "POST", "/", &[], b"body").text(), "body");
    }

    #[test]
    fn a_reset_is_told_from_a_close() {
        let origin = Origin::scripted(|mut conn, number| {
            conn.request();
            if number == 0 { conn.reset() } else { conn.close() }
        });
        for ended in [Ended::Reset, Ended::Closed] {
            let mut client = Client::connect(origin.address());
            client.write("GET / HTTP/1.1\r\n\r\n");
            client.half_close();
            assert_eq!(client.ended(), ended);
        }
    }

    #[test]
    fn split_writes_arrive_as_separate_reads() {
        let origin = Origin::ok("x");
        let mut client = Client::connect(origin.address());
        client.write_split(b"GET / HTTP/1.1\r\n\r\n", 5);
        assert_eq!(client.response().status, 200);
    }
}
