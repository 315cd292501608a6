//! Certificates that clients show, and what upstreams learn of them.

use weir_tests::exchange::bytes;
use weir_tests::tls::{Authority, Connector, Identity};
use weir_tests::{Client, Config, Origin, Weir, wait};

use super::{ask, entry, fresh, listening, warning};

/// A listener whose name `m.test` asks for certificates of `clients`, and whose name `a.test` does not.
fn start(origin: &Origin, authority: &Authority, clients: &Authority, mode: &str, more: &str) -> Weir {
    let config = Config::forwarding(origin.url());
    let ca = config.file("clients.pem", clients.pem());
    let (open, private) = (authority.certify(&["a.test"]), authority.certify(&["m.test"]));
    let asks = format!(
        "client_auth = \"{mode}\", client_ca = \"{ca}\"{}",
        more.replace("DIR", &ca.replace("/clients.pem", ""))
    );
    let entries = [entry(&config, "open", &open, ""), entry(&config, "private", &private, &asks)];
    listening(config, &entries, "client_cert_header = true", "").start()
}

/// The status of a request for `m.test` with this certificate; none if the connection ends before it.
fn status(weir: &Weir, connector: &Connector) -> Option<u16> {
    let pipe = connector.connect(weir.web()).ok()?;
    let mut client = Client::through(pipe);
    // In TLS 1.3 the client is done before the server has looked at its certificate.
    client.try_write(&bytes("GET", "/", &[("Host", "m.test")], b"")).ok()?;
    client.try_response("GET").ok().map(|response| response.status)
}

#[test]
fn who_must_show_a_certificate_and_shows_none_or_a_bad_one_gets_nowhere() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let weir = start(&origin, &authority, &clients, "require", "");
    let to = || fresh("m.test", &authority);
    assert_eq!(status(&weir, &to().showing(clients.certify_client("me"))), Some(200));
    assert_eq!(status(&weir, &to()), None);
    weir.wait_reason("tls_client_cert", 1);
    assert_eq!(status(&weir, &to().showing(Authority::new().certify_client("me"))), None);
    weir.wait_reason("tls_client_cert", 2);
    // A server's certificate is none of a client.
    assert_eq!(status(&weir, &to().showing(clients.certify(&["me"]))), None);
    weir.wait_reason("tls_client_cert", 3);
    assert_eq!(ask(&mut weir.client_tls(&fresh("a.test", &authority)), "a.test").status, 200);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn who_may_show_a_certificate_may_show_none_but_no_bad_one() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let weir = start(&origin, &authority, &clients, "request", "");
    let to = || fresh("m.test", &authority);
    assert_eq!(status(&weir, &to()), Some(200));
    assert!(origin.last().fields.first("Client-Cert").is_none());
    assert_eq!(status(&weir, &to().showing(clients.certify_client("me"))), Some(200));
    assert!(origin.last().fields.first("Client-Cert").is_some());
    assert_eq!(status(&weir, &to().showing(Authority::new().certify_client("me"))), None);
}

#[test]
fn revoked_certificate_gets_nowhere_once_the_list_says_so_not_even_by_resumption() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let (good, bad): (Identity, Identity) = (clients.certify_client("good"), clients.certify_client("bad"));
    let dir = weir_tests::dir::Dir::new();
    let list = dir.write("list.pem", clients.revoke(&[]));
    let weir = start(&origin, &authority, &clients, "require", &format!(", client_crl = \"{}\"", list.display()));
    let list_with_bad = clients.revoke(&[&bad]);
    let to = |identity| Connector::to("m.test").trusting(&authority).showing(identity);
    let (good, bad) = (to(good), to(bad));
    assert_eq!([status(&weir, &good), status(&weir, &bad)], [Some(200), Some(200)]);
    std::fs::write(&list, list_with_bad).expect("a list");
    wait::until("the list to count", || status(&weir, &bad).is_none());
    assert_eq!(status(&weir, &good), Some(200));
    assert_eq!(warning(&weir, "TLS_MATERIAL_REJECTED"), None);
}

#[test]
fn name_that_asks_for_certificates_is_not_reached_over_another() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let weir = start(&origin, &authority, &clients, "require", "");
    let mut open = weir.client_tls(&fresh("a.test", &authority));
    assert_eq!(ask(&mut open, "m.test").status, 421);
    assert_eq!(ask(&mut open, "a.test").status, 200);
    assert_eq!(ask(&mut weir.client_tls(&Connector::to("unknown.test")), "m.test").status, 421);
    assert_eq!(ask(&mut weir.client_tls(&Connector::to("m.test").without_sni()), "m.test").status, 421);
    weir.wait_reason("misdirected_request", 3);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn nobody_tunnels_without_a_certificate_where_one_is_asked_for() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let config = Config::new();
    let (ca, identity) = (config.file("clients.pem", clients.pem()), authority.certify(&["m.test"]));
    let asks = format!("client_auth = \"require\", client_ca = \"{ca}\"");
    let destination = origin.url().replace("http://", "");
    let allow = format!("connect_allow = [\"{destination}\"]");
    let entries = [entry(&config, "m", &identity, &asks)];
    let weir = listening(config, &entries, "", &allow).start();
    let connect = |connector: &Connector| {
        let mut client = weir.client_tls(connector);
        client.write(format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n"));
        client.head().status
    };
    assert_eq!(connect(&Connector::to("m.test").without_sni()), 421);
    assert_eq!(connect(&Connector::to("m.test").trusting(&authority).showing(clients.certify_client("me"))), 200);
}

#[test]
fn name_that_begins_to_ask_is_not_reached_on_connections_of_before() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let config = Config::forwarding(origin.url());
    let (ca, identity) = (config.file("clients.pem", clients.pem()), authority.certify(&["m.test"]));
    let entries = [entry(&config, "m", &identity, "")];
    let mut weir = listening(config, &entries, "", "").start();
    let connector = Connector::to("m.test").trusting(&authority);
    let mut before = weir.client_tls(&connector);
    assert_eq!(ask(&mut before, "m.test").status, 200);
    let text = weir.text();
    let asks = format!("m.key\", client_auth = \"require\", client_ca = \"{ca}\"");
    let generation = weir.generation();
    weir.reload_text(&text.replace("m.key\"", &asks));
    wait::until("the next generation", || weir.generation() > generation);
    assert_eq!(ask(&mut before, "m.test").status, 421);
    assert_eq!(status(&weir, &connector), None);
    assert_eq!(status(&weir, &connector.showing(clients.certify_client("me"))), Some(200));
    // Nothing else was changed.
    weir.reload(|config| config);
}

#[test]
fn upstream_learns_the_certificate_from_weir_alone() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let weir = start(&origin, &authority, &clients, "request", "");
    let me = clients.certify_client("me");
    let der = me.der();
    let mut client = weir.client_tls(&fresh("m.test", &authority).showing(me));
    let spoofed = [("Host", "m.test"), ("Client-Cert", ":AA==:"), ("Client-Cert-Chain", ":AA==:")];
    assert_eq!(client.exchange(bytes("GET", "/", &spoofed, b"")).status, 200);
    let last = origin.last();
    let told = last.fields.first("Client-Cert").expect("the certificate").to_owned();
    let inside = told.strip_prefix(':').and_then(|told| told.strip_suffix(':')).expect("octets between colons");
    assert_eq!(decode(inside), der.to_vec());
    assert!(last.fields.first("Client-Cert-Chain").is_none());
    assert_eq!(
        weir.client_tls(&fresh("a.test", &authority))
            .exchange(bytes("GET", "/", &[("Host", "a.test"), spoofed[1], spoofed[2]], b""))
            .status,
        200
    );
    assert!(origin.last().fields.first("Client-Cert").is_none());
}

fn decode(base64: &str) -> Vec<u8> {
    let digit = |octet: u8| match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = base64.trim_end_matches('=').bytes().map(digit).collect();
    let group = |four: &[u8]| {
        let bits = (0..4).fold(0u32, |bits, at| bits << 6 | u32::from(four.get(at).copied().unwrap_or(0)));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
