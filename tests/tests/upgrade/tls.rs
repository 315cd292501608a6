//! TLS across an upgrade: sessions of the process before go on in the next one.

use rustls::version::{TLS12, TLS13};
use weir_tests::exchange::bytes;
use weir_tests::tls::{Authority, Connector};
use weir_tests::{Config, Origin, wait};

#[test]
fn sessions_are_resumed_by_the_next_process_and_the_one_after() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let config = Config::forwarding(origin.url()).without_kernel().workers(2);
    let (cert, key) = (config.file("a.crt", identity.certificate_pem()), config.file("a.key", identity.key_pem()));
    let config = config.listener(&format!(
        "protocol = \"https\"\n[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]"
    ));
    let weir = config.start();
    let connectors = [&TLS13, &TLS12].map(|version| Connector::to("a.test").trusting(&authority).version(version));
    let resumed = |connector: &Connector| {
        let mut client = weir.client_tls(connector);
        // The tickets come with the answer.
        assert_eq!(client.exchange(bytes("GET", "/", &[("Host", "a.test")], b"")).status, 200);
        client.pipe().session().expect("TLS").resumed
    };
    assert!(connectors.iter().all(|connector| !resumed(connector)), "the first");
    for _ in 0..2 {
        let new = weir.upgraded(&[]);
        wait::until("the one before has ended", || weir.processes().iter().all(|one| one.0 == new.0));
        for connector in &connectors {
            assert!(resumed(connector), "after the upgrade");
        }
    }
    weir.stop_all();
}
