//! Decisions on whole documents; errors and the model test beside them.

mod errors;
mod model;

use super::*;
use crate::config;

/// A table and what was said of its document.
fn build(text: &str) -> (Table, Problems) {
    let (document, mut problems) = config::read(text, "weir.toml");
    let table = Table::build(&document.expect("the document is TOML"), &mut problems);
    (table, problems)
}

fn table(text: &str) -> Table {
    let (table, problems) = build(text);
    assert!(!problems.is_fatal(), "{problems}");
    table
}

/// The two listeners and the routes of the routing page's acceptance table.
const PAGE: &str = r#"
[[listener]]
name = "L"
bind = "127.0.0.1:0"
[[listener]]
name = "M"
bind = "127.0.0.1:0"
[[route]]
id = 10
priority = 10
listener = "L"
host = "app.example.com"
path_prefix = "/api"
[[route]]
id = 20
priority = 20
listener = "L"
host = "app.example.com"
path_prefix = "/"
[[route]]
id = 30
priority = 30
listener = "L"
host = "*.example.com"
[[route]]
id = 40
priority = 40
listener = "L"
path_prefix = "/old"
action = "redirect"
redirect = { mode = "same_host_path", target = "/new" }
[[route]]
id = 41
priority = 41
listener = "L"
host = "old.test"
action = "redirect"
redirect = { mode = "external_origin_keep_path", target = "https://n.test" }
[[route]]
id = 42
priority = 42
listener = "L"
host = "abs.test"
path_prefix = "/a"
action = "redirect"
redirect = { mode = "absolute_url", target = "https://n.test/d?x=1" }
[[route]]
id = 100
listener = "L"
path_prefix = "/"
[[route]]
id = 60
priority = 60
listener = "M"
host = "down.test"
[[route]]
id = 70
listener = "M"
is_default = true
"#;

const L: usize = 0;
const M: usize = 1;

fn query<'a>(host: &'a str, path: &'a str) -> Query<'a> {
    Query { host, route_path: path.as_bytes(), method: b"GET", query: None, client: None, fields: &() }
}

fn winner(table: &Table, listener: usize, query: &Query<'_>) -> Option<u32> {
    let explanation = table.explain(listener, query);
    assert_eq!(explanation.disagreement, None, "{explanation:?}");
    let found = table.find(listener, query).map(|route| route.id);
    assert_eq!(found, explanation.winner);
    found
}

fn location(table: &Table, host: &str, path: &str, rest: Option<&str>) -> String {
    let route = table.find(L, &query(host, path)).unwrap();
    let Answer::Redirect(redirect) = &route.answer else { panic!("route {} does not redirect", route.id) };
    let query = rest.map(str::as_bytes);
    let incoming = Incoming { host, spelled: path.as_bytes(), route_path: path.as_bytes(), query };
    let mut out = Vec::new();
    redirect.location(&incoming, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn decides_by_listener_host_and_path() {
    let table = table(PAGE);
    for (listener, host, path, expected) in [
        (L, "app.example.com", "/api", 10),
        (L, "app.example.com", "/api/x", 10),
        (L, "app.example.com", "/apix", 20),
        (L, "app.example.com", "/x", 20),
        (L, "m.example.com", "/", 30),
        (L, "example.com", "/", 100),
        (L, "z", "/x", 100),
        (L, "", "/x", 100),
        (M, "app.example.com", "/api", 70),
        (M, "down.test", "/", 60),
    ] {
        assert_eq!(winner(&table, listener, &query(host, path)), Some(expected), "{host}{path}");
    }
    // The asterisk of OPTIONS has no path, so only routes without a path key can match it.
    assert_eq!(winner(&table, L, &query("m.example.com", "*")), Some(30));
    assert_eq!(winner(&table, L, &query("z", "*")), None);
    assert_eq!(winner(&table, M, &query("z", "*")), Some(70));
}

#[test]
fn lower_priority_then_lower_id_wins() {
    let later = PAGE.replace("id = 10\npriority = 10", "id = 10\npriority = 21");
    assert_eq!(winner(&table(&later), L, &query("app.example.com", "/api")), Some(20));
    let tie = PAGE.replace("id = 10\npriority = 10", "id = 10\npriority = 20");
    assert_eq!(winner(&table(&tie), L, &query("app.example.com", "/api")), Some(10));
    let broad_first = PAGE.replace("id = 100\n", "id = 100\npriority = 5\n");
    assert_eq!(winner(&table(&broad_first), L, &query("app.example.com", "/api")), Some(100));
}

#[test]
fn a_disabled_route_gives_way_to_the_default() {
    let disabled = PAGE.replace("id = 60\n", "id = 60\nenabled = false\n");
    assert_eq!(winner(&table(&disabled), M, &query("down.test", "/")), Some(70));
    let explanation = table(&disabled).explain(M, &query("down.test", "/"));
    let verdicts: Vec<_> = explanation.routes.iter().map(|one| (one.id, one.verdict.token())).collect();
    assert!(verdicts.contains(&(60, "disabled")) && verdicts.last() == Some(&(70, "default")), "{verdicts:?}");
}

#[test]
fn locations_are_those_of_the_page() {
    let table = table(PAGE);
    assert_eq!(location(&table, "z", "/old/x", Some("q")), "/new/x?q");
    assert_eq!(location(&table, "old.test", "/p", Some("q")), "https://n.test/p?q");
    assert_eq!(location(&table, "abs.test", "/a/b", Some("q")), "https://n.test/d/b?x=1&q");
    assert_eq!(location(&table, "z", "/old//evil.test", None), "/new/evil.test");
}

#[test]
fn explain_names_the_first_predicate_that_failed() {
    let document = PAGE.replace(
        "id = 20\n",
        "id = 20\nmethod = [\"PUT\"]\nclient = [\"10.0.0.0/8\"]\nheader = [{ name = \"X-A\", value = \"1\" }]\n\
         query = [{ name = \"q\", op = \"present\" }]\n",
    );
    let table = table(&document);
    let considered = |method: &str, client: &str, fields: &[(&str, &str)], pairs: &str| {
        let mut query = query("app.example.com", "/x");
        query.method = method.as_bytes();
        query.client = client.parse().ok();
        query.query = Some(pairs.as_bytes());
        let fields = fields.to_vec();
        query.fields = &fields;
        let routes = table.explain(L, &query).routes;
        let route = routes.into_iter().find(|route| route.id == 20).unwrap();
        (route.verdict.token(), route.predicate.to_string(), route.expected, route.actual)
    };
    let failed = |predicate: &str, expected: &str, actual: &str| {
        ("failed", predicate.to_owned(), expected.to_owned(), actual.to_owned())
    };
    assert_eq!(considered("GET", "10.0.0.1", &[("x-a", "1")], "q"), failed("method", "PUT", "GET"));
    assert_eq!(considered("PUT", "unix", &[("x-a", "1")], "q"), failed("client", "10.0.0.0/8", "unix"));
    let two = [("x-a", "2"), ("X-A", "3")];
    assert_eq!(considered("PUT", "10.0.0.1", &two, "q"), failed("header x-a", "equals 1", "2, 3"));
    assert_eq!(considered("PUT", "10.0.0.1", &[("X-A", "1")], "r=1"), failed("query q", "present", "absent"));
    assert_eq!(considered("PUT", "10.0.0.1", &[("X-A", "1")], "q").0, "matched");

    let all = table.explain(L, &query("app.example.com", "/api")).routes;
    let of = |id: u32| {
        let route = all.iter().find(|route| route.id == id).unwrap();
        (route.verdict, &*route.predicate, &*route.expected, &*route.actual)
    };
    assert_eq!(of(10), (Verdict::Matched, "", "", ""));
    assert_eq!(of(30), (Verdict::NotReached, "", "", ""));
    assert_eq!(of(60), (Verdict::Failed, "listener", "M", "L"));
    let other = table.explain(L, &query("z", "/x")).routes;
    let of = |id: u32| other.iter().find(|route| route.id == id).unwrap();
    assert_eq!((&*of(10).predicate, &*of(10).expected, &*of(10).actual), ("host", "app.example.com", "z"));
    assert_eq!((&*of(40).predicate, &*of(40).expected, &*of(40).actual), ("path_prefix", "/old", "/x"));
}

#[test]
fn a_listener_serves_only_its_hostnames() {
    let document = PAGE.replace("name = \"L\"\n", "name = \"L\"\nhostnames = [\"*.example.com\", \"a.test\"]\n");
    let table = table(&document);
    assert_eq!(table.check_host(L, "m.example.com"), Ok(()));
    assert_eq!(table.check_host(L, "a.test"), Ok(()));
    for host in ["example.com", "b.test", ""] {
        assert_eq!(table.check_host(L, host), Err(Fault::new(Reason::HostNotServed)), "{host}");
    }
    assert_eq!(table.check_host(M, "b.test"), Ok(()));
    let one = document.replace("name = \"L\"\n", "name = \"L\"\nhost_wildcard = \"one\"\n");
    let one = self::table(&one);
    assert!(one.check_host(L, "a.b.example.com").is_err() && one.check_host(L, "b.example.com").is_ok());
    assert_eq!(winner(&one, L, &query("a.b.example.com", "/")), Some(100));
}

#[test]
fn encoded_separators_need_a_route_that_allows_them() {
    let document = PAGE.replace("id = 100\n", "id = 100\npath_security = \"allow_encoded_separators\"\n");
    let table = table(&document);
    let check = |host: &str| check_encoded_separator(table.find(L, &query(host, "/api%2Fx"))).map(|route| route.id);
    assert_eq!(check("z"), Ok(100));
    assert_eq!(check("app.example.com"), Err(Fault::new(Reason::InvalidRequestTarget)));
    assert_eq!(check_encoded_separator(None).map(|route| route.id), Err(Fault::new(Reason::InvalidRequestTarget)));
}

#[test]
fn hostile_hosts_and_paths_are_answered() {
    let document = format!(
        "{PAGE}[[route]]\nid = 200\npriority = 1\nlistener = \"L\"\nhost = \"*.x.l.l.test\"\npath_prefix = \"/s/s/s/\"\n"
    );
    let table = table(&document);
    let host = format!("{}x.l.l.test", "l.".repeat(123));
    let path = "/s".repeat(4000);
    assert_eq!(winner(&table, L, &query(&host, &path)), Some(200));
    assert_eq!(winner(&table, L, &query(&".".repeat(255), &"/".repeat(8192))), Some(100));
    assert_eq!(winner(&table, L, &query(&host, "/s/s/s")), Some(100));
}

#[test]
fn every_key_of_a_match_must_hold() {
    let document = r#"
[[listener]]
name = "w"
bind = "127.0.0.1:0"
[[route]]
id = 1
listener = "w"
host_regex = '^v\d\.test$'
path_regex = '\.(png|jpe?g)$'
[[route]]
id = 2
listener = "w"
path_prefix_raw = "/img"
method = ["GET", "HEAD"]
[[route]]
id = 3
listener = "w"
path_exact = "/img"
[[route]]
id = 4
listener = "w"
host = ["a.test", "*"]
"#;
    let table = table(document);
    for (host, path, method, expected) in [
        ("v1.test", "/x/a.png", "GET", 1),
        ("v10.test", "/x/a.png", "GET", 4),
        ("v1.test", "/imgx", "GET", 2),
        ("v1.test", "/img", "POST", 3),
        ("v1.test", "/img/", "POST", 4),
        ("v1.test", "/img", "get", 3),
        ("v1.test", "*", "OPTIONS", 4),
    ] {
        let mut query = query(host, path);
        query.method = method.as_bytes();
        assert_eq!(winner(&table, 0, &query), Some(expected), "{method} {host}{path}");
    }
}
