//! Rate limits on the running proxy: who is admitted, what clients are told, what reloads keep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_tests::exchange::bytes;
use weir_tests::origin::answer;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Origin, Response, Weir};

/// weir before an origin, with these rules.
fn limited(origin: &Origin, rules: &str) -> Weir {
    Config::forwarding(origin.url()).tables(rules).start()
}

fn rule(name: &str, keys: &str) -> String {
    format!("[[rate_limit]]\nname = \"{name}\"\n{keys}\n")
}

/// The statuses of so many requests, one after the other.
#[track_caller]
fn statuses(weir: &Weir, path: &str, count: usize) -> Vec<u16> {
    let mut client = weir.client();
    (0..count).map(|_| client.exchange(bytes("GET", path, &[], b"")).status).collect()
}

fn field<'r>(response: &'r Response, name: &str) -> &'r str {
    response.fields.first(name).unwrap_or_default()
}

fn count(weir: &Weir, name: &str, outcome: &str) -> f64 {
    let labels = [format!("rule=\"{name}\""), format!("outcome=\"{outcome}\"")];
    weir.metrics().sum("weir_rule_requests_total", &labels.each_ref().map(String::as_str))
}

#[test]
fn who_waits_as_long_as_it_was_told_is_served() {
    let origin = Origin::ok("hello");
    for algorithm in ["token_bucket", "leaky_bucket", "fixed_window", "sliding_window"] {
        let weir = limited(&origin, &rule("a", &format!("algorithm = \"{algorithm}\"\nlimit = 3\nwindow = \"2s\"")));
        let mut client = weir.client();
        let mut ask = || client.exchange(bytes("GET", "/", &[], b""));
        let first: Vec<_> = (0..3).map(|_| ask().status).collect();
        assert_eq!(first, [200; 3], "{algorithm}");
        // A fixed window may end in between, and the next three are admitted as well.
        let denied = (0..4).map(|_| ask()).find(|response| response.status == 429).expect("one too many");
        assert_eq!(denied.text(), "Rate limit exceeded\n", "{algorithm}");
        assert_eq!(field(&denied, "Content-Type"), "text/plain; charset=utf-8");
        let seconds: u64 = field(&denied, "Retry-After").parse().expect("whole seconds");
        assert!((1..=3).contains(&seconds), "{algorithm}: {seconds}");
        // What a client that obeys does.
        std::thread::sleep(Duration::from_secs(seconds));
        assert_eq!(ask().status, 200, "{algorithm}");
    }
}

#[test]
fn rules_before_the_one_that_denies_stay_charged_and_those_behind_it_are_not() {
    let origin = Origin::ok("hello");
    let all = rule("all", "priority = 2\nlimit = 4\nwindow = \"1h\"");
    let login = rule("login", "priority = 3\nlimit = 1\nwindow = \"1h\"\nmatch = { path = \"/login\" }");
    let gate = rule("gate", "priority = 1\nlimit = 2\nwindow = \"1h\"\nmatch = { path = \"/gate\" }");
    let weir = limited(&origin, &[all, login, gate].concat());
    assert_eq!(statuses(&weir, "/login", 2), [200, 429], "all was charged for both");
    assert_eq!(statuses(&weir, "/gate", 3), [200, 200, 429], "all was charged for two more");
    assert_eq!(statuses(&weir, "/", 1), [429]);
    let denied = weir.get("/login");
    assert_eq!(field(&denied, "RateLimit-Policy"), "\"all\";q=4;w=3600", "login was not asked");
    assert_eq!(origin.requests().len(), 3);
    assert_eq!(
        (count(&weir, "all", "denied"), count(&weir, "login", "denied"), count(&weir, "gate", "denied")),
        (2.0, 1.0, 1.0)
    );
    assert_eq!(weir.reason("rate_limited"), 4);
}

#[test]
fn shadow_counts_in_silence_and_what_it_counted_holds_when_it_is_enforced() {
    let origin = Origin::ok("hello");
    let login = |mode: &str| rule("login", &format!("limit = 2\nwindow = \"1h\"\nmode = \"{mode}\""));
    let mut weir = limited(&origin, &login("shadow"));
    for _ in 0..5 {
        let response = weir.get("/");
        assert_eq!(response.status, 200);
        for name in ["RateLimit", "RateLimit-Policy", "RateLimit-Limit", "X-RateLimit-Limit", "Retry-After"] {
            assert!(response.fields.first(name).is_none(), "{name} tells of a shadow");
        }
    }
    assert_eq!((count(&weir, "login", "shadow"), count(&weir, "login", "denied")), (3.0, 0.0));
    let text = login("shadow");
    weir.reload(|config| config.replace(&text, &login("enforce")));
    assert_eq!(statuses(&weir, "/", 1), [429], "two were counted before");
    let text = login("enforce");
    weir.reload(|config| config.replace(&text, &login("shadow")));
    assert_eq!(statuses(&weir, "/", 1), [200]);
}

#[test]
fn reload_keeps_counts_until_what_they_mean_changes() {
    let origin = Origin::ok("hello");
    let login = |limit: u32, more: &str| rule("login", &format!("limit = {limit}\nwindow = \"1h\"\n{more}"));
    let mut weir = limited(&origin, &login(2, ""));
    assert_eq!(statuses(&weir, "/", 3), [200, 200, 429]);
    weir.reload(|config| config.replace(&login(2, ""), &login(2, "response = { status = 503 }")));
    assert_eq!(statuses(&weir, "/", 1), [503], "only the answer is another");
    weir.reload(|config| config.replace(&login(2, "response = { status = 503 }"), &login(3, "")));
    assert_eq!(statuses(&weir, "/", 4), [200, 200, 200, 429], "another limit begins anew");
}

#[test]
fn two_workers_admit_exactly_the_limit_together() {
    let origin = Origin::ok("hello");
    for algorithm in ["token_bucket", "fixed_window", "sliding_window"] {
        let keys = format!("algorithm = \"{algorithm}\"\nlimit = 300\nwindow = \"24h\"\nheaders = \"none\"");
        let weir = Config::forwarding(origin.url()).tables(&rule("a", &keys)).workers(2).start();
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // Many connections, so that both workers get some.
                    for _ in 0..5 {
                        let passed = statuses(&weir, "/", 20).into_iter().filter(|status| *status == 200).count();
                        admitted.fetch_add(passed, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 300, "{algorithm}");
        let served = weir.metrics();
        assert_eq!(served.sum("weir_rate_limit_keys", &["rule=\"a\""]), 1.0);
    }
}

#[test]
fn clients_are_told_in_the_manner_that_the_rule_has() {
    const DRAFT: [&str; 2] = ["RateLimit-Policy", "RateLimit"];
    const LEGACY: [&str; 6] = [
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ];
    let origin = Origin::ok("hello");
    for (manner, draft, legacy) in
        [("both", true, true), ("draft", true, false), ("legacy", false, true), ("none", false, false)]
    {
        let keys = format!("limit = 2\nwindow = \"1h\"\nburst = 2\nheaders = \"{manner}\"");
        let weir = limited(&origin, &rule("login", &keys));
        let (admitted, _, denied) = (weir.get("/"), weir.get("/"), weir.get("/"));
        for response in [&admitted, &denied] {
            DRAFT.iter().for_each(|name| assert_eq!(response.fields.first(name).is_some(), draft, "{manner}: {name}"));
            LEGACY
                .iter()
                .for_each(|name| assert_eq!(response.fields.first(name).is_some(), legacy, "{manner}: {name}"));
        }
        assert_eq!((admitted.fields.first("Retry-After"), denied.status), (None, 429), "{manner}");
        assert_eq!(field(&denied, "Cache-Control"), "no-store");
        let retry: u64 = field(&denied, "Retry-After").parse().expect("whole seconds");
        assert!((1790..=1800).contains(&retry), "{manner}: {retry}");
        if draft {
            assert_eq!(field(&admitted, "RateLimit-Policy"), "\"login\";q=2;w=3600");
            assert_eq!(field(&admitted, "RateLimit"), "\"login\";r=1;t=1800");
            assert_eq!(field(&denied, "RateLimit"), format!("\"login\";r=0;t={retry}"));
        }
        if legacy {
            let told = |response: &Response| {
                ["Limit", "Remaining", "Reset"].map(|name| field(response, &format!("X-RateLimit-{name}")).to_owned())
            };
            assert_eq!(told(&admitted), ["2", "1", "1800"]);
            assert_eq!(told(&denied), ["2", "0", &retry.to_string()]);
        }
    }
}

#[test]
fn upstreams_own_fields_stand_beside_the_drafts_and_give_way_to_the_older_ones() {
    let fields =
        [("RateLimit", "\"app\";r=5;t=1"), ("RateLimit-Policy", "\"app\";q=9;w=1"), ("X-RateLimit-Limit", "9")];
    let origin = Origin::answering(answer(200, &fields, "hello"));
    let weir = limited(&origin, &rule("a", "limit = 7\nwindow = \"1h\""));
    let response = weir.get("/");
    let all = |name| response.fields.all(name).collect::<Vec<_>>();
    assert_eq!(all("RateLimit"), ["\"app\";r=5;t=1", "\"a\";r=6;t=515"]);
    assert_eq!(all("RateLimit-Policy"), ["\"app\";q=9;w=1", "\"a\";q=7;w=3600"]);
    assert_eq!(all("X-RateLimit-Limit"), ["7"]);
    drop(weir);
    let weir = limited(&origin, &rule("a", "limit = 7\nwindow = \"1h\"\nheaders = \"draft\""));
    assert_eq!(weir.get("/").fields.all("X-RateLimit-Limit").collect::<Vec<_>>(), ["9"]);
}

#[test]
fn leaky_bucket_lets_requests_go_one_by_one_and_refuses_those_that_would_wait_too_long() {
    let origin = Origin::ok("hello");
    let keys = "algorithm = \"leaky_bucket\"\nlimit = 2\nwindow = \"2s\"\nburst = 10\ndelay_max = \"2500ms\"\nkey = []";
    let weir = limited(&origin, &rule("a", keys));
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..4).map(|_| weir.client()).collect();
    clients.iter().for_each(|client| client.write(bytes("GET", "/", &[], b"")));
    let mut answers: Vec<_> = clients.iter_mut().map(Client::response).collect();
    answers.sort_by_key(|response| response.status);
    let statuses: Vec<_> = answers.iter().map(|response| response.status).collect();
    // Two wait for one and two seconds; a third would wait for three.
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(field(&answers[3], "Retry-After"), "1");
    assert_eq!(origin.requests().len(), 3);
    assert_eq!(weir.metrics().sum("weir_rate_limit_waiting", &[]), 0.0);
}

#[test]
fn full_table_denies_passes_or_shares_as_the_rule_says() {
    let origin = Origin::ok("hello");
    for (on_full, denied) in [("deny", true), ("allow", false), ("share", false)] {
        let keys = format!(
            "limit = 1000\nwindow = \"1h\"\nkey = [\"client_ip\", \"header:x-key\"]\nkeys_max = 1024\non_full = \"{on_full}\"\nheaders = \"none\""
        );
        let weir = limited(&origin, &rule("a", &keys));
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (weir, refused) = (&weir, &refused);
                scope.spawn(move || {
                    let mut client = weir.client();
                    for n in 0..1500 {
                        let name = format!("{thread}-{n}");
                        let status = client.exchange(bytes("GET", "/", &[("X-Key", &name)], b"")).status;
                        refused.fetch_add(usize::from(status == 429), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(refused.into_inner() > 0, denied, "{on_full}");
        assert!(count(&weir, "a", "limit_hit") > 0.0, "{on_full}: the table was never full");
        assert_eq!(weir.metrics().sum("weir_rate_limit_keys", &["rule=\"a\""]), 1024.0);
    }
}

#[test]
fn keys_tell_clients_apart_by_what_the_rule_names() {
    let origin = Origin::ok("hello");
    let weir = limited(&origin, &rule("a", "limit = 1\nwindow = \"1h\"\nkey = [\"header:x-key\", \"query:v\"]"));
    let ask = |path: &str, fields: &[(&str, &str)]| weir.request("GET", path, fields, b"").status;
    assert_eq!(ask("/", &[("X-Key", "a")]), 200);
    assert_eq!(ask("/other", &[("x-key", "a")]), 429, "the path is no part");
    assert_eq!(ask("/", &[("X-Key", "b")]), 200);
    assert_eq!(ask("/?v=1", &[("X-Key", "a")]), 200);
    assert_eq!(ask("/", &[]), 200, "absent");
    assert_eq!(ask("/", &[("X-Key", "")]), 200, "empty");
    assert_eq!(ask("/", &[]), 429);
}

#[test]
fn denied_request_is_answered_as_the_rule_says_and_its_connection_stays() {
    let origin = Origin::ok("hello");
    let template = "[[template]]\nname = \"slow\"\nbody = \"<p>later</p>\"\n";
    let response = "response = { status = 503, content_type = \"text/html\", template = \"slow\", headers = { X-Why = \"limit\" } }";
    let weir =
        limited(&origin, &(template.to_owned() + &rule("a", &format!("limit = 1\nwindow = \"1h\"\n{response}"))));
    let mut client = weir.client();
    assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let denied = client.exchange(bytes("POST", "/", &[], b"body"));
    assert_eq!((denied.status, denied.text().as_str()), (503, "<p>later</p>"));
    assert_eq!((field(&denied, "Content-Type"), field(&denied, "X-Why")), ("text/html", "limit"));
    client.write(bytes("HEAD", "/", &[], b""));
    let head = client.response_to("HEAD");
    assert_eq!((head.status, head.body.len()), (503, 0));
    assert_eq!(origin.requests().len(), 1);
    let line = weir.wait_log("the denied POST", |line| line["method"] == "POST");
    assert_eq!((&line["status"], &line["reason"]), (&503.into(), &"rate_limited".into()));
}

/// What `weir check` says of a rule with these keys.
fn complaint(keys: &str, more: &str) -> (Option<i32>, String) {
    let dir = weir_tests::dir::Dir::new();
    let text = format!("{more}\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n{}", rule("login", keys));
    dir.write("weir.toml", text);
    let path = dir.join("weir.toml");
    let exit = command(&["check", "--config", path.to_str().expect("a path")]);
    (exit.code, exit.stderr)
}

#[test]
fn wrong_values_are_told_with_their_rule_and_key() {
    for (keys, expected) in [
        ("limit = 0", "limit = 0 is out of range"),
        (
            "limit = 2_000_000\nwindow = \"1s\"",
            "limit = 2000000 is more than a million a second: 1000000 in this window",
        ),
        ("window = \"999ms\"", "window = \"999ms\" is out of range; allowed: \"1s\" to \"24h\""),
        ("window = \"25h\"", "window = \"25h\" is out of range"),
        ("limit = 5\nburst = 51", "burst = 51 is more than 10 x limit"),
        ("algorithm = \"fixed_window\"\nburst = 5", "burst is for buckets"),
        ("delay_max = \"1s\"", "delay_max is for leaky_bucket"),
        ("algorithm = \"leaky_bucket\"\ndelay_max = \"11s\"", "delay_max = \"11s\" is out of range"),
        ("algorithm = \"leaky\"", "algorithm = \"leaky\" is unknown"),
        ("key = [\"client-ip\"]", "key"),
        ("key = [\"header:X-Forwarded-For\"]", "client_ip is the client"),
        ("key = [\"country\"]", "geoip.db"),
        ("keys_max = 1023", "keys_max = 1023 is out of range"),
        ("window = \"1h\"\nidle = \"1h\"", "idle is less than two windows"),
        ("scope = \"cluster\"", "scope = \"cluster\" is not available yet"),
        ("response = { status = 399 }", "response.status = 399 is out of range"),
        ("response = { headers = { RateLimit = \"x\" } }", "header RateLimit is not for a rule to set"),
        ("response = { headers = { x-ratelimit-reset = \"1\" } }", "header x-ratelimit-reset is not for a rule to set"),
        ("response = { template = \"none\" }", "there is no template \"none\""),
        ("kernel = { ttl = \"2h\" }", "ttl is above ttl_max"),
        ("kernel = { after = 0 }", "kernel.after = 0 is out of range"),
        ("keys_max = 16_000_000", "limits.memory_max allows 256 MiB"),
        ("match = { pth = \"/\" }", "pth"),
        ("priority = \"high\"", "priority must be a whole number"),
    ] {
        let (code, said) = complaint(keys, "");
        assert_eq!(code, Some(1), "{keys}: {said}");
        let line = said.lines().find(|line| line.contains(expected));
        let line = line.unwrap_or_else(|| panic!("{keys}: \"{expected}\" is not in: {said}"));
        assert!(line.contains("rate_limit login: "), "{line}");
    }
}

#[test]
fn key_that_clients_make_up_is_warned_of_and_memory_may_be_raised() {
    let (code, said) = complaint("key = [\"header:x-key\", \"cookie:c\"]", "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: rate_limit login: key is made only of what a client can make up anew"), "{said}");
    let (code, said) = complaint("key = [\"header:x-key\", \"client_ip\"]", "");
    assert_eq!((code, said.contains("warning")), (Some(0), false), "{said}");
    let (code, said) = complaint("keys_max = 50_000", "[limits]\nmemory_max = \"1MiB\"");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("keys_max = 50000 takes 2 MiB, with the rules before it 2 MiB: limits.memory_max allows 1 MiB"),
        "{said}"
    );
    let (code, said) = complaint("keys_max = 50_000", "[limits]\nmemory_max = \"2MiB\"");
    assert_eq!(code, Some(0), "{said}");
    let twice = format!("[limits]\nmemory_max = \"1MiB\"\n{}", rule("login", ""));
    let (_, said) = complaint("keys_max = 1024", &twice);
    assert!(said.contains("name login is taken"), "{said}");
}
