//! Routing by its documented statements, each one a test on the real binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_tests::dir::Dir;
use weir_tests::origin::{answer, ok};
use weir_tests::ports::Port;
use weir_tests::weir::command;
use weir_tests::{Config, Exit, Origin, Response, Weir, request, wait};

/// The origins of the acceptance document, and the second listener's port.
struct Site {
    a: Named,
    b: Named,
    c: Named,
    d: Named,
    dead: Port,
    m: Port,
}

/// An origin that answers its own name, or 503 while it is down.
struct Named {
    origin: Origin,
    down: Arc<AtomicBool>,
}

impl Named {
    fn new(name: &'static str) -> Self {
        let down = Arc::new(AtomicBool::new(false));
        let flag = down.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            while conn.request().is_some() {
                let bytes = if flag.load(Ordering::SeqCst) { answer(503, &[], "down") } else { ok(name) };
                if !conn.send(bytes) {
                    return;
                }
            }
        });
        Self { origin, down }
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Requests that were no probes.
    fn served(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target != "/probe").count()
    }
}

const HEALTH: &str = "[route.health]\npath = \"/probe\"\ninterval = \"1s\"\ntimeout = \"500ms\"\n";

impl Site {
    fn new() -> Self {
        let named = Named::new;
        let (dead, m) = (Port::reserve(), Port::reserve());
        Self { a: named("a"), b: named("b"), c: named("c"), d: named("d"), dead, m }
    }

    /// The routes, with the id of each its priority.
    fn document(&self) -> String {
        let route = |id: u32, listener: &str, keys: &str| {
            format!("[[route]]\nid = {id}\npriority = {id}\nlistener = \"{listener}\"\n{keys}\n")
        };
        let target = |url: &str, keys: &str| format!("[[route.target]]\nurl = \"{url}\"\n{keys}\n");
        let body = |text: &str| format!("[[route.target]]\nstatic = {{ body = \"{text}\" }}\n");
        let redirect = |mode: &str, to: &str| {
            format!("action = \"redirect\"\n[route.redirect]\nmode = \"{mode}\"\ntarget = \"{to}\"\n")
        };
        [
            format!("[[listener]]\nname = \"m\"\nbind = \"{}\"\n", self.m.address()),
            route(10, "web", "host = \"app.example.com\"\npath_prefix = \"/api\"\nbalance = \"weighted_round_robin\""),
            target(&self.a.origin.url(), "name = \"a\"\nweight = 3"),
            target(&self.b.origin.url(), "name = \"b\"\nweight = 1"),
            target(&self.c.origin.url(), "name = \"c\"\npriority_group = 1"),
            HEALTH.into(),
            route(20, "web", "host = \"app.example.com\"\npath_prefix = \"/\""),
            target(&self.d.origin.url(), "name = \"d\""),
            route(30, "web", "host = \"*.example.com\"\npath_prefix = \"/\""),
            body("wild"),
            route(40, "web", &format!("path_prefix = \"/old\"\n{}", redirect("same_host_path", "/new"))),
            route(
                41,
                "web",
                &format!("host = \"old.test\"\n{}", redirect("external_origin_keep_path", "https://n.test")),
            ),
            route(
                42,
                "web",
                &format!(
                    "host = \"abs.test\"\npath_prefix = \"/a\"\n{}",
                    redirect("absolute_url", "https://n.test/d?x=1")
                ),
            ),
            route(100, "web", "path_prefix = \"/\""),
            body("broad"),
            route(60, "m", "host = \"down.test\"\npath_prefix = \"/\""),
            target(&format!("http://{}", self.dead.address()), ""),
            HEALTH.into(),
            route(101, "m", "is_default = true"),
            body("def"),
        ]
        .concat()
    }

    fn start(&self) -> Weir {
        self.start_with(|document| document)
    }

    /// Starts with a changed document.
    fn start_with(&self, change: impl FnOnce(String) -> String) -> Weir {
        Config::new().tables(&change(self.document())).start()
    }
}

/// GETs `host/path` on listener `web`.
fn at(weir: &Weir, host: &str, path: &str) -> Response {
    weir.request("GET", path, &[("Host", host)], b"")
}

fn text(weir: &Weir, host: &str, path: &str) -> String {
    let response = at(weir, host, path);
    assert_eq!(response.status, 200, "{host}{path}: {}", response.text());
    response.text()
}

fn location(weir: &Weir, host: &str, path: &str) -> String {
    let response = at(weir, host, path);
    assert_eq!(response.status, 302, "{host}{path}: {}", response.text());
    assert!(response.body.is_empty(), "a redirect has no body");
    response.fields.first("location").unwrap_or_default().to_owned()
}

fn on_m(site: &Site, host: &str, path: &str) -> Response {
    request(site.m.address(), "GET", path, &[("Host", host)], b"")
}

/// `weir check` on a document with one listener and these tables.
fn check(tables: &str) -> Exit {
    let dir = Dir::new();
    let document = format!("version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n{tables}");
    let path = dir.write("weir.toml", document);
    command(&["check", "--config", &path.to_string_lossy()])
}

fn refused(tables: &str, names: &[&str]) {
    let exit = check(tables);
    assert_eq!(exit.code, Some(1), "{tables}\n{}", exit.stderr);
    for name in names {
        assert!(exit.stderr.contains(name), "{name} is not in: {}", exit.stderr);
    }
}

const FORWARD: &str = "[[route.target]]\nurl = \"http://127.0.0.1:2\"\n";

fn one_route(keys: &str) -> String {
    format!("[[route]]\nid = 10\nlistener = \"web\"\n{keys}\n{FORWARD}")
}

#[test]
fn a_request_is_decided_by_host_and_path() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "app.example.com", "/api"), "a");
    assert_eq!(text(&weir, "app.example.com", "/x"), "d");
    assert_eq!(text(&weir, "app.example.com", "/apix"), "d", "a prefix ends at a segment");
}

#[test]
fn a_route_belongs_to_its_listener() {
    let site = Site::new();
    let _weir = site.start();
    assert_eq!(on_m(&site, "app.example.com", "/api").text(), "def");
}

#[test]
fn a_route_forwards_or_redirects_and_never_both() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "app.example.com", "/api"), "a");
    assert_eq!(location(&weir, "z.test", "/old"), "/new");
    let both =
        "path_prefix = \"/\"\naction = \"redirect\"\n[route.redirect]\nmode = \"same_host_path\"\ntarget = \"/n\"";
    refused(&one_route(both), &["route 10"]);
}

#[test]
fn a_route_uses_its_own_targets() {
    let site = Site::new();
    let weir = site.start();
    for _ in 0..20 {
        assert_ne!(text(&weir, "app.example.com", "/api"), "d");
    }
    assert_eq!(site.d.served(), 0);
}

#[test]
fn a_redirect_dials_no_origin() {
    let site = Site::new();
    let weir = site.start();
    location(&weir, "app.test", "/old");
    assert_eq!(site.a.served() + site.b.served() + site.c.served() + site.d.served(), 0);
    assert_eq!(site.d.origin.accepted(), 0);
}

#[test]
fn explain_names_route_group_and_states() {
    let site = Site::new();
    let weir = site.start();
    let config = weir.path("weir.toml").to_string_lossy().into_owned();
    let exit =
        command(&["explain", "GET", "http://app.example.com/api", "--listener", "web", "--json", "--config", &config]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let record: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
    let routes = record["routes"].as_array().cloned().unwrap_or_default();
    let verdict = |id: u64| routes.iter().find(|route| route["id"] == id).map(|route| route["verdict"].clone());
    assert_eq!(verdict(10), Some("matched".into()), "{record}");
    let targets: Vec<_> = record["endpoints"].as_array().into_iter().flatten().map(|e| e["target"].clone()).collect();
    assert!(["a", "b", "c"].iter().all(|name| targets.contains(&(*name).into())), "{record}");
    let unanswered = command(&["explain", "GET", "http://a.test/", "--listener", "web", "--config", &config]);
    assert_eq!(unanswered.code, Some(0), "the broad route answers: {}", unanswered.stderr);
}

#[test]
fn a_route_needs_a_host_or_a_path() {
    refused(&one_route("method = [\"GET\"]"), &["route 10", "needs a host or a path"]);
}

#[test]
fn an_exact_host_is_met_in_any_case_with_port_and_dot() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "APP.example.com.:80", "/api"), "a");
}

#[test]
fn a_wildcard_host_has_labels_before_it_and_never_the_apex() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "m.example.com", "/"), "wild");
    assert_eq!(text(&weir, "x.y.example.com", "/"), "wild");
    assert_eq!(text(&weir, "example.com", "/"), "broad");
}

#[test]
fn a_prefix_starts_with_a_slash() {
    refused(&one_route("path_prefix = \"api\""), &["route 10", "path_prefix"]);
}

#[test]
fn the_lower_priority_wins_then_the_lower_id() {
    let site = Site::new();
    let weir = site.start_with(|document| document.replacen("priority = 10\n", "priority = 21\n", 1));
    assert_eq!(text(&weir, "app.example.com", "/api"), "d");
    drop(weir);
    let weir = site.start_with(|document| document.replacen("priority = 10\n", "priority = 20\n", 1));
    assert_eq!(text(&weir, "app.example.com", "/api"), "a");
}

#[test]
fn narrow_routes_come_before_broad_ones() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "app.example.com", "/api"), "a");
    assert_eq!(text(&weir, "app.example.com", "/x"), "d");
    assert_eq!(text(&weir, "z.test", "/x"), "broad");
}

fn eight(weir: &Weir) -> String {
    (0..8).map(|_| text(weir, "app.example.com", "/api")).collect()
}

#[test]
fn enabled_targets_share_by_weight() {
    let site = Site::new();
    let weir = site.start();
    let eight_of_both = eight(&weir);
    assert_eq!((eight_of_both.matches('a').count(), eight_of_both.matches('b').count()), (6, 2), "{eight_of_both}");
    drop(weir);
    let weir = site.start_with(|document| document.replace("name = \"b\"\n", "name = \"b\"\nenabled = false\n"));
    assert_eq!(eight(&weir), "aaaaaaaa");
}

#[test]
fn position_and_weight_fix_the_sequence() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(eight(&weir), "aabaaaba");
}

#[test]
fn the_lowest_group_with_a_usable_target_serves_alone() {
    let site = Site::new();
    let weir = site.start();
    let becomes = |name: &str| {
        wait::until(&format!("{name} serves"), || at(&weir, "app.example.com", "/api").text() == name);
    };
    becomes("a");
    site.a.set_down(true);
    site.b.set_down(true);
    becomes("c");
    site.a.set_down(false);
    becomes("a");
}

#[test]
fn without_a_usable_target_it_is_503() {
    let site = Site::new();
    let weir = site.start();
    for named in [&site.a, &site.b, &site.c] {
        named.set_down(true);
    }
    wait::until("no target is usable", || {
        let response = at(&weir, "app.example.com", "/api");
        response.status == 503 && response.text().contains("no_route_target_available")
    });
}

#[test]
fn a_redirect_has_one_of_four_statuses() {
    let redirect = |status: u16| {
        format!(
            "[[route]]\nid = 10\nlistener = \"web\"\npath_prefix = \"/{status}\"\naction = \"redirect\"\n\
             [route.redirect]\nmode = \"same_host_path\"\ntarget = \"/n\"\nstatus = {status}\n"
        )
    };
    for status in [301, 302, 307, 308] {
        let weir = Config::new().tables(&redirect(status)).start();
        assert_eq!(at(&weir, "z.test", &format!("/{status}")).status, status);
    }
    refused(&redirect(303), &["route 10", "303"]);
}

#[test]
fn a_redirect_on_the_same_host_keeps_path_and_query() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(location(&weir, "z.test", "/old/x?q"), "/new/x?q");
    assert_eq!(location(&weir, "z.test", "/old//evil.test"), "/new/evil.test");
}

#[test]
fn a_redirect_to_another_origin_keeps_the_path() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(location(&weir, "old.test", "/p?q"), "https://n.test/p?q");
}

#[test]
fn an_absolute_redirect_is_as_written_or_with_path_and_query() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(location(&weir, "abs.test", "/a/b?q"), "https://n.test/d/b?x=1&q");
    drop(weir);
    let exact = "target = \"https://n.test/d?x=1\"\npreserve_path = false\npreserve_query = false";
    let weir = site.start_with(|document| document.replace("target = \"https://n.test/d?x=1\"", exact));
    assert_eq!(location(&weir, "abs.test", "/a/b?q"), "https://n.test/d?x=1");
}

#[test]
fn a_broad_route_first_wins_and_lint_tells() {
    let site = Site::new();
    let weir = site.start_with(|document| document.replace("priority = 100\n", "priority = 5\n"));
    assert_eq!(text(&weir, "app.example.com", "/api"), "broad");
    let path = weir.path("weir.toml").to_string_lossy().into_owned();
    let exit = command(&["check", "--deny-warnings", "--config", &path]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("route 10") && exit.stderr.contains("route 100"), "{}", exit.stderr);
    assert_eq!(command(&["check", "--config", &path]).code, Some(0), "lint alone is no error");
}

#[test]
fn a_matched_route_without_a_target_does_not_fall_through_to_the_default() {
    let site = Site::new();
    let weir = site.start();
    let status = || on_m(&site, "down.test", "/").status;
    wait::until("the dead target is known to be", || status() == 503);
    drop(weir);
    let _weir = site.start_with(|document| document.replace("id = 60\n", "id = 60\nenabled = false\n"));
    assert_eq!(on_m(&site, "down.test", "/").text(), "def");
}

#[test]
fn the_apex_needs_a_route_of_its_own() {
    let site = Site::new();
    let weir = site.start();
    assert_eq!(text(&weir, "example.com", "/"), "broad");
    let wild = "host = \"*.example.com\"\npath_prefix = \"/\"";
    assert!(check(&one_route(wild)).stderr.contains("route 10"), "lint names the apex");
}

#[test]
fn hosts_that_are_not_served_are_421_and_paths_404() {
    let origin = Origin::ok("x");
    let weir = Config::new()
        .listener("hostnames = [\"a.test\", \"*.b.test\"]")
        .route(1, "path_prefix = \"/x\"", &[&origin.url()])
        .start();
    let reason = |host: &str, path: &str| {
        let response = at(&weir, host, path);
        (response.status, ["host_not_served", "no_route"].into_iter().find(|r| response.text().contains(r)))
    };
    assert_eq!(reason("c.test", "/x"), (421, Some("host_not_served")));
    assert_eq!(reason("a.test", "/y"), (404, Some("no_route")));
    assert_eq!(at(&weir, "q.b.test", "/x").text(), "x");
}

#[test]
fn hostile_paths_are_refused_or_forwarded_as_spelled() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    for path in ["/a/%2e%2e/b", "/..;/x", "/%5c..", "/%00", "/%zz", "/a%2Fb", "/a%5Cb"] {
        let response = at(&weir, "a.test", path);
        assert_eq!(response.status, 400, "{path}");
        assert!(response.text().contains("invalid_request_target"), "{path}: {}", response.text());
    }
    assert_eq!(origin.accepted(), 0);
    for path in ["/%252e", "/a%20b?x=%2e%2e", "/caf%C3%A9"] {
        assert_eq!(at(&weir, "a.test", path).status, 200);
        assert_eq!(origin.last().target, path);
    }
    at(&weir, "a.test", "/a//b");
    assert_eq!(origin.last().target, "/a/b", "slashes are merged for the origin too");
}

#[test]
fn encoded_separators_are_allowed_by_the_winning_route_alone() {
    let origin = Origin::ok("x");
    let weir = Config::new()
        .route(1, "path_prefix = \"/api\"", &["http://127.0.0.1:9"])
        .route(2, "path_prefix = \"/\"\npath_security = \"allow_encoded_separators\"", &[&origin.url()])
        .start();
    assert_eq!(at(&weir, "a.test", "/api%2Fx").text(), "x", "an encoded slash is no separator");
    assert_eq!(origin.last().target, "/api%2Fx");
    assert_eq!(at(&weir, "a.test", "/api/a%2Fx").status, 400);
}

#[test]
fn rewrites_and_header_edits_reach_the_origin_and_the_client() {
    let origin = Origin::answering(answer(200, &[("X-Old", "1")], "x"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/api\"", &[&origin.url()])
        .tables(
            "[route.rewrite]\nstrip_prefix = true\n\
             [route.request_headers]\nset = { X-Client = \"{client_ip}\" }\nremove = [\"X-Secret\"]\n\
             [route.response_headers]\nremove = [\"X-Old\"]\nset = { X-New = \"{route}\" }",
        )
        .start();
    let response = weir.request("GET", "/api/users?q=1", &[("X-Secret", "s")], b"");
    let seen = origin.last();
    assert_eq!(seen.target, "/users?q=1");
    assert_eq!((seen.fields.first("x-client"), seen.fields.first("x-secret")), (Some("127.0.0.1"), None));
    assert_eq!(seen.fields.first("x-forwarded-prefix"), Some("/api"));
    assert_eq!((response.fields.first("x-old"), response.fields.first("x-new")), (None, Some("route-1")));
}
