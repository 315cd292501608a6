//! Rules on the real binary: what they match, what a shadow and a failing expression do, what `check` and `explain` say.

use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Origin, Weir};

/// A rule that lets the first request that it matches pass, and no other.
fn once(name: &str, keys: &str) -> String {
    format!("[[rate_limit]]\nname = \"{name}\"\nlimit = 1\nwindow = \"1h\"\nkey = []\n{keys}\n")
}

#[track_caller]
fn status(weir: &Weir, method: &str, path: &str, fields: &[(&str, &str)]) -> u16 {
    weir.request(method, path, fields, b"").status
}

/// A rule, what it matches twice, what it does not match.
type Case =
    (&'static str, (&'static str, &'static str, &'static [(&'static str, &'static str)]), (&'static str, &'static str));

#[test]
fn rules_match_what_they_ask_for_and_nothing_else() {
    let cases: [Case; 8] = [
        (r#"match = { method = "PUT", path.prefix = "/api" }"#, ("PUT", "/%61pi/x", &[]), ("PUT", "/apix")),
        (
            r#"match = { header.x-plan = ["free", "trial"] }"#,
            ("GET", "/", &[("X-Plan", "pro"), ("x-plan", "free")]),
            ("GET", "/"),
        ),
        (r#"match = { query.a = "1 2" }"#, ("GET", "/?a=0&a=1+2", &[]), ("GET", "/?a=1")),
        (r#"match = { cookie.id = "7" }"#, ("GET", "/", &[("Cookie", "x=1; id=7; id=8")]), ("GET", "/")),
        (
            r#"match = { client_ip.cidr = "127.0.0.0/8", not = { header.x-in.present = false } }"#,
            ("GET", "/", &[("X-In", "")]),
            ("GET", "/"),
        ),
        (r#"when = 'method == "PATCH" && path.matches("^/[a-z]+$")'"#, ("PATCH", "/abc", &[]), ("PATCH", "/1")),
        (
            r#"when = 'headers["x-n"].exists(v, size(v) == port - port + 3) && !("x-off" in headers)'"#,
            ("GET", "/", &[("X-N", "a"), ("X-N", "abc")]),
            ("GET", "/"),
        ),
        (
            r#"when = 'query["k"].all(v, v in ["a", host]) && size(query["k"]) == 2'"#,
            ("GET", "/?k=a&k=test", &[]),
            ("GET", "/?k=a"),
        ),
    ];
    let origin = Origin::ok("hello");
    for (keys, (method, path, fields), (other_method, other_path)) in cases {
        let weir = Config::forwarding(origin.url()).tables(&once("only", keys)).start();
        for _ in 0..2 {
            assert_eq!(status(&weir, other_method, other_path, &[]), 200, "{keys}");
        }
        assert_eq!(status(&weir, method, path, fields), 200, "{keys}");
        assert_eq!(status(&weir, method, path, fields), 429, "{keys}");
        assert_eq!(status(&weir, other_method, other_path, &[]), 200, "{keys}");
    }
}

#[test]
fn shadows_are_not_seen_and_failing_expressions_do_as_they_say() {
    let origin = Origin::ok("hello");
    let fails = r#"when = 'headers["x-none"][0] == "a"'"#;
    let rules = [
        once("shadow", "mode = \"shadow\""),
        once("skips", fails),
        once("matches", &format!("{fails}\non_error = \"match\"\nmatch = {{ path = \"/m\" }}")),
    ];
    let weir = Config::forwarding(origin.url()).tables(&rules.concat()).start();
    for _ in 0..3 {
        assert_eq!(status(&weir, "GET", "/", &[]), 200);
    }
    assert_eq!([(); 2].map(|()| status(&weir, "GET", "/m", &[])), [200, 429]);
}

#[test]
fn a_hostile_request_is_only_asked() {
    let origin = Origin::ok("hello");
    let rules = [
        once("regex", r#"when = 'path.matches("(a+)+$") && headers.exists(n, headers[n].exists(v, v == "never"))'"#),
        once("query", r#"match = { query.a.matches = "(x+x+)+y" }"#),
        once("cookie", r#"match = { cookie.c.contains = "never" }"#),
    ];
    let limits = "[limits]\nfields_max = 80\n";
    let config = Config::forwarding(origin.url()).tables(&format!("{limits}{}", rules.concat()));
    let weir = config.start();
    let cookies = vec!["c"; 2000].join("=;");
    let path = format!("/{}b?{}", "a".repeat(3000), vec!["a=%78%78"; 200].join("&"));
    let fields: Vec<(&str, &str)> =
        (0..70).map(|_| ("X-Same", "v")).chain([("Cookie", &*cookies), ("Cookie", "=;;=")]).collect();
    let mut client = Client::connect(weir.web());
    for _ in 0..3 {
        assert_eq!(client.exchange(bytes("GET", &path, &fields, b"")).status, 200);
    }
}

#[test]
fn mistakes_are_told_with_line_and_column_and_change_nothing() {
    let dir = Dir::new();
    let deep = format!("{}true{}", "(".repeat(33), ")".repeat(33));
    let cases = [
        (
            r#"when = 'metod == "POST"'"#.to_owned(),
            r#":9:9: rate_limit only: when: unknown variable "metod"; nearest: "method""#,
        ),
        (r#"match = { hots = "a" }"#.into(), r#":9:11: rate_limit only: match: unknown field "hots"; nearest: "host""#),
        (
            "when = 'path.matches(host)'".into(),
            ":9:22: rate_limit only: when: matches takes a pattern that is a literal",
        ),
        (format!("when = '{deep}'"), ":9:41: rate_limit only: when: nests more than 32 levels deep"),
        (
            "when = '[1].all(a, [1].all(b, [1].all(c, true)))'".into(),
            ":9:35: rate_limit only: when: macros nest more than 2 deep",
        ),
        (
            r#"when = 'headers["a"].all(v, headers["b"].all(w, v == w))'"#.into(),
            "rate_limit only: when: costs more than 20000 steps, with lists as long as they may be",
        ),
        (
            "match = { country = \"NL\" }".into(),
            ":9:11: rate_limit only: match: country needs a database: [geoip] has no db",
        ),
    ];
    for (keys, expected) in cases {
        let listener = "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n";
        // The rule's header stands in line 8.
        let text = format!("{listener}\n\n\n[[rate_limit]]\n{keys}\nname = \"only\"\n");
        let path = dir.write("weir.toml", text);
        let exit = command(&["check", "--config", &path.to_string_lossy()]);
        let said = format!("{}{}", exit.stdout, exit.stderr);
        assert!(exit.code == Some(1) || exit.code == Some(2), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn explain_names_the_failing_predicate_and_charges_nothing() {
    let dir = Dir::new();
    let rules = [
        once("fails", r#"match = { header.x-plan = "free" }"#),
        once("matches", r#"when = 'path_prefix(path, "/a")'"#),
    ];
    let route =
        "[[route]]\nid = 1\nlistener = \"web\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"http://127.0.0.1:2\"\n";
    let listener = "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n";
    let path = dir.write("weir.toml", format!("{listener}{route}{}", rules.concat()));
    let path = path.to_string_lossy();
    for _ in 0..2 {
        let exit = command(&["explain", "GET", "/a", "-H", "X-Plan: gold", "--json", "--config", &path]);
        let answer: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
        let considered = answer["considered"].as_array().expect("rules");
        let [fails, matches] = considered.as_slice() else { panic!("{answer}") };
        assert_eq!((&fails["rule"], &fails["verdict"]), (&"fails".into(), &"failed".into()), "{answer}");
        assert_eq!(fails["predicate"], "header.x-plan");
        assert_eq!((&fails["expected"], &fails["actual"]), (&"equals \"free\"".into(), &"\"gold\"".into()));
        assert_eq!((&matches["rule"], &matches["verdict"]), (&"matches".into(), &"matched".into()));
    }
}
