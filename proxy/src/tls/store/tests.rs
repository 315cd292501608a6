//! Who is shown what.

use super::super::testing::{Authority, Made};
use super::super::{Demand, TicketBook, generate};
use super::*;

/// What a document may say of one certificate.
struct Listed<'a> {
    made: &'a Made,
    names: &'a [&'a str],
    client_auth: ClientAuth,
    default: bool,
}

impl<'a> Listed<'a> {
    fn of(made: &'a Made, names: &'a [&'a str]) -> Self {
        Self { made, names, client_auth: ClientAuth::Off, default: false }
    }
}

fn material(listed: &[Listed<'_>], refuse: bool) -> Material {
    let offers = listed.iter().zip(0..).map(|(one, at)| Offer {
        source: format!("{at}").into(),
        certificate: Arc::new(one.made.certificate()),
        names: Names::listed(one.names.iter().copied()),
        client_auth: one.client_auth.clone(),
        default: one.default,
    });
    Material {
        offers: offers.collect(),
        unknown: match refuse {
            true => UnknownName::Refused,
            false => UnknownName::Shown(Arc::new(generate().expect("a certificate"))),
        },
        tls12: true,
        alpn: Vec::new(),
        tickets: TicketBook::default().of("web", std::time::Duration::from_secs(3600)),
        key_log: Arc::new(rustls::NoKeyLog {}),
    }
}

fn store(listed: &[Listed<'_>], refuse: bool) -> Store {
    Store::build(material(listed, refuse)).expect("a store")
}

/// The place of what is shown in the list, or `generated`, or `refused`.
fn shown(store: &Store, sni: Option<&str>) -> String {
    let Ok(choice) = store.choose(sni) else { return "refused".to_owned() };
    let place = |one: &Arc<Certificate>| store.offers.iter().position(|offer| Arc::ptr_eq(&offer.certificate, one));
    let places: Vec<_> = choice.shown.certificates.iter().map(place).collect();
    match places[..] {
        [None] => "generated".to_owned(),
        _ => places.iter().map(|place| place.map_or("?".to_owned(), |at| at.to_string())).collect(),
    }
}

fn policy(authority: &Authority, demand: Demand) -> ClientAuth {
    ClientAuth::new(demand, authority.pem().as_bytes(), None).expect("a policy")
}

#[test]
fn exact_name_then_wildcard_then_default_then_the_generated_one() {
    let made = Authority::new("ca").issue(&["a.test", "*.a.test"]);
    let [exact, wild] = [Listed::of(&made, &["x.a.test"]), Listed::of(&made, &["*.a.test", "a.test"])];
    let store_of = |default, refuse| {
        let other = Listed { default, ..Listed::of(&made, &["other.test"]) };
        let [exact, wild] = [&exact, &wild].map(|one| Listed::of(one.made, one.names));
        store(&[exact, wild, other], refuse)
    };
    let plain = store_of(false, false);
    for (sni, expected) in [
        ("x.a.test", "0"),
        ("X.A.Test", "0"),
        ("x.a.test.", "0"),
        ("y.a.test", "1"),
        ("a.test", "1"),
        ("z.y.a.test", "generated"),
        ("b.test", "generated"),
        ("other.test", "2"),
    ] {
        assert_eq!(shown(&plain, Some(sni)), expected, "{sni}");
    }
    assert_eq!(shown(&plain, None), "generated");
    let default = store_of(true, false);
    assert_eq!([Some("b.test"), None].map(|sni| shown(&default, sni)), ["2", "2"]);
    // A client that asks for no name asks for no unknown one.
    let refusing = store_of(true, true);
    assert_eq!([Some("b.test"), None, Some("a.test")].map(|sni| shown(&refusing, sni)), ["refused", "2", "1"]);
    let closed = store_of(false, true);
    assert_eq!([Some("b.test"), None].map(|sni| shown(&closed, sni)), ["refused", "refused"]);
}

#[test]
fn of_two_for_one_name_the_first_that_the_client_can_check_is_shown() {
    let made = Authority::new("ca").issue(&["a.test", "b.test"]);
    let store = store(&[Listed::of(&made, &["a.test"]), Listed::of(&made, &["a.test", "b.test"])], false);
    assert_eq!((shown(&store, Some("a.test")), shown(&store, Some("b.test"))), ("01".to_owned(), "1".to_owned()));
    let schemes = [rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
    let first = store.index.certificate(Some("a.test"), &schemes).expect("one");
    assert!(Arc::ptr_eq(first, &store.offers[0].certificate));
}

#[test]
fn names_that_ask_clients_for_the_same_share_a_configuration() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let made = ours.issue(&["a.test"]);
    let listed = |names, client_auth| Listed { client_auth, ..Listed::of(&made, names) };
    let store = store(
        &[
            Listed::of(&made, &["a.test"]),
            listed(&["b.test"], policy(&ours, Demand::Require)),
            listed(&["c.test"], policy(&ours, Demand::Require)),
            listed(&["d.test"], policy(&theirs, Demand::Require)),
            listed(&["e.test"], policy(&ours, Demand::Request)),
        ],
        false,
    );
    assert_eq!(store.configs.len(), 4);
    let config = |name| store.choose(Some(name)).expect("a certificate").config;
    assert!(Arc::ptr_eq(&config("b.test"), &config("c.test")));
    assert!(!Arc::ptr_eq(&config("b.test"), &config("d.test")) && !Arc::ptr_eq(&config("b.test"), &config("e.test")));
}

#[test]
fn one_name_cannot_ask_clients_for_two_things() {
    let authority = Authority::new("ca");
    let made = authority.issue(&["a.test"]);
    let asking = Listed { client_auth: policy(&authority, Demand::Require), ..Listed::of(&made, &["a.test"]) };
    let (at, flaw) = Store::build(material(&[Listed::of(&made, &["a.test"]), asking], false)).expect_err("two things");
    assert_eq!((at, flaw.key), (1, "client_auth"));
    assert!(flaw.why.contains("a.test"), "{}", flaw.why);
}

#[test]
fn request_is_held_against_the_certificate_that_was_shown() {
    let authority = Authority::new("ca");
    let (made, private) = (authority.issue(&["a.test", "b.test", "*.w.test"]), authority.issue(&["m.test", "n.test"]));
    let asking =
        Listed { client_auth: policy(&authority, Demand::Require), ..Listed::of(&private, &["m.test", "n.test"]) };
    let names = ["a.test", "b.test", "*.w.test"];
    let store = store(&[Listed::of(&made, &names), asking], false);
    let admits = |strictness, sni: Option<&str>, host| {
        let choice = store.choose(sni).expect("a certificate");
        store.admits(strictness, &choice.shown, sni, host)
    };
    use Strictness::{Certificate, Exact, Off};
    for (sni, host, [certificate, exact, off]) in [
        (Some("a.test"), "a.test", [true, true, true]),
        (Some("a.test"), "b.test", [true, false, true]),
        (Some("A.test"), "a.test", [true, true, true]),
        (Some("x.w.test"), "y.w.test", [true, false, true]),
        (Some("a.test"), "c.test", [false, false, true]),
        // Names whose clients show certificates: exactly, whatever is configured.
        (Some("a.test"), "m.test", [false, false, false]),
        (Some("m.test"), "m.test", [true, true, true]),
        (Some("n.test"), "m.test", [false, false, false]),
        (Some("unknown.test"), "m.test", [false, false, false]),
        (None, "m.test", [false, false, false]),
        // The generated certificate covers nothing and stands for everything else.
        (Some("unknown.test"), "a.test", [true, true, true]),
        (None, "192.0.2.1", [true, true, true]),
    ] {
        let found = [admits(Certificate, sni, host), admits(Exact, sni, host), admits(Off, sni, host)];
        assert_eq!(found, [certificate, exact, off], "{sni:?} {host}");
    }
}

#[test]
fn connection_of_before_clients_were_asked_does_not_count_as_asked() {
    let authority = Authority::new("ca");
    let made = authority.issue(&["a.test"]);
    let before = store(&[Listed::of(&made, &["a.test"])], false).choose(Some("a.test")).expect("a certificate");
    let asking = Listed { client_auth: policy(&authority, Demand::Require), ..Listed::of(&made, &["a.test"]) };
    let after = store(&[asking], false);
    assert!(!after.admits(Strictness::Off, &before.shown, Some("a.test"), "a.test"));
}

#[test]
fn default_that_asks_clients_is_not_reached_by_another_name() {
    let authority = Authority::new("ca");
    let made = authority.issue(&["a.test"]);
    let private =
        Listed { client_auth: policy(&authority, Demand::Require), default: true, ..Listed::of(&made, &["p.test"]) };
    let store = store(&[Listed::of(&made, &["a.test"]), private], false);
    let open = store.choose(Some("a.test")).expect("a certificate");
    assert!(!store.admits(Strictness::Off, &open.shown, Some("a.test"), "whatever.test"));
    let asked = store.choose(Some("whatever.test")).expect("the default");
    assert!(store.admits(Strictness::Off, &asked.shown, Some("whatever.test"), "whatever.test"));
}

#[test]
fn address_needs_no_name_where_the_certificate_covers_it() {
    let made = Authority::new("ca").issue(&["192.0.2.1", "a.test"]);
    let store = store(&[Listed { default: true, ..Listed::of(&made, &["a.test"]) }], false);
    let shown = store.choose(None).expect("the default").shown;
    for (host, exact) in [("192.0.2.1", true), ("192.0.2.2", false), ("a.test", false)] {
        assert_eq!(store.admits(Strictness::Exact, &shown, None, host), exact, "{host}");
    }
}
