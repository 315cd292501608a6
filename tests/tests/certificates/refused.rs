//! Documents that are refused: each with the key that is at fault, by `weir check` and at a start alike.

use weir_tests::dir::Dir;
use weir_tests::tls::Authority;
use weir_tests::weir::command;

/// A document of one listener with this certificate entry, and more keys of `[listener.tls]`.
fn document(entry: &str, more: &str) -> String {
    format!(
        "management.listen = []\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"https\"\n[listener.tls]\n\
         certificates = [{entry}]\n{more}\n"
    )
}

#[test]
fn each_bad_value_is_told_with_its_key() {
    let (dir, authority) = (Dir::new(), Authority::new());
    let identity = authority.certify(&["a.test"]);
    dir.write("a.crt", identity.certificate_pem());
    dir.write("a.key", identity.key_pem());
    dir.write("b.key", authority.certify(&["a.test"]).key_pem());
    dir.write("ca.pem", authority.pem());
    dir.write("junk", "junk");
    let good = "cert = \"DIR/a.crt\", key = \"DIR/a.key\"";
    let with = |more: &str| format!("{{ {good}, {more} }}");
    let plain = format!("{{ {good} }}");
    let cases: &[(String, &str, &str)] = &[
        ("{ cert = \"DIR/none\", key = \"DIR/a.key\" }".into(), "", "certificates DIR/none: cert cannot be read"),
        ("{ cert = \"DIR/a.crt\", key = \"DIR/none\" }".into(), "", "key cannot be read"),
        ("{ cert = \"DIR/junk\", key = \"DIR/a.key\" }".into(), "", "cert holds no certificate"),
        ("{ cert = \"DIR/a.crt\", key = \"DIR/junk\" }".into(), "", "key holds no private key"),
        ("{ cert = \"DIR/a.crt\", key = \"DIR/b.key\" }".into(), "", "key is not the key of the certificate"),
        ("{ cert = \"DIR/a.crt\" }".into(), "", "missing key \"key\""),
        (with("names = [\"b.test\"]"), "", "names has \"b.test\""),
        (with("names = [\"a b\"]"), "", "names: bad host pattern"),
        (with("client_auth = \"require\""), "", "client_auth = \"require\" needs a client_ca"),
        (with("client_auth = \"on\""), "", "client_auth = \"on\" is unknown"),
        (with("client_auth = \"require\", client_ca = \"DIR/junk\""), "", "client_ca holds no certificate"),
        (
            with("client_auth = \"require\", client_ca = \"DIR/ca.pem\", client_crl = \"DIR/junk\""),
            "",
            "client_crl holds no revocation list",
        ),
        (plain.clone(), "default_certificate = \"b.test\"", "default_certificate = \"b.test\" is no certificate's"),
        (plain.clone(), "unknown_sni = \"drop\"", "tls.unknown_sni = \"drop\" is unknown"),
        (plain.clone(), "min_version = \"1.1\"", "tls.min_version = \"1.1\" is unknown"),
        (plain.clone(), "alpn = [\"h3\"]", "tls.alpn = \"h3\" is unknown"),
        (plain.clone(), "alpn = []", "tls.alpn = [] needs a protocol"),
        (plain.clone(), "handshakes_max = 0", "tls.handshakes_max = 0 is out of range"),
        (plain.clone(), "client_cert_header = 1", "tls.client_cert_header must be true or false"),
        (plain.clone(), "ticket_rotation = \"1m\"", "tls.ticket_rotation = \"1m\" is out of range"),
        (plain.clone(), "keylog = 1", "tls.keylog must be"),
    ];
    let dirname = dir.path().display().to_string();
    for (entry, more, expected) in cases {
        let path = dir.write("weir.toml", document(entry, more).replace("DIR", &dirname)).display().to_string();
        let expected = expected.replace("DIR", &dirname);
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{entry} {more}: {}", exit.stderr);
        assert!(exit.stderr.contains(&expected), "{expected}: {}", exit.stderr);
        let exit = command(&["run", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{entry} {more}: {}", exit.stderr);
        assert!(exit.stderr.contains(&expected), "{expected}: {}", exit.stderr);
    }
    let check = document(&plain, "").replace("[listener.tls]", "sni_check = \"never\"\n[listener.tls]");
    let path = dir.write("weir.toml", check.replace("DIR", &dirname)).display().to_string();
    assert!(command(&["check", "--config", &path]).stderr.contains("sni_check = \"never\" is unknown"));
}

#[test]
fn key_log_that_cannot_be_written_is_told_at_a_start() {
    let dir = Dir::new();
    let keylog = format!("keylog = \"{}\"", dir.path().display());
    let path = dir.write("weir.toml", document("", &keylog)).display().to_string();
    let exit = command(&["run", "--config", &path]);
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains("keylog cannot be opened"), "{}", exit.stderr);
}

#[test]
fn check_warns_of_an_unfit_ocsp_response_and_makes_no_key_log() {
    let (dir, identity) = (Dir::new(), Authority::new().certify(&["a.test"]));
    let [cert, key] = [("a.crt", identity.certificate_pem()), ("a.key", identity.key_pem())]
        .map(|(name, content)| dir.write(name, content).display().to_string());
    let entry = format!("{{ cert = \"{cert}\", key = \"{key}\", ocsp = \"{cert}\" }}");
    let keys = dir.join("keys");
    let path = dir.write("weir.toml", document(&entry, &format!("keylog = \"{}\"", keys.display())));
    let exit = command(&["check", "--config", &path.display().to_string()]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("warning:") && exit.stderr.contains("ocsp is no successful OCSP response"),
        "{}",
        exit.stderr
    );
    assert!(!keys.exists());
}
