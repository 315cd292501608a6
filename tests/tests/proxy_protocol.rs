//! PROXY headers of clients: whom they announce is the peer, for everything; what is none is not answered.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::proxied::{block, record, summed, v1, v2};
use weir_tests::weir::command;
use weir_tests::{Client, Config, Ended, Origin, Response, Weir, manage, wait};

/// The proxy that the configurations below believe.
const PROXY: &str = "127.0.0.9";
const FROM: &str = "proxy_protocol_from = [\"127.0.0.9\", \"127.0.1.0/24\"]";
/// What the proxy says that its clients connected to.
const SERVICE: &str = "198.51.100.7:443";

fn behind(origin: &Origin) -> Config {
    Config::forwarding(origin.url()).listener(FROM)
}

/// A connection of the proxy's that begins with these octets.
fn brought(weir: &Weir, header: impl AsRef<[u8]>) -> Client {
    let client = Client::connect_from(PROXY, weir.web());
    client.write(header);
    client
}

fn get(path: &str) -> Vec<u8> {
    bytes("GET", path, &[], b"")
}

fn header(source: &str) -> Vec<u8> {
    v2(&format!("{source}:1234"), SERVICE, &[])
}

/// Ends without an octet, by whatever packet.
fn silent(client: &mut Client) {
    let (rest, _) = client.drain();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn whom_a_header_announces_is_the_peer() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    for (number, header) in [
        v1("192.0.2.1:1234", SERVICE),
        v2("192.0.2.1:1234", SERVICE, &[]),
        v2("192.0.2.1:1234", SERVICE, &record(0x20, &[1; 9])),
        summed("192.0.2.1:1234", SERVICE),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let mut client = brought(&weir, [header, get(&path)].concat());
        assert_eq!(client.response().text(), "hello", "{path}");
        let seen = origin.last();
        assert_eq!(seen.fields.first("x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(seen.fields.first("x-real-ip"), Some("192.0.2.1"));
        let line = weir.wait_log(&path, |line| line["path"] == path.as_str());
        let announced = serde_json::Value::from("192.0.2.1");
        assert_eq!((&line["client_ip"], &line["peer_ip"]), (&announced, &announced));
        // The header stands once before the connection, not before each request.
        assert_eq!(client.exchange(get("/again")).status, 200);
    }
    // What is announced by IPv6 is, too; an IPv4 address in IPv6's clothes is what it is.
    let mut client = brought(&weir, b"PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n");
    assert_eq!(client.exchange(get("/six")).status, 200);
    assert_eq!(origin.last().fields.first("x-forwarded-for"), Some("2001:db8::1"));
    let mut client = brought(&weir, b"PROXY TCP6 ::ffff:192.0.2.9 2001:db8::2 5 443\r\n");
    assert_eq!(client.exchange(get("/mapped")).status, 200);
    assert_eq!(origin.last().fields.first("x-forwarded-for"), Some("192.0.2.9"));
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    let records = [record(1, b"h2"), record(2, b"a.test")].concat();
    for header in [v1("192.0.2.1:1234", SERVICE), v2("192.0.2.1:1234", SERVICE, &records)] {
        let all = [header.clone(), get("/")].concat();
        for cut in 1..header.len() + 2 {
            let mut client = brought(&weir, b"");
            client.write_split(&all, cut);
            assert_eq!(client.response().status, 200, "cut at {cut}");
        }
        let mut client = brought(&weir, b"");
        client.write_parts(all.chunks(1));
        assert_eq!(client.response().status, 200, "octet by octet");
    }
    assert!(origin.requests().iter().all(|seen| seen.fields.first("x-forwarded-for") == Some("192.0.2.1")));
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_peer() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 1 2 3 4 5\r\n".to_vec(),
        block(0x20, 0x00, &[]),
        block(0x20, 0x11, &header("192.0.2.1")[16..]),
        block(0x21, 0x00, &[]),
        block(0x21, 0x31, &[0; 216]),
    ] {
        let mut client = brought(&weir, [header, get("/")].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.last().fields.first("x-forwarded-for"), Some(PROXY));
    }
}

#[test]
fn what_is_no_header_is_not_answered_and_reaches_nobody() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    let mut torn = summed("192.0.2.1:1234", SERVICE);
    torn[17] ^= 1;
    let long = block(0x21, 0x11, &[&header("192.0.2.1")[16..], &record(4, &[0; 4069])].concat());
    assert_eq!(long.len(), 4097 + 3);
    let bad = [
        get("/"),
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1234\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n".to_vec(),
        [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
        block(0x22, 0x11, &header("192.0.2.1")[16..]),
        block(0x21, 0x13, &header("192.0.2.1")[16..]),
        block(0x21, 0x11, &header("192.0.2.1")[16..27]),
        v2("192.0.2.1:1", SERVICE, &[4, 0, 5, 0]),
        torn,
        long,
    ];
    let count = bad.len() as u64;
    for header in bad {
        let mut client = brought(&weir, &header);
        let _ = client.try_write(&get("/"));
        silent(&mut client);
    }
    weir.wait_reason("proxy_header_invalid", count);
    // The end within a header is wrong as well; before its first octet it is nothing.
    let mut client = brought(&weir, b"PROXY TCP4");
    client.half_close();
    silent(&mut client);
    weir.wait_reason("proxy_header_invalid", count + 1);
    let mut client = brought(&weir, b"");
    client.half_close();
    silent(&mut client);
    assert_eq!(brought(&weir, [header("192.0.2.1"), get("/fine")].concat()).response().status, 200);
    assert_eq!(weir.reason("proxy_header_invalid"), count + 1);
    assert_eq!(origin.requests().len(), 1);
    let line = weir.wait_log("the connection", |line| line["reason"] == "proxy_header_invalid");
    for absent in ["status", "method", "path", "host", "http_version"] {
        assert!(line[absent].is_null(), "{absent}: {line}");
    }
    assert_eq!((&line["peer_ip"], &line["listener"]), (&PROXY.into(), &"web".into()));
}

#[test]
fn a_header_of_four_kib_is_read_whole() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    let largest = v2("192.0.2.1:1234", SERVICE, &record(4, &[7; 4096 - 28 - 3]));
    assert_eq!(largest.len(), 4096);
    assert_eq!(brought(&weir, [largest, get("/")].concat()).response().status, 200);
    assert_eq!(origin.last().fields.first("x-forwarded-for"), Some("192.0.2.1"));
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).listener("[listener.timeouts]\nproxy_header = \"400ms\"").start();
    for begin in [b"".as_slice(), b"PROXY TCP4 192.0.2.1", &header("192.0.2.1")[..20]] {
        let start = Instant::now();
        let mut client = brought(&weir, begin);
        silent(&mut client);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(5), "{took:?}");
    }
    weir.wait_reason("proxy_header_timeout", 3);
    // Octets do not refresh it.
    let client = brought(&weir, b"");
    let start = Instant::now();
    let ended = wait::holds_within(wait::SOON, || {
        std::thread::sleep(Duration::from_millis(60));
        client.try_write(b"PROXY UNKNOWN "[..1].as_ref()).is_err()
    });
    assert!(ended && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_header_of_anybody_else_is_a_bad_request() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    for header in [v1("192.0.2.1:1234", SERVICE), header("192.0.2.1")] {
        let mut client = weir.client();
        client.write([header, get("/")].concat());
        assert_eq!(client.response().status, 400);
        assert_eq!(client.drain().1, Ended::Closed);
    }
    assert_eq!(weir.reason("proxy_header_invalid"), 0);
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(weir.get("/").status, 200, "who is no proxy needs no header");
}

#[test]
fn whom_a_header_announces_may_be_a_trusted_proxy() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).tables("[[client.proxy]]\ncidrs = [\"10.0.0.0/8\"]").start();
    let ask = |source: &str| {
        let request = bytes("GET", "/", &[("X-Forwarded-For", "203.0.113.9")], b"");
        assert_eq!(brought(&weir, [header(source), request].concat()).response().status, 200);
        origin.last().fields.first("x-forwarded-for").expect("a chain").to_owned()
    };
    assert_eq!(ask("10.1.2.3"), "203.0.113.9, 10.1.2.3");
    // The proxy's own word counts for the connection, not for what its clients say in headers.
    assert_eq!(ask("192.0.2.1"), "192.0.2.1");
}

#[test]
fn bans_concern_whom_a_header_announces_and_never_the_proxy() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin)
        .tables("[[ban]]\ncidr = \"192.0.2.0/24\"\nreason = \"test\"\n[[ban]]\ncidr = \"127.0.0.9\"\nreason = \"own\"")
        .start();
    let mut client = brought(&weir, header("192.0.2.1"));
    let _ = client.try_write(&get("/"));
    assert_eq!(client.drain().1, Ended::Reset);
    weir.wait_reason("banned", 1);
    // The proxy is banned by the document too, which does not concern it here: not even what it sends for itself.
    assert_eq!(brought(&weir, [header("203.0.113.1"), get("/")].concat()).response().status, 200);
    assert_eq!(brought(&weir, [block(0x20, 0, &[]), get("/")].concat()).response().status, 200);
    assert_eq!(weir.reason("banned"), 1);
    // A ban that comes later ends the connections of whom it concerns, and no others of the proxy's.
    let (mut open, mut other) = (brought(&weir, header("203.0.113.7")), brought(&weir, header("203.0.113.8")));
    assert_eq!((open.exchange(get("/")).status, other.exchange(get("/")).status), (200, 200));
    let ban = br#"{"cidr": "203.0.113.7", "ttl": "1h", "reason": "test"}"#;
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    let answer = weir_tests::request(weir.management(), "POST", "/api/v1/bans", &fields, ban);
    assert!(answer.status < 300, "{}", answer.text());
    assert_eq!(open.drain().1, Ended::Reset);
    assert_eq!(other.exchange(get("/")).status, 200);
    assert!(manage(weir.management(), "/api/v1/bans").text().contains("203.0.113.7"));
}

#[test]
fn bounds_of_one_client_concern_whom_a_header_announces() {
    let origin = Origin::ok("hello");
    let keys = "[connections]\nper_client_max = 2\nhandshaking_per_client_max = 2";
    let weir = behind(&origin).workers(2).tables(keys).start();
    let ask = |source: &str| {
        let mut client = brought(&weir, header(source));
        let answered = client.try_write(&get("/")).is_ok().then(|| client.try_response("GET").ok()).flatten();
        answered.map(|_: Response| client)
    };
    // The proxy itself may have as many as it likes.
    let many: Vec<_> = (0..8).map(|n| ask(&format!("203.0.113.{n}")).expect("answered")).collect();
    let held: Vec<_> = (0..2).map(|_| ask("192.0.2.1").expect("answered")).collect();
    assert!(ask("192.0.2.1").is_none());
    weir.wait_reason("connection_limit", 1);
    drop((many, held));
    wait::until("room again", || ask("192.0.2.1").is_some());
    // Headers that have not come count for nobody: there is nobody to count them for.
    let waiting: Vec<_> = (0..6).map(|_| brought(&weir, b"PROXY")).collect();
    assert!(ask("192.0.2.2").is_some());
    drop(waiting);
}

#[test]
fn rate_limits_go_by_whom_a_header_announces() {
    let origin = Origin::ok("hello");
    let limit = "[[rate_limit]]\nname = \"few\"\nlimit = 1\nwindow = \"1h\"";
    let weir = behind(&origin).tables(limit).start();
    let ask = |source: &str| brought(&weir, [header(source), get("/")].concat()).response().status;
    assert_eq!((ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")), (200, 429, 200));
}

#[test]
fn peers_on_unix_sockets_may_be_proxies() {
    let (origin, dir) = (Origin::ok("hello"), Dir::new());
    let path = dir.join("s");
    let tables = format!(
        "[[listener]]\nname = \"sock\"\nbind = \"unix:{}\"\nproxy_protocol_from = [\"unix\"]\n\
         [[route]]\nid = 1\nlistener = \"sock\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"",
        path.display(),
        origin.url()
    );
    let weir = Config::new().tables(&tables).start();
    let ask = |octets: &[u8]| {
        let mut stream = UnixStream::connect(&path).expect("connects");
        stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        let _ = stream.write_all(octets);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let close = bytes("GET", "/", &[("Connection", "close")], b"");
    assert!(ask(&[header("192.0.2.1"), close.clone()].concat()).starts_with("HTTP/1.1 200"));
    assert_eq!(origin.last().fields.first("x-forwarded-for"), Some("192.0.2.1"));
    assert_eq!(ask(&close), "");
    weir.wait_reason("proxy_header_invalid", 1);
}

#[test]
fn a_reload_changes_who_must_announce() {
    let origin = Origin::ok("hello");
    let mut weir = Config::forwarding(origin.url()).start();
    let mut before = brought(&weir, get("/"));
    assert_eq!(before.response().status, 200);
    weir.reload(|config| config.listener(FROM));
    assert_eq!(before.exchange(get("/")).status, 200, "a connection goes on as it began");
    wait::until("a header to be wanted", || {
        let mut client = brought(&weir, [header("192.0.2.1"), get("/")].concat());
        client.response().status == 200
    });
    silent(&mut brought(&weir, get("/")));
}

#[test]
fn a_bad_list_is_a_problem_of_the_document() {
    let dir = Dir::new();
    for (line, names) in [
        ("proxy_protocol_from = [\"ten\"]", ["proxy_protocol_from", "CIDR"]),
        ("proxy_protocol_from = \"10.0.0.0/8\"", ["proxy_protocol_from", "list"]),
        ("[listener.timeouts]\nproxy_header = \"3\"", ["proxy_header", "duration"]),
        ("[listener.timeouts]\nproxy_header = \"25h\"", ["proxy_header", "24h"]),
    ] {
        let text = format!("version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n{line}\n");
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        let said = exit.stderr + &exit.stdout;
        assert!(names.iter().all(|name| said.contains(name)), "{said}");
    }
}

/// Believes whatever it is shown: who the server is, is not these tests' subject.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The answer to a request by TLS on this connection.
fn by_tls(client: &Client, request: &[u8]) -> std::io::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = "a.test".try_into().expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut socket = client.stream();
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_header_stands_before_tls() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).listener("protocol = \"https\"").start();
    let close = bytes("GET", "/", &[("Connection", "close"), ("Host", "a.test")], b"");
    for header in [v1("192.0.2.1:1234", SERVICE), summed("192.0.2.1:1234", SERVICE)] {
        let client = brought(&weir, header);
        assert!(by_tls(&client, &close).expect("an answer").starts_with("HTTP/1.1 200"));
        let seen = origin.last();
        assert_eq!(seen.fields.first("x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(seen.fields.first("x-forwarded-proto"), Some("https"));
    }
    // Without a header the handshake does not even begin, and who need not send one is served without.
    by_tls(&brought(&weir, b""), &close).expect_err("no handshake");
    weir.wait_reason("proxy_header_invalid", 1);
    assert!(by_tls(&weir.client(), &close).expect("an answer").starts_with("HTTP/1.1 200"));
    // Nor does a header within TLS count.
    let within = [v1("192.0.2.1:1234", SERVICE), close].concat();
    let answer = by_tls(&brought(&weir, header("192.0.2.2")), &within).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn a_flow_of_a_proxy_is_the_proxys() {
    let origin = Origin::ok("hello");
    let weir = behind(&origin).start();
    let mut client = brought(&weir, [header("192.0.2.1"), get("/")].concat());
    assert_eq!(client.response().status, 200);
    let own = client.stream().local_addr().expect("an address");
    assert_eq!(own.ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    wait::until("the flow", || manage(weir.management(), "/api/v1/flows").text().contains(&own.port().to_string()));
}
