//! Handshakes of clients: in any parts, against what no client should send, too slow, too many, and given up.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use weir_tests::tls::{Authority, Connector};
use weir_tests::wait::{self, SOON};
use weir_tests::{Client, Config, Ended, Origin, Weir};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

struct Stand {
    _origin: Origin,
    authority: Authority,
    weir: Weir,
}

/// weir with a certificate for a.test, and these keys of `[listener.tls]`, before an origin.
fn stand(keys: &str, change: impl FnOnce(Config) -> Config) -> Stand {
    let (origin, authority) = (Origin::ok("hello"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let weir = change(Config::forwarding(origin.url()).secured_with(&[&identity], keys)).start();
    Stand { _origin: origin, authority, weir }
}

impl Stand {
    fn connector(&self) -> Connector {
        Connector::to("a.test").trusting(&self.authority)
    }

    #[track_caller]
    fn serves(&self) {
        let mut client = self.weir.client_tls(&self.connector());
        assert_eq!(client.exchange(GET).text(), "hello");
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.weir.web()).expect("connect");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(SOON)).expect("a receive timeout");
        stream
    }

    /// A connection on which the first half of a hello was sent.
    fn half(&self) -> TcpStream {
        let mut stream = self.tcp();
        stream.write_all(&hello()[..100]).expect("write");
        stream
    }

    /// Why a handshake fails, as a client sees it.
    fn refused(&self, connector: &Connector) -> String {
        match connector.connect(self.weir.web()) {
            Err(error) => error.to_string(),
            // In TLS 1.3 a server judges what a client shows after the client has taken the handshake to be done.
            Ok(pipe) => pipe.receive(&mut [0; 1]).expect_err("a refusal").to_string(),
        }
    }

    fn open(&self) -> u64 {
        self.weir.metrics().sum("weir_connections_active", &[]) as u64
    }
}

/// A client of rustls, without I/O, that asks for a.test and takes any certificate.
fn session(versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("a.test").expect("a name")).expect("a client")
}

/// The octets of a client's hello.
fn hello() -> Vec<u8> {
    let mut out = Vec::new();
    session(rustls::ALL_VERSIONS).write_tls(&mut out).expect("memory");
    out
}

/// All octets up to the end, however that comes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut some) {
        all.extend_from_slice(&some[..count]);
    }
    all
}

/// The description of the fatal alert that these octets are.
fn alert(octets: &[u8]) -> Option<u8> {
    match octets {
        [21, 3, _, 0, 2, 2, description] => Some(*description),
        _ => None,
    }
}

/// Writes in parts: a new one at each of these places of all that is written.
struct Cut<'s> {
    stream: &'s TcpStream,
    at: &'s dyn Fn(usize) -> bool,
    written: usize,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Cut<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let end = (1..octets.len()).find(|count| (self.at)(self.written + count)).unwrap_or(octets.len());
        let count = self.stream.write(&octets[..end])?;
        self.written += count;
        if (self.at)(self.written) {
            weir_tests::process::wait_taken(self.stream);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A handshake, a request and its response; how many octets were written.
fn exchange(stream: &TcpStream, versions: &[&'static SupportedProtocolVersion], at: &dyn Fn(usize) -> bool) -> usize {
    let mut session = session(versions);
    let mut cut = Cut { stream, at, written: 0 };
    while session.is_handshaking() {
        session.complete_io(&mut cut).expect("a handshake");
    }
    session.writer().write_all(GET.as_bytes()).expect("memory");
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        session.complete_io(&mut cut).expect("records");
        let mut some = [0; 4096];
        if let Ok(count) = session.reader().read(&mut some) {
            answer.extend_from_slice(&some[..count]);
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    cut.written
}

#[test]
fn handshakes_and_requests_come_octet_by_octet_or_cut_anywhere() {
    let stand = stand("", |config| config);
    for version in rustls::ALL_VERSIONS {
        let length = exchange(&stand.tcp(), &[version], &|_| false);
        exchange(&stand.tcp(), &[version], &|_| true);
        for at in (1..length).step_by(length / 50 + 1).chain(1..12).chain(length - 45..length) {
            exchange(&stand.tcp(), &[version], &|written| written == at);
        }
    }
    assert_eq!(stand.weir.reason("tls_error"), 0);
}

#[test]
fn what_is_no_handshake_gets_an_alert_and_is_told_by_its_reason() {
    let stand = stand("", |config| config);
    let long = [&[22, 3, 1, 0, 4, 1, 0, 255, 255][..], &[22, 3, 1, 0, 1, 0].repeat(9_000)].concat();
    let junk: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", &[22, 3, 1, 0, 4, 2, 0, 0, 0], &[22, 3, 1, 0, 0], &[0; 64], &long];
    for (n, octets) in junk.iter().enumerate() {
        let mut stream = stand.tcp();
        stream.write_all(octets).expect("write");
        let answer = rest(&mut stream);
        assert!(alert(&answer).is_some(), "{:?} was answered {answer:?}", &octets[..5]);
        stand.weir.wait_reason("tls_error", n as u64 + 1);
    }
    let line = stand.weir.wait_log("a failed handshake", |line| line["reason"] == "tls_error");
    assert!(line["status"].is_null() && line["tls"]["version"].is_null());
    assert_eq!(line["peer_ip"], "127.0.0.1");
    stand.serves();
}

#[test]
fn a_client_that_leaves_within_its_handshake_leaves_nothing() {
    let stand = stand("", |config| config);
    stand.serves();
    let descriptors = stand.weir.process().fds();
    for n in 0..20 {
        let stream = stand.half();
        if n % 2 == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
    }
    // Gone after the server's flight, too.
    let mut stream = stand.tcp();
    stream.write_all(&hello()).expect("write");
    stream.read_exact(&mut [0; 100]).expect("an answer");
    drop(stream);
    // A reset takes what was sent with it: of those connections weir may have seen no octet.
    stand.weir.wait_reason("tls_error", 11);
    wait::until("connections to be gone", || stand.open() == 0 && stand.weir.process().fds() <= descriptors);
    // Who connects and says nothing has not failed.
    let failed = stand.weir.reason("tls_error");
    drop(stand.tcp());
    stand.serves();
    assert_eq!(stand.weir.reason("tls_error"), failed);
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    let stand = stand("", |config| config.listener("[listener.timeouts]\ntls = \"300ms\""));
    let began = Instant::now();
    let mut streams = [stand.tcp(), stand.half()];
    // One octet now and then does not help.
    let mut slow = stand.tcp();
    for octet in hello() {
        if slow.write_all(&[octet]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for stream in &mut streams {
        assert_eq!(rest(stream), b"");
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    stand.weir.wait_reason("tls_timeout", 3);
    stand.serves();
}

#[test]
fn more_handshakes_than_may_be_wait_and_then_go_on() {
    let stand = stand("handshakes_max = 2", |config| config);
    let held = [stand.half(), stand.half()];
    let authority = stand.connector();
    let web = stand.weir.web();
    let waiting = std::thread::spawn(move || Client::connect_tls(web, &authority).exchange(GET).text());
    let hits = || stand.weir.metrics().sum("weir_limit_hits_total", &["limit=\"handshakes_max\""]);
    wait::until("a handshake to wait", || hits() >= 1.0);
    assert!(!waiting.is_finished());
    // Who says nothing holds no place.
    let silent: Vec<_> = (0..5).map(|_| stand.tcp()).collect();
    drop(held);
    assert_eq!(waiting.join().expect("a response"), "hello");
    stand.serves();
    drop(silent);
}

#[test]
fn peers_that_cannot_agree_are_told_by_the_alert_and_by_the_reason() {
    let old = stand("min_version = \"1.3\"", |config| config);
    let answer = old.refused(&old.connector().version(&rustls::version::TLS12));
    assert!(answer.contains("ProtocolVersion"), "{answer}");
    old.weir.wait_reason("tls_version", 1);
    old.serves();
    let other = stand("unknown_sni = \"reject\"\nalpn = [\"http/1.1\"]", |config| config);
    let answer = other.refused(&other.connector().offering(&["spdy/1"]));
    assert!(answer.contains("NoApplicationProtocol"), "{answer}");
    other.weir.wait_reason("tls_alpn", 1);
    let answer = other.refused(&other.connector().named("b.test"));
    assert!(answer.contains("UnrecognisedName"), "{answer}");
    other.weir.wait_reason("tls_unknown_sni", 1);
    let mut client = other.weir.client_tls(&other.connector().offering(&["h2", "http/1.1"]));
    assert_eq!(client.pipe().session().and_then(|session| session.alpn).as_deref(), Some("http/1.1"));
    assert_eq!(client.exchange(GET).text(), "hello");
}

#[test]
fn a_drain_waits_for_handshakes_and_bounds_hold_during_them() {
    let stand = stand("", |config| config.listener("[listener.limits]\nconnections_max = 1"));
    let mut session = session(rustls::ALL_VERSIONS);
    let mut stream = stand.tcp();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("memory");
    stream.write_all(&hello[..50]).expect("write");
    wait::until("the connection", || stand.open() == 1);
    // The one connection that may be is in its handshake: another is reset.
    let refused = stand.tcp().read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset);
    stand.weir.signal(Signal::TERM);
    wait::until("the drain", || !stand.weir.is_ready());
    stream.write_all(&hello[50..]).expect("write");
    while session.is_handshaking() {
        session.complete_io(&mut stream).expect("a handshake");
    }
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.write_all(GET.as_bytes()).expect("write");
    let mut answer = Vec::new();
    // Its end is told, so that this is no error.
    tls.read_to_end(&mut answer).expect("a whole answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("Connection: close") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_ban_resets_a_connection_within_its_handshake() {
    let mut stand = stand("", |config| config);
    let mut stream = stand.half();
    wait::until("the connection", || stand.open() == 1);
    stand.weir.reload(|config| config.tables("[[ban]]\ncidr = \"127.0.0.1/32\"\nreason = \"test\""));
    let ended = stream.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn sessions_go_on_from_earlier_ones_on_every_worker() {
    let stand = stand("", |config| config.workers(2));
    for version in rustls::ALL_VERSIONS {
        let connector = stand.connector().version(version);
        let mut resumed = 0;
        for n in 0..20 {
            let mut client = stand.weir.client_tls(&connector);
            assert_eq!(client.exchange(GET).text(), "hello");
            let session = client.pipe().session().expect("TLS");
            assert!(n > 0 || !session.resumed);
            resumed += usize::from(session.resumed);
        }
        assert_eq!(resumed, 19, "{version:?}");
    }
    stand.weir.wait_log("a resumed session", |line| line["tls"]["resumed"] == true);
}

#[test]
fn connections_end_with_a_word_of_it() {
    let stand = stand("", |config| config.listener("[listener.timeouts]\nkeepalive = \"300ms\""));
    let mut client = stand.weir.client_tls(&stand.connector());
    let close = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    assert_eq!(client.exchange(close).text(), "hello");
    assert_eq!(client.ended(), Ended::Closed);
    let mut client = stand.weir.client_tls(&stand.connector());
    assert_eq!(client.exchange(GET).text(), "hello");
    assert_eq!(client.ended(), Ended::Closed, "idle");
    let mut client = stand.weir.client_tls(&stand.connector());
    client.write("GET / HTTP/1.1\r\nbad header\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert_eq!(client.ended(), Ended::Closed, "a bad request");
    // A client's own end, with and without a word, ends the connection all the same.
    for word in [true, false] {
        let mut client = stand.weir.client_tls(&stand.connector());
        assert_eq!(client.exchange(GET).text(), "hello");
        let ended = if word { client.pipe().half_close() } else { client.pipe().cut() };
        ended.expect("an end");
        assert!(matches!(client.ended(), Ended::Closed | Ended::Cut));
    }
    wait::until("connections to be gone", || stand.open() == 0);
}

#[test]
fn openssl_and_curl_agree_with_weir() {
    let stand = stand("alpn = [\"http/1.1\"]", |config| config);
    let address = stand.weir.web().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let script = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n' | \
             openssl s_client -connect {address} -servername a.test {version} -quiet -ign_eof 2>/dev/null"
        );
        let answer = weir_tests::program::succeed("sh", &["-c", &script], SOON);
        assert!(answer.ends_with("hello"), "{version}: {answer}");
    }
    let to = format!("a.test:443:{address}");
    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        let args = ["-sk", "--connect-to", &to, "https://a.test/"];
        let answer = weir_tests::program::succeed("curl", &[&version[..], &args].concat(), SOON);
        assert_eq!(answer, "hello");
    }
}

/// Takes every certificate, but not every signature.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
