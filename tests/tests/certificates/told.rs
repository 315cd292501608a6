//! What operators are told: readiness, metrics, the key log.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use weir_tests::exchange::manage;
use weir_tests::tls::{Authority, Connector};
use weir_tests::{Config, Origin, wait};

use super::{ask, entry, fresh, listening, shown, warning};

const DAY: u64 = 86_400;

#[test]
fn listener_without_a_certificate_serves_and_is_not_ready() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).listener("protocol = \"https\"").launch();
    let failing = || {
        std::net::TcpStream::connect(weir.management()).ok()?;
        let ready = weir.api("/ready");
        let check = ready["checks"].as_array()?.iter().find(|check| check["name"] == "service_plane")?;
        Some((ready["serving"].clone(), ready["root"].clone(), check["code"].clone(), check["evidence"].clone()))
    };
    let expected = (true.into(), "service_plane".into(), "NO_CERTIFICATE".into(), "listener web".into());
    wait::until("the check to fail", || failing() == Some(expected.clone()));
    assert_eq!(manage(weir.management(), "/ready").status, 503);
    assert_eq!(manage(weir.management(), "/ready?gate=traffic").status, 200);
    assert_eq!(ask(&mut weir.client_tls(&Connector::to("any.test").offering(&["http/1.1"])), "any.test").status, 200);

    let authority = Authority::new();
    let identity = authority.certify(&["a.test"]);
    let [cert, key] = [("a.crt", identity.certificate_pem()), ("a.key", identity.key_pem())].map(|(name, content)| {
        std::fs::write(weir.path(name), content).expect("a file");
        weir.path(name).display().to_string()
    });
    let tls = format!("[listener.tls]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]");
    weir.reload(|config| config.listener(&tls));
    assert_eq!(shown(&weir, &fresh("a.test", &authority)), identity.der().to_vec());
}

#[test]
fn certificate_that_ends_soon_is_told_until_it_is_renewed() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let until = |days: u64| {
        authority.certify_with(&["a.test"], |params| {
            let end = SystemTime::now() + Duration::from_secs(days * DAY + 3600);
            params.not_before = (end - Duration::from_secs(90 * DAY)).into();
            params.not_after = end.into();
        })
    };
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "a", &until(20), "")];
    let weir = listening(config, &entries, "", "").start();
    let file = weir.path("a.crt").display().to_string();
    let left = || weir.metrics().sum("weir_certificate_expiry_seconds", &[&format!("certificate=\"{file}\"")]);
    let is_about = |days: u64| (left() - (days * DAY + 3600) as f64).abs() < 300.0;
    assert!(is_about(20) && warning(&weir, "CERT_EXPIRING").is_none(), "{}", left());
    for (days, told) in [(3, Some("ends in 3 d")), (60, None)] {
        let identity = until(days);
        std::fs::write(weir.path("a.crt"), identity.certificate_pem()).expect("a file");
        std::fs::write(weir.path("a.key"), identity.key_pem()).expect("a file");
        wait::until("the metric", || is_about(days));
        let says = |hint: Option<String>| match told {
            Some(text) => hint.is_some_and(|hint| hint.contains(text) && hint.contains(&file)),
            None => hint.is_none(),
        };
        wait::until("the warning", || says(warning(&weir, "CERT_EXPIRING")));
        assert!(weir.is_ready());
    }
}

#[test]
fn key_log_is_for_its_owner_alone_and_told() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let config = Config::forwarding(origin.url());
    let path = config.file("keys", "");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let entries = [entry(&config, "a", &identity, "")];
    let mut weir = listening(config, &entries, &format!("keylog = \"{path}\""), "").start();
    let hint = wait::value("a warning", || warning(&weir, "KEYLOG_ON"));
    assert!(hint.contains(&path), "{hint}");
    assert_eq!(std::fs::metadata(&path).expect("the key log").permissions().mode() & 0o777, 0o600);
    let connect = |version| ask(&mut weir.client_tls(&fresh("a.test", &authority).version(version)), "a.test").status;
    assert_eq!([connect(&rustls::version::TLS13), connect(&rustls::version::TLS12)], [200, 200]);
    let written = || std::fs::read_to_string(&path).expect("the key log");
    let labels = ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 ", "CLIENT_RANDOM "];
    wait::until("secrets of both versions", || labels.iter().all(|label| written().contains(label)));
    let is_whole =
        |line: &str| line.split(' ').count() == 3 && line.split(' ').nth(1).is_some_and(|random| random.len() == 64);
    assert!(written().lines().all(is_whole), "{}", written());

    let text = weir.text();
    let generation = weir.generation();
    weir.reload_text(&text.replace("keylog", "# keylog"));
    wait::until("the next generation", || weir.generation() > generation);
    wait::until("no warning", || warning(&weir, "KEYLOG_ON").is_none());
    let before = written();
    assert_eq!(ask(&mut weir.client_tls(&fresh("a.test", &authority)), "a.test").status, 200);
    assert_eq!(written(), before);
    weir.signal(rustix::process::Signal::TERM);
    weir.wait_end(wait::SOON);
}
