//! The certificate shown, by the name that is asked for; and requests held against it.

use rustls::SignatureScheme;
use rustls::version::{TLS12, TLS13};
use weir_tests::tls::{Authority, Connector};
use weir_tests::{Config, Origin};

use super::look::look;
use super::{ask, entry, fresh, listening, shown};

#[test]
fn exact_name_wildcard_default_and_the_generated_one() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let [exact, wild, other] =
        [&["x.a.test"][..], &["*.a.test"], &["other.test"]].map(|names| authority.certify(names));
    let start = |tls: &str| {
        let config = Config::forwarding(origin.url());
        let entries = [("exact", &exact), ("wild", &wild), ("other", &other)];
        let entries = entries.map(|(name, identity)| entry(&config, name, identity, ""));
        listening(config, &entries, tls, "").start()
    };
    let weir = start("");
    let of = |weir, name: &str| shown(weir, &Connector::to(name));
    assert_eq!(of(&weir, "x.a.test"), exact.der().to_vec());
    assert_eq!(of(&weir, "y.a.test"), wild.der().to_vec());
    assert_eq!(of(&weir, "other.test"), other.der().to_vec());
    let generated = of(&weir, "z.y.a.test");
    assert_eq!(generated, of(&weir, "unknown.test"));
    assert_eq!(generated, shown(&weir, &Connector::to("x.a.test").without_sni()));
    assert!(![&exact, &wild, &other].iter().any(|one| one.der().to_vec() == generated));

    let weir = start("default_certificate = \"other.test\"");
    assert_eq!(of(&weir, "unknown.test"), other.der().to_vec());
    assert_eq!(shown(&weir, &Connector::to("x.a.test").without_sni()), other.der().to_vec());

    let weir = start("default_certificate = \"other.test\"\nunknown_sni = \"reject\"");
    assert_eq!(of(&weir, "y.a.test"), wild.der().to_vec());
    assert_eq!(shown(&weir, &Connector::to("x.a.test").without_sni()), other.der().to_vec());
    let refused = Connector::to("unknown.test").connect(weir.web()).err().expect("an alert").to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    weir.wait_reason("tls_unknown_sni", 1);
}

#[test]
fn client_that_cannot_check_the_first_key_is_shown_the_second() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let (rsa, ecdsa) = (authority.certify_rsa(&["a.test"]), authority.certify(&["a.test"]));
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "rsa", &rsa, ""), entry(&config, "ecdsa", &ecdsa, "")];
    let weir = listening(config, &entries, "", "").start();
    let shown = |schemes: &[SignatureScheme]| look(weir.web(), "a.test", schemes).certificate;
    let [of_rsa, of_ecdsa] = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
    assert_eq!(shown(&[of_ecdsa, of_rsa]), rsa.der().to_vec());
    assert_eq!(shown(&[of_ecdsa]), ecdsa.der().to_vec());
}

#[test]
fn versions_and_protocols_are_as_configured() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "a", &identity, "")];
    let weir = listening(config, &entries, "min_version = \"1.3\"", "").start();
    let to = || fresh("a.test", &authority);
    assert!(to().version(&TLS13).connect(weir.web()).is_ok());
    assert!(to().version(&TLS12).connect(weir.web()).is_err());
    weir.wait_reason("tls_version", 1);
    let alpn =
        |offered: &[&str]| to().offering(offered).connect(weir.web()).map(|pipe| pipe.session().expect("TLS").alpn);
    assert_eq!(alpn(&["h2", "http/1.1"]).expect("a session").as_deref(), Some("http/1.1"));
    assert_eq!(alpn(&[]).expect("a session"), None);
    assert!(alpn(&["h2"]).is_err());
    weir.wait_reason("tls_alpn", 1);
    let stats = weir.api("/api/v1/stats");
    assert_eq!((&stats["tls"]["allow"], &stats["tls"]["deny"]), (&3.into(), &2.into()), "{stats}");
}

#[test]
fn request_must_be_for_a_name_of_the_certificate() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let [both, other] = [&["a.test", "b.test"][..], &["c.test"]].map(|names| authority.certify(names));
    for (check, [same, covered, foreign]) in
        [("certificate", [200, 200, 421]), ("exact", [200, 421, 421]), ("off", [200, 200, 200])]
    {
        let config = Config::forwarding(origin.url());
        let entries = [entry(&config, "both", &both, ""), entry(&config, "other", &other, "")];
        let weir = listening(config, &entries, "", &format!("sni_check = \"{check}\"")).start();
        let mut client = weir.client_tls(&fresh("a.test", &authority));
        for (host, expected) in [("a.test", same), ("A.test:443", same), ("b.test", covered), ("c.test", foreign)] {
            assert_eq!(ask(&mut client, host).status, expected, "{check} {host}");
        }
        let refused = [covered, foreign].iter().filter(|status| **status == 421).count() as u64;
        weir.wait_reason("misdirected_request", refused);
        // The generated certificate covers nothing and forbids nothing.
        let mut client = weir.client_tls(&Connector::to("unknown.test"));
        assert_eq!(ask(&mut client, "c.test").status, 200, "{check}");
    }
}
