//! Databases of addresses: what rules ask of them, files that are replaced while weir runs, files of no use.

use std::path::Path;

use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::mmdb::{country, database};
use weir_tests::{Client, Config, Origin, Weir, wait};

/// Another file under the same name, as updaters put it there.
fn replace(path: &Path, octets: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, octets).and_then(|()| std::fs::rename(&new, path)).expect("a file");
}

/// A database in which this network alone has a country.
fn dutch(network: &str) -> Vec<u8> {
    database("GeoLite2-Country", &[(network, country("NL"))])
}

/// Whether the rule concerns a client, whom a trusted proxy names.
fn concerns(weir: &Weir, client: &str) -> bool {
    let fields = [("X-Forwarded-For", client)];
    let response = Client::connect_from("127.0.0.9", weir.web()).exchange(bytes("GET", "/", &fields, b""));
    assert_eq!(response.status, 200);
    response.fields.first("RateLimit").is_some()
}

/// What readiness says of the files.
fn stale(weir: &Weir) -> Option<String> {
    let ready = weir.api("/ready");
    let warnings = ready["warnings"].as_array().expect("a list");
    let own = warnings.iter().find(|warning| warning["code"] == "GEOIP_STALE")?;
    own["hint"].as_str().map(str::to_owned)
}

#[test]
fn a_rule_follows_the_file_of_countries_and_a_bad_one_is_told_and_leaves_the_one_before() {
    let (origin, dir) = (Origin::ok("hello"), Dir::new());
    let path = dir.write("country.mmdb", dutch("192.0.2.0/24"));
    let tables = format!(
        "[geoip]\ndb = \"{}\"\n[[client.proxy]]\ncidrs = [\"127.0.0.9\"]\n\
         [[rate_limit]]\nname = \"dutch\"\nlimit = 100000\nmatch = {{ country = \"NL\" }}",
        path.display()
    );
    let weir = Config::forwarding(origin.url()).tables(&tables).workers(2).start();
    assert!(concerns(&weir, "192.0.2.7") && !concerns(&weir, "198.51.100.7"));

    // Ten connections: hardly ever all on one worker.
    let moved = || (0..10).all(|_| concerns(&weir, "198.51.100.7") && !concerns(&weir, "192.0.2.7"));
    replace(&path, &dutch("198.51.100.0/24"));
    wait::until("the rule to follow", moved);
    assert_eq!(stale(&weir), None);

    replace(&path, b"no database");
    let hint = wait::value("a warning", || stale(&weir));
    assert!(hint.contains("country.mmdb"), "{hint}");
    assert!(weir.is_ready() && moved());

    replace(&path, &dutch("192.0.2.0/24"));
    wait::until("no warning", || stale(&weir).is_none());
    wait::until("the rule to follow", || (0..10).all(|_| concerns(&weir, "192.0.2.7")));
    assert_eq!(weir.generation(), 1);
}
