//! The policies on a request's way, in their order: ban, requests in flight, rate limits, then the route.

use std::time::{Duration, Instant};

use weir_tests::exchange::{bytes, request};
use weir_tests::weir::command;
use weir_tests::{Client, Config, Ended, Gate, Origin, Response, Weir, wait};

const TRUST: &str = "[[client.proxy]]\ncidrs = [\"127.0.0.9\"]";

/// GETs a path as a peer at `source`.
#[track_caller]
fn get_from(weir: &Weir, source: &str, path: &str) -> Response {
    Client::connect_from(source, weir.web()).exchange(bytes("GET", path, &[], b""))
}

/// GETs a path for a client that a trusted proxy names.
#[track_caller]
fn get_for(weir: &Weir, client: &str, path: &str) -> Response {
    let fields = [("X-Forwarded-For", client)];
    Client::connect_from("127.0.0.9", weir.web()).exchange(bytes("GET", path, &fields, b""))
}

fn limit(name: &str, keys: &str) -> String {
    format!("[[rate_limit]]\nname = \"{name}\"\n{keys}")
}

/// Charges and refusals of a rule.
fn counted(weir: &Weir, rule: &str, outcome: &str) -> f64 {
    let labels = [format!("rule=\"{rule}\""), format!("outcome=\"{outcome}\"")];
    weir.metrics().sum("weir_rule_requests_total", &labels.each_ref().map(String::as_str))
}

#[test]
fn a_banned_peer_is_reset_and_a_banned_client_is_told_and_neither_is_charged() {
    let origin = Origin::ok("hello");
    let tables = format!(
        "{TRUST}\n[[ban]]\ncidr = \"127.0.0.2/32\"\nreason = \"spam\"\n[[ban]]\ncidr = \"203.0.113.0/24\"\n\
         [[ban]]\ncidr = \"127.0.0.9/32\"\n{}",
        limit("all", "limit = 2\nkey = []")
    );
    let weir = Config::forwarding(origin.url()).tables(&tables).workers(2).start();
    for _ in 0..4 {
        if let Ok(mut client) = Client::try_connect_from("127.0.0.2".parse().expect("an address"), weir.web()) {
            // Whichever comes upon the reset first is told of it, and nobody after.
            if client.try_write(&bytes("GET", "/", &[], b"")).is_ok() {
                assert_eq!(client.drain(), (Vec::new(), Ended::Reset));
            }
        }
        let response = get_for(&weir, "203.0.113.9", "/banned");
        assert_eq!(response.status, 403);
        assert!(response.fields.first("RateLimit").is_none());
    }
    // A trusted proxy is never banned itself, and the limit still has all it had.
    assert_eq!(get_for(&weir, "127.0.0.9", "/").status, 200);
    assert_eq!(get_from(&weir, "127.0.0.1", "/").status, 200);
    assert_eq!(get_from(&weir, "127.0.0.1", "/").status, 429);
    weir.wait_reason("banned", 4);
    let line = weir.wait_log("a ban", |line| line["path"] == "/banned");
    assert_eq!((&line["reason"], &line["ban"]), (&"banned".into(), &"203.0.113.0/24".into()));
    assert_eq!(line["client_ip"], "203.0.113.9");
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_new_ban_ends_the_open_connections_of_its_peers() {
    let origin = Origin::scripted(|mut conn, _| {
        while let Some(request) = conn.request() {
            if request.target == "/hangs" {
                conn.ended();
                return;
            }
            conn.send(weir_tests::origin::ok("hello"));
        }
    });
    let mut weir = Config::forwarding(origin.url()).workers(2).tables(TRUST).start();
    let mut idle: Vec<_> = (0..4).map(|_| Client::connect_from("127.0.0.2", weir.web())).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200));
    let mut busy = Client::connect_from("127.0.0.2", weir.web());
    busy.write(bytes("GET", "/hangs", &[], b""));
    origin.wait_requests(5);
    let mut other = Client::connect_from("127.0.0.3", weir.web());
    assert_eq!(other.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let mut proxy = Client::connect_from("127.0.0.9", weir.web());
    proxy.write(bytes("GET", "/", &[("X-Forwarded-For", "203.0.113.9")], b""));
    assert_eq!(proxy.response().status, 200);
    weir.reload(|config| config.tables("[[ban]]\ncidr = \"127.0.0.2/31\"\n[[ban]]\ncidr = \"127.0.0.9\""));
    let three_too = [&mut other];
    for client in idle.iter_mut().chain([&mut busy]).chain(three_too) {
        assert_eq!(client.ended(), Ended::Reset);
    }
    assert_eq!(weir.metrics().sum("weir_connections_reset_total", &[]), 6.0);
    let line = weir.wait_log("the cut request", |line| line["path"] == "/hangs");
    assert_eq!((&line["reason"], &line["ban"]), (&"banned".into(), &"127.0.0.2/31".into()));
    proxy.write(bytes("GET", "/", &[("X-Forwarded-For", "203.0.113.9")], b""));
    assert_eq!(proxy.response().status, 200);
}

#[test]
fn a_ban_of_the_api_ends_connections_at_once_and_a_finding_tells_of_it() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).workers(2).tables(TRUST).start();
    let mut open: Vec<_> = (0..4).map(|_| Client::connect_from("127.0.0.2", weir.web())).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200));
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    let ban = |body: &str| request(weir.management(), "POST", "/api/v1/bans", &fields, body.as_bytes()).status;
    assert!(matches!(ban(r#"{"cidr": "127.0.0.2", "ttl": "1h", "reason": "spam"}"#), 200 | 201));
    assert!(matches!(ban(r#"{"cidr": "203.0.113.0/24", "ttl": "1h", "reason": "spam"}"#), 200 | 201));
    open.iter_mut().for_each(|client| assert_eq!(client.ended(), Ended::Reset));
    // Those were the first ban's: the second may reach one of the workers later.
    wait::until("a refusal", || get_for(&weir, "203.0.113.9", "/").status == 403);
    let findings = || weir.api("/api/v1/audit/findings?finding_type=banned")["items"].as_array().cloned();
    let found = wait::value("a finding", || findings().filter(|items| !items.is_empty()));
    assert_eq!((&found[0]["source_group"], &found[0]["hostname"]), (&"web".into(), &"test".into()));
    assert_eq!(
        (&found[0]["reason"], &found[0]["status"], &found[0]["count"]),
        (&"banned".into(), &403.into(), &1.into())
    );
}

#[test]
fn limits_are_charged_in_order_until_one_denies() {
    let origin = Origin::ok("hello");
    let tables = [
        limit("second", "priority = 20\nlimit = 1\nwindow = \"1h\""),
        limit("first", "priority = 10\nlimit = 5\nwindow = \"1h\""),
        limit("third", "priority = 30\nlimit = 1\nwindow = \"1h\"\nkey = []"),
        limit("others", "limit = 1\nmatch = { path = { prefix = \"/else\" } }"),
    ];
    let weir = Config::forwarding(origin.url()).tables(&tables.join("\n")).start();
    let first = weir.get("/");
    assert_eq!(first.status, 200);
    assert_eq!(
        first.fields.first("RateLimit-Policy"),
        Some("\"first\";q=5;w=3600, \"second\";q=1;w=3600, \"third\";q=1;w=3600")
    );
    let denied = weir.get("/");
    assert_eq!((denied.status, denied.text().as_str()), (429, "Rate limit exceeded\n"));
    assert_eq!(denied.fields.first("Cache-Control"), Some("no-store"));
    assert!(denied.fields.first("X-Request-Id").is_some());
    let state = denied.fields.first("RateLimit").expect("what is left");
    assert!(
        state.starts_with("\"first\";r=3;t=") && state.contains("\"second\";r=0;t=") && !state.contains("third"),
        "{state}"
    );
    let retry: u64 = denied.fields.first("Retry-After").expect("when").parse().expect("seconds");
    assert!((3590..=3600).contains(&retry), "{retry}");
    // The denier charged nothing, those before it did.
    assert_eq!(weir.get("/").fields.first("RateLimit").map(|state| state.contains("\"first\";r=2;")), Some(true));
    assert_eq!((counted(&weir, "first", "matched"), counted(&weir, "second", "denied")), (3.0, 2.0));
    assert_eq!((counted(&weir, "third", "evaluated"), counted(&weir, "others", "matched")), (1.0, 0.0));
    let line = weir.wait_log("a denial", |line| line["status"] == 429);
    assert_eq!((&line["reason"], &line["limit"]), (&"rate_limited".into(), &"second".into()));
    assert_eq!(line["limit_id"].as_str().map(str::len), Some(36));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_limit_counts_exactly_over_both_workers() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).workers(2).tables(&limit("all", "limit = 50\nwindow = \"1h\"")).start();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let address = weir.web();
            std::thread::spawn(move || {
                let ask = |_| request(address, "GET", "/", &[], b"").status;
                (0..20).map(ask).filter(|status| *status == 200).count()
            })
        })
        .collect();
    let admitted: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    assert_eq!(admitted, 50);
    // A request is counted once its client has the answer.
    weir.wait_reason("rate_limited", 110);
    assert_eq!(weir.reason("rate_limited"), 110);
}

#[test]
fn every_kind_of_answer_tells_what_is_left() {
    let origin = Origin::answering(weir_tests::origin::answer(200, &[("RateLimit-Limit", "999")], "hello"));
    let config = Config::new()
        .route(1, "path_prefix = \"/up\"", &[&origin.url()])
        .route(2, "path_prefix = \"/moved\"\naction = \"redirect\"\n[route.redirect]\nmode = \"same_host_path\"\ntarget = \"/x\"", &[])
        .route(3, "path_prefix = \"/page\"\n[[route.target]]\nstatic = { status = 200, body = \"static\" }", &[])
        .tables(&limit("all", "limit = 100"));
    let weir = config.start();
    for (path, status) in [("/up", 200), ("/moved", 302), ("/page", 200), ("/nothing", 404)] {
        let response = weir.get(path);
        assert_eq!(response.status, status, "{path}");
        let limits: Vec<_> = response.fields.all("RateLimit-Limit").collect();
        assert_eq!(limits, ["100"], "{path}");
        assert!(response.fields.first("RateLimit").is_some_and(|state| state.starts_with("\"all\";r=9")), "{path}");
    }
    // What is refused before the limits has nothing to tell.
    assert!(weir.get("/%zz").fields.first("RateLimit").is_none());
}

#[test]
fn a_shadow_is_charged_and_recorded_and_nobody_sees_it() {
    let origin = Origin::ok("hello");
    let rule = |mode: &str| limit("trial", &format!("limit = 2\nwindow = \"1h\"\nmode = \"{mode}\""));
    let mut weir = Config::forwarding(origin.url()).start();
    weir.reload(|config| config.tables(&rule("shadow")));
    for _ in 0..3 {
        let response = weir.get("/");
        assert_eq!((response.status, response.fields.first("RateLimit")), (200, None));
    }
    assert_eq!((counted(&weir, "trial", "shadow"), counted(&weir, "trial", "denied")), (1.0, 0.0));
    // Its counts stay when it is enforced.
    let text = weir.text().replace("mode = \"shadow\"", "mode = \"enforce\"");
    weir.reload_text(&text);
    wait::until("the rule to be enforced", || weir.generation() == 3);
    assert_eq!(weir.get("/").status, 429);
}

#[test]
fn a_leaky_bucket_lets_the_excess_wait_and_drains_with_it() {
    let origin = Origin::ok("hello");
    let keys = "algorithm = \"leaky_bucket\"\nlimit = 5\nwindow = \"1s\"\nburst = 10\ndelay_max = \"10s\"";
    let weir = Config::forwarding(origin.url()).tables(&limit("slow", keys)).start();
    let began = Instant::now();
    let mut clients: Vec<_> = (0..4).map(|_| weir.client()).collect();
    clients.iter().for_each(|client| client.write(bytes("GET", "/", &[], b"")));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    let took = began.elapsed();
    assert!((Duration::from_millis(550)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let line = weir.wait_log("a wait", |line| line["phases_us"]["policy"].as_u64().is_some_and(|us| us > 300_000));
    assert_eq!(line["status"], 200);
    // A drain waits for those that wait.
    let mut waiting: Vec<_> = (0..3).map(|_| weir.client()).collect();
    waiting.iter().for_each(|client| client.write(bytes("GET", "/", &[], b"")));
    origin.wait_requests(5);
    let ended = std::thread::spawn(move || weir.stop());
    waiting.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    ended.join().expect("an end in order");
}

#[test]
fn a_client_that_leaves_does_not_wait_for_its_turn() {
    let origin = Origin::ok("hello");
    let keys = "algorithm = \"leaky_bucket\"\nlimit = 1\nwindow = \"1s\"\nburst = 10\ndelay_max = \"10s\"";
    let weir = Config::forwarding(origin.url()).tables(&limit("slow", keys)).start();
    assert_eq!(weir.get("/").status, 200);
    let client = weir.client();
    client.write(bytes("GET", "/left", &[], b""));
    wait::until("the request to wait", || weir.metrics().sum("weir_requests_active", &[]) >= 1.0);
    client.reset();
    weir.wait_reason("client_cancelled", 1);
    assert!(origin.requests().iter().all(|request| request.target != "/left"));
}

#[test]
fn requests_in_flight_are_judged_before_the_limits() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            held.pass();
            conn.send(weir_tests::origin::ok("hello"));
        }
    });
    let tables = format!("[connections]\nrequests_per_client_max = 1\n{}", limit("all", "limit = 2\nwindow = \"1h\""));
    let weir = Config::forwarding(origin.url()).tables(&tables).start();
    let mut first = weir.client();
    first.write(bytes("GET", "/", &[], b""));
    origin.wait_requests(1);
    for _ in 0..3 {
        let refused = weir.get("/");
        assert_eq!((refused.status, refused.fields.first("RateLimit")), (429, None));
    }
    weir.wait_reason("client_concurrency", 3);
    gate.open();
    assert_eq!(first.response().status, 200);
    wait::until("the first to be over", || weir.get("/").status == 200);
}

#[test]
fn explain_shows_rules_with_the_predicate_that_fails() {
    let tables = [
        limit("login", "limit = 1\nmatch = { path = \"/login\", method = \"POST\" }"),
        limit("plan", "limit = 1\nmode = \"shadow\"\nmatch = { header.x-plan = \"free\" }"),
        "[[ban]]\ncidr = \"203.0.113.0/24\"\nreason = \"spam\"".to_owned(),
    ];
    let weir = Config::forwarding("http://127.0.0.1:1").tables(&tables.join("\n")).start();
    let body = r#"{"method": "GET", "url": "http://a/login", "headers": {"X-Plan": "free"}, "client": "203.0.113.9"}"#;
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    for _ in 0..3 {
        let record = request(weir.management(), "POST", "/api/v1/explain", &fields, body.as_bytes()).json();
        let considered = record["considered"].as_array().expect("rules");
        assert_eq!((&considered[0]["rule"], &considered[0]["verdict"]), (&"login".into(), &"failed".into()));
        assert_eq!((&considered[0]["predicate"], &considered[0]["actual"]), (&"method".into(), &"\"GET\"".into()));
        assert_eq!((&considered[1]["rule"], &considered[1]["verdict"]), (&"plan".into(), &"matched".into()));
        assert_eq!(considered[1]["mode"], "shadow");
        assert_eq!((&record["fault"]["reason"], &record["ban"]["reason"]), (&"banned".into(), &"spam".into()));
    }
    assert_eq!(counted(&weir, "plan", "evaluated"), 0.0);
    let config = weir.path("weir.toml");
    let exit = command(&["explain", "GET", "http://a/login", "--config", config.to_str().expect("a path")]);
    let row = exit.stdout.lines().find(|line| line.starts_with("login")).unwrap_or_else(|| panic!("{}", exit.stdout));
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words, ["login", "rate_limit", "enforce", "failed", "method", "equals", "\"POST\"", "\"GET\""]);
}
