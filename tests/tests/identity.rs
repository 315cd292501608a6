//! Who the client is: trusted proxies and their headers, what upstreams, balancing, logs and explain make of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use weir_tests::exchange::bytes;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Origin, Request, Response, Weir, wait};

/// The peer that the configurations below trust; 127.0.0.1 is trusted by none.
const PROXY: &str = "127.0.0.9";
const TRUST: &str = "[[client.proxy]]\ncidrs = [\"127.0.0.9\", \"127.0.1.0/24\"]";

/// GETs a path as a peer at `source`.
#[track_caller]
fn get_from(weir: &Weir, source: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    Client::connect_from(source, weir.web()).exchange(bytes("GET", path, fields, b""))
}

/// The forwarding headers that an upstream got, by name.
fn field<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request.fields.0.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}

/// The line of the only request to `path`.
fn logged(weir: &Weir, path: &str) -> serde_json::Value {
    weir.wait_log(path, |line| line["path"] == path)
}

#[test]
fn a_trusted_peers_chain_names_the_client_and_an_untrusted_peers_is_gone() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).tables(TRUST).start();
    let claims = [
        ("X-Forwarded-For", "evil, 203.0.113.9, 127.0.1.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Prefix", "/p"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Request-Id", "given-1"),
    ];
    let response = get_from(&weir, PROXY, "/trusted", &claims);
    assert_eq!((response.status, response.fields.first("X-Request-Id")), (200, Some("given-1")));
    let seen = origin.last();
    assert_eq!(field(&seen, "X-Forwarded-For"), ["203.0.113.9, 127.0.1.7, 127.0.0.9"]);
    assert_eq!(field(&seen, "X-Real-IP"), ["203.0.113.9"]);
    assert_eq!(field(&seen, "X-Forwarded-Proto"), ["https"]);
    assert_eq!(field(&seen, "X-Forwarded-Host"), ["shop.example"]);
    assert_eq!(field(&seen, "X-Forwarded-Prefix"), ["/p"]);
    assert_eq!(field(&seen, "X-Forwarded-Port"), [weir.web().port().to_string()]);
    assert_eq!(field(&seen, "X-Request-Id"), ["given-1"]);
    assert!(field(&seen, "Forwarded").is_empty(), "{seen:?}");
    let line = logged(&weir, "/trusted");
    assert_eq!((&line["client_ip"], &line["peer_ip"]), (&"203.0.113.9".into(), &PROXY.into()));
    assert_eq!(line["request_id"], "given-1");
    assert_ne!(line["id"], "given-1");

    let response = get_from(&weir, "127.0.0.1", "/untrusted", &claims);
    assert_ne!(response.fields.first("X-Request-Id"), Some("given-1"));
    let seen = origin.last();
    assert_eq!(field(&seen, "X-Forwarded-For"), ["127.0.0.1"]);
    assert_eq!(field(&seen, "X-Real-IP"), ["127.0.0.1"]);
    assert_eq!(field(&seen, "X-Forwarded-Proto"), ["http"]);
    assert_eq!(field(&seen, "X-Forwarded-Host"), ["test"]);
    assert!(field(&seen, "X-Forwarded-Prefix").is_empty(), "{seen:?}");
    assert_ne!(field(&seen, "X-Request-Id"), ["given-1"]);
    let line = logged(&weir, "/untrusted");
    assert_eq!((&line["client_ip"], &line["peer_ip"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
    assert_eq!(line["request_id"], line["id"]);
}

#[test]
fn what_does_not_name_a_client_is_refused_before_the_route() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).tables(TRUST).start();
    let hops = vec!["127.0.1.7"; 33].join(", ");
    for value in ["203.0.113.9, garbage", "203.0.113.9, fe80::1%eth0", &hops] {
        let fields = [("X-Forwarded-For", value), ("Accept", "application/json")];
        let response = get_from(&weir, PROXY, "/", &fields);
        assert_eq!(response.status, 400, "{value}");
        assert_eq!(response.json()["reason"], "client_identity_invalid", "{value}");
    }
    weir.wait_reason("client_identity_invalid", 3);
    assert!(origin.requests().is_empty());
    assert_eq!(get_from(&weir, "127.0.0.1", "/", &[("X-Forwarded-For", &hops)]).status, 200);
    let line = weir.wait_log("a refusal", |line| line["reason"] == "client_identity_invalid");
    assert_eq!((&line["client_ip"], &line["peer_ip"]), (&serde_json::Value::Null, &PROXY.into()));
}

#[test]
fn a_single_address_stands_in_one_line_of_its_own_header() {
    let origin = Origin::ok("hello");
    let keys = format!("{TRUST}\nheader = \"X-Client\"\nmode = \"single_ip\"\non_missing = \"reject\"");
    let weir = Config::forwarding(origin.url()).tables(&keys).start();
    assert_eq!(get_from(&weir, PROXY, "/one", &[("X-Client", "203.0.113.9:4711")]).status, 200);
    assert_eq!(logged(&weir, "/one")["client_ip"], "203.0.113.9");
    assert_eq!(field(&origin.last(), "X-Client"), ["203.0.113.9:4711"]);
    let two = [("X-Client", "203.0.113.9"), ("X-Client", "203.0.113.9")];
    assert_eq!(get_from(&weir, PROXY, "/two", &two).status, 400);
    assert_eq!(get_from(&weir, PROXY, "/none", &[]).status, 400);
    // From others the upstream must not take it for a proxy's word.
    assert_eq!(get_from(&weir, "127.0.0.1", "/other", &[("X-Client", "6.6.6.6")]).status, 200);
    assert!(field(&origin.last(), "X-Client").is_empty());
}

#[test]
fn forwarded_goes_on_with_the_trusted_elements() {
    let origin = Origin::ok("hello");
    let keys = format!("{TRUST}\nheader = \"forwarded\"");
    let weir = Config::forwarding(origin.url()).listener("forwarded = \"both\"").tables(&keys).start();
    let value = "for=evil, for=\"[2001:db8::7]:1\";proto=https, for=127.0.1.7";
    assert_eq!(get_from(&weir, PROXY, "/", &[("Forwarded", value)]).status, 200);
    let seen = origin.last();
    let trusted = "for=\"[2001:db8::7]:1\";proto=https, for=127.0.1.7, for=127.0.0.9;host=\"test\";proto=http";
    assert_eq!(field(&seen, "Forwarded"), [trusted]);
    assert_eq!(field(&seen, "X-Forwarded-For"), ["2001:db8::7, 127.0.1.7, 127.0.0.9"]);
}

#[test]
fn routes_and_balancing_go_by_the_client() {
    let (a, b, own) = (Origin::ok("a"), Origin::ok("b"), Origin::ok("own"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/\"\nclient = [\"203.0.113.0/24\"]", &[&own.url()])
        .route(2, "path_prefix = \"/\"\nbalance = \"hash_ketama\"\nhash_key = \"client_ip\"", &[&a.url(), &b.url()])
        .tables(TRUST)
        .start();
    let ask = |client: &str| get_from(&weir, PROXY, "/", &[("X-Forwarded-For", client)]).text();
    assert_eq!(ask("203.0.113.9"), "own");
    assert_eq!(get_from(&weir, "127.0.0.1", "/", &[("X-Forwarded-For", "203.0.113.9")]).text(), ask("127.0.0.1"));
    let answers: Vec<_> = (1..20).map(|n| ask(&format!("198.51.100.{n}"))).collect();
    assert!(answers.contains(&"a".to_owned()) && answers.contains(&"b".to_owned()), "{answers:?}");
    let again: Vec<_> = (1..20).map(|n| ask(&format!("198.51.100.{n}"))).collect();
    assert_eq!(answers, again);
}

#[test]
fn a_list_in_a_file_is_read_again_when_it_changes() {
    let origin = Origin::ok("hello");
    let list = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(list.path(), "# none of ours\n192.0.2.0/24\n").expect("written");
    let table = format!("[[client.proxy]]\nfile = \"{}\"", list.path().display());
    let weir = Config::forwarding(origin.url()).tables(&table).workers(2).start();
    let client = |path: &str| {
        get_from(&weir, PROXY, path, &[("X-Forwarded-For", "203.0.113.9")]);
        logged(&weir, path)["client_ip"].as_str().map(str::to_owned)
    };
    assert_eq!(client("/before").as_deref(), Some(PROXY));
    let trusted = |n: u32| client(&format!("/{n}")).as_deref() == Some("203.0.113.9");
    std::fs::write(list.path(), "192.0.2.0/24\n127.0.0.0/8\n").expect("written");
    let mut n = 0;
    wait::until("both workers to trust it", || {
        n += 10;
        (n..n + 10).all(trusted)
    });
    // A bad list changes nothing.
    std::fs::write(list.path(), "127.0.0.0/8\nnonsense\n").expect("written");
    wait::until("a word on the bad list", || weir.stderr().contains("line 2") || weir.stdout().contains("line 2"));
    assert!(trusted(1_000_000));
    let generation = weir.generation();
    assert_eq!(generation, 1);
}

#[test]
fn unix_peers_are_unknown_unless_they_are_trusted() {
    let origin = Origin::ok("hello");
    let config = |trust: &str| {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s");
        let tables = format!(
            "[[listener]]\nname = \"sock\"\nbind = \"unix:{}\"\n[[route]]\nid = 1\nlistener = \"sock\"\n\
             path_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"\n{trust}",
            path.display(),
            origin.url()
        );
        (Config::new().tables(&tables).start(), path, dir)
    };
    let ask = |path: &std::path::Path, target: &str| {
        let mut stream = UnixStream::connect(path).expect("connects");
        stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        let fields = [("X-Forwarded-For", "203.0.113.9"), ("Connection", "close")];
        stream.write_all(&bytes("GET", target, &fields, b"")).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let (weir, path, _dir) = config("");
    ask(&path, "/plain");
    assert_eq!(logged(&weir, "/plain")["client_ip"], serde_json::Value::Null);
    assert_eq!(field(&origin.last(), "X-Forwarded-For"), ["unix"]);
    drop(weir);
    let (weir, path, _dir) = config("[[client.proxy]]\ncidrs = [\"unix\"]");
    ask(&path, "/trusted");
    assert_eq!(logged(&weir, "/trusted")["client_ip"], "203.0.113.9");
    assert_eq!(field(&origin.last(), "X-Forwarded-For"), ["203.0.113.9, unix"]);
}

#[test]
fn explain_says_who_the_client_is() {
    let weir = Config::forwarding("http://127.0.0.1:1").tables(TRUST).start();
    let config = weir.path("weir.toml");
    let explain = |client: &str, header: &str| {
        let config = config.to_str().expect("a path");
        let line = ["explain", "GET", "http://a/", "--client", client, "-H", header, "--json", "--config", config];
        let exit = command(&line);
        let record: serde_json::Value = serde_json::from_str(&exit.stdout).unwrap_or_else(|e| panic!("{e}: {exit:?}"));
        record
    };
    let named = explain(PROXY, "X-Forwarded-For: 203.0.113.9");
    assert_eq!((&named["client"]["ip"], &named["client"]["source"]), (&"203.0.113.9".into(), &"header".into()));
    let peer = explain("198.51.100.7", "X-Forwarded-For: 203.0.113.9");
    assert_eq!((&peer["client"]["ip"], &peer["client"]["source"]), (&"198.51.100.7".into(), &"peer".into()));
    let invalid = explain(PROXY, "X-Forwarded-For: evil");
    assert_eq!(invalid["fault"]["reason"], "client_identity_invalid");
}

#[test]
fn entries_that_overlap_are_no_configuration() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("weir.toml");
    let text = "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n\
                [[client.proxy]]\ncidrs = [\"10.0.0.0/8\"]\n[[client.proxy]]\ncidrs = [\"10.1.0.0/16\"]\n";
    std::fs::write(&path, text).expect("written");
    let exit = command(&["check", "--config", path.to_str().expect("a path")]);
    assert_ne!(exit.code, Some(0));
    let told = format!("{}{}", exit.stdout, exit.stderr);
    assert!(told.contains(":8: client, proxy #2: cidrs overlaps: 10.1.0.0/16 is in entry 1 too"), "{told}");
}
