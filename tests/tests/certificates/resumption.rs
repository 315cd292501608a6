//! Sessions that go on: whichever worker meets them.

use rustls::version::{TLS12, TLS13};
use weir_tests::tls::{Authority, Connector};
use weir_tests::{Config, Origin};

use super::{ask, entry, listening};

const CONNECTIONS: usize = 400;

#[test]
fn sessions_are_resumed_by_every_one_of_eight_workers() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let identity = authority.certify(&["a.test"]);
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "a", &identity, "")];
    let weir = listening(config, &entries, "", "").workers(8).without_kernel().start();
    for version in [&TLS13, &TLS12] {
        let connector = Connector::to("a.test").trusting(&authority).version(version);
        let mut resumed = 0;
        for _ in 0..=CONNECTIONS {
            let mut client = weir.client_tls(&connector);
            // The tickets come with the answer.
            assert_eq!(ask(&mut client, "a.test").status, 200);
            resumed += usize::from(client.pipe().session().expect("TLS").resumed);
        }
        assert!(resumed * 100 >= CONNECTIONS * 99, "{version:?}: {resumed} of {CONNECTIONS}");
    }
}

#[test]
fn session_of_one_name_is_none_of_another() {
    let (origin, authority, clients) = (Origin::ok("x"), Authority::new(), Authority::new());
    let config = Config::forwarding(origin.url());
    let ca = config.file("clients.pem", clients.pem());
    let (open, private) = (authority.certify(&["a.test"]), authority.certify(&["m.test"]));
    let asks = format!("client_auth = \"request\", client_ca = \"{ca}\"");
    let entries = [entry(&config, "open", &open, ""), entry(&config, "private", &private, &asks)];
    let weir = listening(config, &entries, "", "").start();
    let connector = Connector::to("a.test").trusting(&authority);
    let resumed = |connector: &Connector, name| {
        let mut client = weir.client_tls(&connector.clone().named(name));
        assert_eq!(ask(&mut client, name).status, 200);
        client.pipe().session().expect("TLS").resumed
    };
    assert!(!resumed(&connector, "a.test") && resumed(&connector, "a.test"));
    assert!(!resumed(&connector, "m.test") && resumed(&connector, "m.test"));
}
