//! Targets by name: addresses come and go by DNS alone, and those that no target may have are not used.

use std::net::TcpListener;

use serde_json::Value;
use weir_tests::exchange::bytes;
use weir_tests::{Config, NameServer, Origin, Says, Weir, wait};

/// Two origins at one port of two addresses.
fn pair() -> (Origin, Origin, u16) {
    let both = wait::value("a port free at two addresses", || {
        let one = TcpListener::bind("127.0.0.1:0").ok()?;
        let two = TcpListener::bind(("127.0.0.2", one.local_addr().ok()?.port())).ok()?;
        Some((one, two))
    });
    let says = |name: &'static str| {
        move |mut conn: weir_tests::script::Conn, _| {
            while conn.request().is_some() && conn.send(weir_tests::origin::ok(name)) {}
        }
    };
    let port = both.0.local_addr().expect("an address").port();
    (Origin::listening(both.0, says("one")), Origin::listening(both.1, says("two")), port)
}

fn by_name(names: &NameServer, url: &str, more: &str) -> Weir {
    let resolver = format!("[resolver]\nservers = [\"{}\"]\ntimeout = \"500ms\"\n{more}", names.address());
    Config::forwarding(url).tables(&resolver).start()
}

fn entries(weir: &Weir, name: &str) -> Vec<Value> {
    weir.api(&format!("/api/v1/dns-cache?hostname={name}"))["entries"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_change_of_address_moves_traffic_without_a_reload() {
    let (_one, _two, port) = pair();
    let names = NameServer::start();
    names.point("app.test", [127, 0, 0, 1]);
    let weir = by_name(&names, &format!("http://app.test:{port}"), "");
    let mut client = weir.client();
    wait::until("the first answer", || weir.get("/").status == 200);
    assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).text(), "one");
    let generation = weir.generation();
    names.point("app.test", [127, 0, 0, 2]);
    // Not one request fails meanwhile, on a connection that lives through the change.
    wait::until("traffic moves", || {
        let response = client.exchange(bytes("GET", "/", &[], b""));
        assert_eq!(response.status, 200, "{}", response.text());
        response.text() == "two"
    });
    assert_eq!(weir.generation(), generation);
    let shown = entries(&weir, "app.test");
    assert_eq!((&shown[0]["ips"], &shown[0]["granted"]), (&serde_json::json!(["127.0.0.2"]), &true.into()));
}

#[test]
fn all_addresses_of_a_name_take_part() {
    let (one, two, port) = pair();
    let names = NameServer::start();
    names.say("app.test", Says::Addresses(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()], 1));
    let weir = by_name(&names, &format!("http://app.test:{port}"), "");
    wait::until("the first answer", || weir.get("/").status == 200);
    (0..8).for_each(|_| assert_eq!(weir.get("/").status, 200));
    assert!(one.requests().len() >= 4 && two.requests().len() >= 4);
}

#[test]
fn a_link_local_address_is_refused() {
    let names = NameServer::start();
    names.point("meta.test", [169, 254, 169, 254]);
    let weir = by_name(&names, "http://meta.test:80", "");
    let shown = wait::value("the answer is shown", || {
        entries(&weir, "meta.test").into_iter().find(|e| e["ips"] != serde_json::json!([]))
    });
    assert_eq!((&shown["granted"], &shown["reason"]), (&false.into(), &"denied_address".into()), "{shown}");
    assert_eq!(shown["ips"], serde_json::json!(["169.254.169.254"]));
    let response = weir.get("/latest/meta-data");
    assert_eq!(response.status, 503);
    assert!(response.text().contains("no_route_target_available"), "{}", response.text());
    assert_eq!(weir.metrics().sum("weir_upstream_connects_total", &[]), 0.0);
}

#[test]
fn a_denied_address_beside_a_good_one_is_left_out() {
    let (_one, two, port) = pair();
    let names = NameServer::start();
    names.say("app.test", Says::Addresses(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()], 1));
    let weir = by_name(&names, &format!("http://app.test:{port}"), "deny_ips = [\"127.0.0.2/32\"]");
    wait::until("the first answer", || weir.get("/").status == 200);
    (0..8).for_each(|_| assert_eq!(weir.get("/").text(), "one"));
    assert_eq!(two.accepted(), 0);
}

#[test]
fn a_name_without_address_is_503_until_it_has_one() {
    let (_one, _two, port) = pair();
    let names = NameServer::start();
    let weir = by_name(&names, &format!("http://app.test:{port}"), "");
    wait::until("a question", || names.asked() > 0);
    let response = weir.get("/");
    assert_eq!(response.status, 503);
    assert!(response.text().contains("no_route_target_available"), "{}", response.text());
    assert_eq!(entries(&weir, "app.test")[0]["reason"], "unresolved");
    names.point("app.test", [127, 0, 0, 1]);
    wait::until("the name has an address", || weir.get("/").status == 200);
}

#[test]
fn the_last_answer_serves_while_the_server_fails() {
    let (_one, _two, port) = pair();
    let names = NameServer::start();
    names.point("app.test", [127, 0, 0, 1]);
    let weir = by_name(&names, &format!("http://app.test:{port}"), "");
    wait::until("the first answer", || weir.get("/").status == 200);
    names.say("app.test", Says::Failure);
    wait::until("the answer is stale", || entries(&weir, "app.test")[0]["stale"] == true);
    assert_eq!(weir.get("/").text(), "one");
    names.say("app.test", Says::NoName);
    wait::until("two absences empty it", || weir.get("/").status == 503);
}
