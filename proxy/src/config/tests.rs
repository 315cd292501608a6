//! Whole documents: what they read as, and what is said of wrong ones.

mod every_key;
mod guide;
mod hostile;

use std::time::Duration;

use super::value::{Bind, Ceiling, Forwarded, HashKey, Secret, SplitKey, StatusRange, UpstreamHost};
use super::*;

/// One of everything.
pub(super) const FULL: &str = include_str!("tests/full.toml");

const LISTENER: &str = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n";

fn valid(text: &str) -> Document {
    parse(text, "weir.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a document, a line each.
fn problems(text: &str) -> Vec<String> {
    match parse(text, "weir.toml") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn empty_document_has_every_default() {
    let document = valid("");
    assert_eq!(document.limits.head_max, 32 << 10);
    assert_eq!(document.limits.connections_max, Ceiling::Auto);
    assert_eq!(document.timeouts.head, Duration::from_secs(10));
    assert_eq!(document.timeouts.request, Duration::ZERO);
    assert_eq!(document.retry.backoff, Duration::from_millis(25));
    assert_eq!(document.management.listen, ["127.0.0.1:9900".parse().unwrap()]);
    assert_eq!(document.metrics.listen, None);
    assert_eq!(document.resolver.deny_ips.len(), 6);
    assert!(document.listeners.is_empty() && document.access_logs.is_empty());
}

#[test]
fn default_document_serves_a_page_on_loopback() {
    let document = default_document().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(document.listeners[0].bind, [Bind::Tcp("127.0.0.1:8080".parse().unwrap())]);
    assert_eq!(document.management.listen, ["127.0.0.1:9900".parse().unwrap()]);
    assert!(document.routes[0].is_default && document.routes[0].targets[0].static_.is_some());
}

#[test]
fn full_document_reads_as_written() {
    let document = valid(FULL);
    let route = &document.routes[0];
    assert_eq!((route.id, route.name.as_str(), route.priority), (10, "route-10", -5));
    assert_eq!(route.hash_key, HashKey::Header("x-user".into()));
    assert_eq!(route.split.as_ref().unwrap().key, SplitKey::Of(HashKey::Cookie("lane".into())));
    assert_eq!(route.split.as_ref().unwrap().weights, [("stable".to_owned(), 95), ("canary".to_owned(), 5)]);
    assert_eq!(route.rewrite.as_ref().unwrap().host, UpstreamHost::Set("inner.test".into()));
    assert_eq!(route.sticky.as_ref().unwrap().keys[1], Secret::Env("WEIR_STICKY_OLD".into()));
    assert_eq!(
        route.health.as_ref().unwrap().status,
        [StatusRange { low: 200, high: 399 }, StatusRange { low: 404, high: 404 }]
    );
    let [first, second, third] = &route.targets[..] else { panic!("three targets") };
    assert_eq!((first.name.as_str(), first.position, first.at.label()), ("a", 0, "route 10, target a"));
    assert_eq!((second.name.as_str(), second.position, second.at.label()), ("target-2", 7, "route 10, target #2"));
    assert_eq!(third.static_.as_ref().unwrap().template.as_deref(), Some("sorry"));
    assert_eq!(document.listeners[1].bind[1], Bind::Unix("/run/weir/in.sock".into()));
    assert_eq!(document.listeners[1].mode, 0o600);
}

#[test]
fn routes_without_an_id_follow_the_highest_in_document_order() {
    let routes =
        "[[route]]\nlistener = \"web\"\n[[route]]\nid = 7\nlistener = \"web\"\n[[route]]\nlistener = [\"web\"]\n";
    let document = valid(&format!("{LISTENER}{routes}"));
    let ids: Vec<_> = document.routes.iter().map(|route| (route.id, route.name.as_str(), route.at.label())).collect();
    assert_eq!(ids, [(8, "route-8", "route 8"), (7, "route-7", "route 7"), (9, "route-9", "route 9")]);
}

#[test]
fn no_id_is_given_above_the_highest_possible_one() {
    let routes = "[[route]]\nid = 2147483647\nlistener = \"web\"\n[[route]]\nlistener = \"web\"\n";
    let said = problems(&format!("{LISTENER}{routes}"));
    assert_eq!(said, ["weir.toml:7: route 2147483648: needs an id: there is none above the highest one"]);
}

#[test]
fn tables_narrow_each_other_from_global_to_listener_to_route() {
    let document = valid(FULL);
    let (listener, route) = (&document.listeners[1], &document.routes[0]);
    let timeouts = raw::Timeouts::resolve(&document, listener, Some(route));
    assert_eq!(timeouts.read, Duration::from_secs(7), "the route's");
    assert_eq!(timeouts.keepalive, Duration::from_secs(15), "the listener's");
    assert_eq!(timeouts.head, Duration::from_secs(5), "the global");
    assert_eq!(timeouts.connect, Duration::from_secs(5), "the default");
    assert_eq!(raw::Limits::resolve(&document, listener, Some(route)).body_max, 2 << 20);
    assert_eq!(raw::Limits::resolve(&document, listener, None).body_max, 1 << 20);
    assert_eq!(raw::Retry::resolve(&document, Some(route)).attempts, 3);
    assert_eq!(route.forwarded(listener), Forwarded::Both);
    assert!(!route.websocket(listener));
}

#[test]
fn page_of_a_route_comes_before_any_global_one() {
    let document = valid(FULL);
    let before = raw::ErrorPages::resolve(&document, None);
    let pages = raw::ErrorPages::resolve(&document, Some(&document.routes[0]));
    let name = |pages: &raw::ErrorPages, status| pages.page(status).map(|path| path.display().to_string());
    assert_eq!(name(&before, 503).as_deref(), Some("503.html"), "a status before its class");
    assert_eq!(name(&before, 500).as_deref(), Some("5xx.html"));
    assert_eq!(name(&pages, 503).as_deref(), Some("route-5xx.html"), "even for a class");
    assert_eq!(name(&pages, 404).as_deref(), Some("404.html"));
    assert_eq!(name(&pages, 400), None);
    assert_eq!(pages.intercept, before.intercept);
}

#[test]
fn unknown_key_is_reported_with_its_line_object_and_nearest() {
    let text = format!(
        "{LISTENER}[[route]]\nid = 10\nlistener = \"web\"\npath_prefx = \"/api\"\n[route.limits]\ninflight = 1\n"
    );
    assert_eq!(
        problems(&text),
        [
            "weir.toml:7: route 10: unknown key \"path_prefx\"; nearest: \"path_prefix\"",
            "weir.toml:9: route 10: unknown key \"limits.inflight\"; nearest: \"limits.inflight_max\"",
        ]
    );
    assert_eq!(problems("worker = 2"), ["weir.toml:1: unknown key \"worker\"; nearest: \"workers\""]);
    assert_eq!(problems("[tls]\n"), ["weir.toml:1: unknown key \"tls\""]);
    assert_eq!(
        problems("[limits]\nhead_mx = 1"),
        ["weir.toml:2: limits: unknown key \"head_mx\"; nearest: \"head_max\""]
    );
}

#[test]
fn value_out_of_range_is_reported_with_the_range() {
    let text = "[limits]\nhead_max = \"2MiB\"\nfields_max = 15\n[timeouts]\nhead = \"50ms\"\n[pool]\nidle_max = -1\n";
    assert_eq!(
        problems(text),
        [
            "weir.toml:2: limits: head_max = \"2MiB\" is out of range; allowed: \"1KiB\" to \"1MiB\"",
            "weir.toml:3: limits: fields_max = 15 is out of range; allowed: 16 to 1000",
            "weir.toml:5: timeouts: head = \"50ms\" is out of range; allowed: \"100ms\" to \"24h\", or 0",
            "weir.toml:7: pool: idle_max = -1 is out of range; allowed: 0 to 10_000_000",
        ]
    );
}

#[test]
fn durations_and_sizes_need_a_unit() {
    let text =
        "[timeouts]\nhead = 10\nbody = \"10 s\"\nsend = \"1.5s\"\nread = true\nwrite = \"99999999999999999999d\"\n";
    let duration = "must be a duration such as \"10s\" (ms, s, m, h, d)";
    assert_eq!(
        problems(text),
        [
            format!("weir.toml:2: timeouts: head = 10 has no unit: it {duration}"),
            format!("weir.toml:3: timeouts: body = \"10 s\" is not understood: it {duration}"),
            format!("weir.toml:4: timeouts: send = \"1.5s\" is not understood: it {duration}"),
            format!("weir.toml:5: timeouts: read {duration}; found a boolean"),
            format!("weir.toml:6: timeouts: write = \"99999999999999999999d\" is not understood: it {duration}"),
        ]
    );
}

#[test]
fn unknown_word_is_reported_with_the_nearest() {
    let text = format!("{LISTENER}underscore_headers = \"alow\"\n");
    assert_eq!(
        problems(&text),
        [
            "weir.toml:4: listener web: underscore_headers = \"alow\" is unknown; allowed: \"drop\", \"allow\", \"reject\"; nearest: \"allow\""
        ]
    );
}

#[test]
fn missing_key_is_reported_at_its_object() {
    assert_eq!(
        problems("\n[[listener]]\nname = \"web\"\n[[route]]\nid = 3\n"),
        ["weir.toml:2: listener web: missing key \"bind\"", "weir.toml:4: route 3: missing key \"listener\""]
    );
}

#[test]
fn duplicates_are_reported_at_the_later_object() {
    let text = format!(
        "{LISTENER}{LISTENER}[[route]]\nid = 1\nlistener = \"web\"\n[[route]]\nid = 1\nname = \"x\"\nlistener = \"web\"\n"
    );
    assert_eq!(
        problems(&text),
        [
            "weir.toml:5: listener web: name web is taken: line 1 has it",
            "weir.toml:6: listener web: bind 0.0.0.0:80 is taken: web has it",
            "weir.toml:11: route 1: id 1 is taken: line 7 has it",
        ]
    );
}

#[test]
fn references_must_lead_somewhere() {
    let target = "[[route.target]]\nstatic = { template = \"soory\" }\n";
    let text =
        format!("{LISTENER}[[template]]\nname = \"sorry\"\nbody = \"\"\n[[route]]\nlistener = \"wen\"\n{target}");
    assert_eq!(
        problems(&text),
        [
            "weir.toml:8: route 1: there is no listener \"wen\"; nearest: \"web\"",
            "weir.toml:10: route 1, target #1: there is no template \"soory\"; nearest: \"sorry\"",
        ]
    );
}

#[test]
fn listener_has_one_default() {
    let route = "[[route]]\nlistener = \"web\"\nis_default = true\n";
    let text = format!("{LISTENER}{route}{route}");
    assert_eq!(problems(&text), ["weir.toml:9: route 2: is_default: listener web has a default, route 1"]);
    assert_eq!(problems(&format!("{LISTENER}{route}{route}enabled = false\n")), [""; 0]);
}

#[test]
fn target_is_an_origin_or_an_answer() {
    let route = format!("{LISTENER}[[route]]\nid = 4\nlistener = \"web\"\n");
    let bare = format!("{route}[[route.target]]\nname = \"a\"\n");
    assert_eq!(problems(&bare), ["weir.toml:7: route 4, target a: needs a url or a static answer"]);
    let both = format!("{route}[[route.target]]\nurl = \"http://a.test\"\n[route.target.static]\nstatus = 200\n");
    assert_eq!(problems(&both), ["weir.toml:9: route 4, target #1: has both a url and a static answer"]);
}

#[test]
fn secret_in_the_document_is_refused_and_not_repeated() {
    let text = format!("{LISTENER}[[route]]\nid = 4\nlistener = \"web\"\nsticky.keys = [\"hunter2\"]\n");
    let problems = parse(&text, "weir.toml").unwrap_err();
    assert_eq!(problems.iter().next().map(|problem| problem.code), Some(Code::SecretInline));
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn management_listens_on_loopback_only() {
    let text = "[management]\nlisten = [\"[::1]:9900\", \"0.0.0.0:9900\"]\n";
    let message = "listen = \"0.0.0.0:9900\" is not a loopback address, which the management API needs";
    assert_eq!(problems(text), [format!("weir.toml:2: management: {message}")]);
}

#[test]
fn problem_of_a_list_stands_on_its_elements_line() {
    let text = format!(
        "{LISTENER}hostnames = [\n  \"a.test\",\n  7,\n]\n[[route]]\nid = 1\nlistener = \"web\"\nclient = [\"10.0.0.0/33\"]\n"
    );
    assert_eq!(
        problems(&text),
        [
            "weir.toml:6: listener web: hostnames must be a string; found an integer",
            "weir.toml:11: route 1: client = \"10.0.0.0/33\" must be an address or CIDR such as \"10.0.0.0/8\"",
        ]
    );
}

#[test]
fn stage_reports_on_the_keys_own_line() {
    let document = valid(FULL);
    let problem = document.routes[0].at.problem("path_prefix", "path_prefix must begin with \"/\"");
    let line = FULL.lines().position(|line| line.starts_with("path_prefix")).unwrap() + 1;
    assert_eq!(problem.to_string(), format!("weir.toml:{line}: route 10: path_prefix must begin with \"/\""));
    assert_eq!(problem.path, "route[0].path_prefix");
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_line() {
    let text = "[limits]\nhead_max = \n";
    let problems = parse(text, "weir.toml").unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.code), (2, Code::Syntax));
    assert!(problem.message.starts_with("not TOML: "), "{problem}");
    assert!(
        parse("a = 1\na = 2\n", "weir.toml")
            .unwrap_err()
            .to_string()
            .starts_with("weir.toml:2: not TOML: duplicate key")
    );
}

#[test]
fn file_that_is_no_document_gets_one_clear_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.toml");
    let said = |octets: &[u8]| {
        std::fs::write(&path, octets).unwrap();
        let problems = load(&path).unwrap_err();
        assert_eq!(problems.len(), 1);
        problems.to_string().replace(&path.display().to_string(), "weir.toml")
    };
    assert_eq!(said(b"version = 1\n# \xff\n"), "weir.toml:2: is not UTF-8 here\n");
    assert_eq!(
        said(&vec![b'#'; DOCUMENT_SIZE_MAX + 1]),
        "weir.toml: is larger than 1024 KiB, which a document may have\n"
    );
    let missing = load(&directory.path().join("absent.toml")).unwrap_err().to_string();
    assert!(missing.contains("absent.toml: cannot be read: No such file"), "{missing}");
    let directory = load(directory.path()).unwrap_err().to_string();
    assert!(directory.contains("cannot be read: Is a directory"), "{directory}");
}

#[test]
fn equal_documents_are_equal_wherever_their_objects_stand() {
    assert_eq!(valid(FULL), valid(&format!("# moved\n\n{FULL}")));
    assert_ne!(valid(FULL), valid(&FULL.replace("priority = -5", "priority = -4")));
}

#[test]
fn management_and_a_listener_do_not_share_an_address() {
    let text = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:9900\"\n";
    assert_eq!(problems(text), ["weir.toml:3: listener web: bind 127.0.0.1:9900 is taken: weir itself has it"]);
}

#[test]
fn name_with_a_line_break_does_not_break_a_message() {
    let problems = problems("[[listener]]\nname = \"a\\nb\"\nbind = \"0.0.0.0:80\"\n");
    assert!(problems[0].starts_with("weir.toml:2: listener a\\nb: name = \"a\\nb\" must be a name"), "{problems:?}");
}
