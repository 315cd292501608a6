//! Answers of weir's own: pages of the operator, problem documents, and what replaces an upstream's.

use weir_tests::dir::Dir;
use weir_tests::origin::answer;
use weir_tests::{Config, Origin, Weir, wait};

const PAGE: &str = "<p>{status} {reason} {request_id} {other}</p>";

/// weir whose origin answers 503 with a page of its own, under these tables.
fn pages(dir: &Dir, tables: &str) -> (Weir, Origin) {
    let origin =
        Origin::answering(answer(503, &[("X-Own", "yes"), ("Content-Type", "text/x"), ("ETag", "\"e\"")], "ill"));
    let own = dir.write("own.html", PAGE).to_string_lossy().into_owned();
    let class = dir.write("class.html", "class {status}").to_string_lossy().into_owned();
    let tables = tables.replace("OWN", &own).replace("CLASS", &class);
    (Config::new().route(1, "path_prefix = \"/ill\"", &[&origin.url()]).tables(&tables).start(), origin)
}

#[test]
fn the_operators_page_is_filled_in() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n404 = \"OWN\"\n4xx = \"CLASS\"");
    let response = weir.get("/none");
    let id = response.fields.first("x-request-id").expect("an id").to_owned();
    assert_eq!(response.text(), format!("<p>404 no_route {id} {{other}}</p>"));
    assert_eq!(response.status, 404);
    assert_eq!(response.fields.first("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.fields.first("cache-control"), Some("no-store"));
    // Another status of the class has the class's page; one of no page is plain.
    let mut client = weir.client();
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").text(), "class 400");
    let mut client = weir.client();
    let plain = client.exchange("GET / HTTP/3.0\r\nHost: a\r\n\r\n");
    assert!(plain.status == 505 && plain.text().contains("version_unsupported"), "{}", plain.text());
}

#[test]
fn head_has_the_pages_length_and_no_octet_of_it() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n404 = \"CLASS\"");
    let mut client = weir.client();
    client.write("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response_to("HEAD");
    assert_eq!((head.status, head.fields.first("content-length")), (404, Some("9")));
    assert_eq!(client.response().text(), "class 404");
}

#[test]
fn a_client_of_json_gets_a_problem_document() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n404 = \"OWN\"");
    for accept in ["application/json", "application/problem+json", "text/plain, application/json;q=0.9"] {
        let response = weir.request("GET", "/none", &[("Accept", accept)], b"");
        assert_eq!(response.fields.first("content-type"), Some("application/problem+json"), "{accept}");
        let problem = response.json();
        assert_eq!((&problem["status"], &problem["reason"]), (&404.into(), &"no_route".into()), "{problem}");
        assert_eq!(problem["title"], "Not Found");
        assert_eq!(problem["request_id"].as_str(), response.fields.first("x-request-id"));
    }
    let browser = weir.request("GET", "/none", &[("Accept", "text/html,application/json")], b"");
    assert!(browser.text().starts_with("<p>404"), "{}", browser.text());
}

#[test]
fn nothing_of_the_request_is_in_a_page() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "");
    let fields = [("X-Request-Id", "<script>"), ("Host", "evil.test")];
    for accept in ["text/html", "application/json", "text/plain"] {
        let response = weir.request("GET", "/%3Cscript%3E", &[fields[0], fields[1], ("Accept", accept)], b"");
        let text = response.text();
        assert_eq!(response.status, 404);
        assert!(!text.contains("script") && !text.contains("evil"), "{text}");
        assert_ne!(response.fields.first("x-request-id"), Some("<script>"), "an id of a peer that nobody trusts");
    }
}

#[test]
fn an_upstreams_own_page_passes() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n5xx = \"OWN\"");
    let response = weir.get("/ill");
    assert_eq!((response.status, response.text().as_str()), (503, "ill"));
    assert_eq!(response.fields.first("content-type"), Some("text/x"));
}

#[test]
fn an_intercepted_status_gets_the_operators_page() {
    let dir = Dir::new();
    let (weir, origin) = pages(&dir, "[error_pages]\n5xx = \"CLASS\"\nintercept = [\"500-504\"]");
    let mut client = weir.client();
    for _ in 0..2 {
        let response = client.exchange("GET /ill HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((response.status, response.text().as_str()), (503, "class 503"));
        assert_eq!(response.fields.first("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.fields.first("x-own"), Some("yes"), "other fields stay");
        assert!(response.fields.first("etag").is_none(), "what described the other body does not");
    }
    let head = {
        client.write("HEAD /ill HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response_to("HEAD")
    };
    assert_eq!((head.status, head.fields.first("content-length")), (503, Some("9")));
    assert!(origin.requests().len() >= 3);
}

#[test]
fn a_client_of_json_gets_a_problem_document_in_an_upstreams_place() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n5xx = \"CLASS\"\nintercept = [\"503\"]");
    let response = weir.request("GET", "/ill", &[("Accept", "application/json")], b"");
    assert_eq!((response.status, response.fields.first("content-type")), (503, Some("application/problem+json")));
    let problem = response.json();
    assert_eq!((&problem["status"], &problem["title"]), (&503.into(), &"Service Unavailable".into()), "{problem}");
    assert_eq!(problem["request_id"].as_str(), response.fields.first("x-request-id"));
    assert!(problem.get("detail").is_none(), "{problem}");
}

#[test]
fn the_form_goes_by_the_weights_of_all_accept_lines() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "");
    for (accept, form) in [
        (&["text/html;q=0.5", "application/json;q=0.9"][..], "application/problem+json"),
        (&["application/json;q=0.5", "text/html;q=0.9"], "text/html; charset=utf-8"),
        (&["TEXT/HTML"], "text/html; charset=utf-8"),
        (&["application/vnd.api+json"], "application/problem+json"),
        (&["text/html;q=0, application/json;q=0"], "text/plain; charset=utf-8"),
        (&["*/*"], "text/plain; charset=utf-8"),
        (&[], "text/plain; charset=utf-8"),
    ] {
        let fields: Vec<_> = accept.iter().map(|line| ("Accept", *line)).collect();
        let response = weir.request("GET", "/none", &fields, b"");
        assert_eq!((response.status, response.fields.first("content-type")), (404, Some(form)), "{accept:?}");
    }
}

#[test]
fn a_trusted_peers_request_id_is_escaped() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[[client.proxy]]\ncidrs = [\"127.0.0.1\"]\n[error_pages]\n404 = \"OWN\"");
    let fields = [("X-Request-Id", "a&b'c"), ("X-Forwarded-For", "192.0.2.1")];
    let page = weir.request("GET", "/none", &fields, b"");
    assert_eq!(page.text(), "<p>404 no_route a&amp;b&#39;c {other}</p>");
    let json = [fields[0], fields[1], ("Accept", "application/json")];
    assert_eq!(weir.request("GET", "/none", &json, b"").json()["request_id"], "a&b'c");
}

#[test]
fn pages_are_read_again_at_a_reload_and_a_bad_one_changes_nothing() {
    let dir = Dir::new();
    let path = dir.write("page.html", "old {status}");
    let weir = Config::new().tables(&format!("[error_pages]\n404 = \"{}\"", path.display())).start();
    assert_eq!(weir.get("/").text(), "old 404");
    dir.write("page.html", "new {status}");
    assert_eq!(weir.get("/").text(), "old 404", "until it is asked to");
    weir.reload_text(&weir.text());
    wait::until("the new page", || weir.get("/").text() == "new 404");
    let generation = weir.generation();
    dir.write("page.html", b"\xff\xfe");
    weir.reload_text(&weir.text());
    wait::until("the refusal", || (weir.stderr() + &weir.stdout()).contains("UTF-8"));
    assert_eq!((weir.get("/").text().as_str(), weir.generation()), ("new 404", generation));
}

#[test]
fn the_largest_page_is_sent_whole() {
    let dir = Dir::new();
    let path = dir.write("page.html", "x".repeat(64 * 1024));
    let weir = Config::new().tables(&format!("[error_pages]\n4xx = \"{}\"", path.display())).start();
    assert_eq!(weir.get("/").body.len(), 64 * 1024);
}

#[test]
fn a_route_may_intercept_less_than_all() {
    let dir = Dir::new();
    let page = dir.write("page.html", "page {status}").to_string_lossy().into_owned();
    let origin = Origin::answering(answer(503, &[], "ill"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/own\"", &[&origin.url()])
        .with("[route.error_pages]\nintercept = []")
        .route(2, "path_prefix = \"/\"", &[&origin.url()])
        .tables(&format!("[error_pages]\n503 = \"{page}\"\nintercept = [\"5xx\"]"))
        .start();
    assert_eq!((weir.get("/own").text().as_str(), weir.get("/").text().as_str()), ("ill", "page 503"));
}

#[test]
fn keys_that_are_no_error_status_are_problems_of_the_document() {
    let dir = Dir::new();
    let page = dir.write("page.html", "page").to_string_lossy().into_owned();
    for (line, names) in [
        (format!("200 = \"{page}\""), "200"),
        (format!("6xx = \"{page}\""), "6xx"),
        (format!("\"400-404\" = \"{page}\""), "400-404"),
        ("404 = 1".to_owned(), "404"),
        ("intercept = [\"x\"]".to_owned(), "intercept"),
    ] {
        let text =
            format!("version = 1\n[error_pages]\n{line}\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n");
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = weir_tests::weir::command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{line}: {}", exit.stderr);
        let said = exit.stderr + &exit.stdout;
        assert!(said.contains("weir.toml:3") && said.contains(names), "{line}: {said}");
    }
}

#[test]
fn an_intercepted_status_without_a_page_passes() {
    let dir = Dir::new();
    let (weir, _origin) = pages(&dir, "[error_pages]\n404 = \"CLASS\"\nintercept = [\"5xx\"]");
    assert_eq!(weir.get("/ill").text(), "ill");
}

#[test]
fn a_routes_own_pages_come_first() {
    let dir = Dir::new();
    let own = dir.write("route.html", "route {status}").to_string_lossy().into_owned();
    let global = dir.write("global.html", "global {status}").to_string_lossy().into_owned();
    let port = weir_tests::ports::Port::reserve();
    let dead = format!("http://{}", port.address());
    let weir = Config::new()
        .route(1, "path_prefix = \"/own\"", &[&dead])
        .with(&format!("[route.error_pages]\n5xx = \"{own}\""))
        .route(2, "path_prefix = \"/\"", &[&dead])
        .tables(&format!("[error_pages]\n502 = \"{global}\""))
        .start();
    assert_eq!(weir.get("/own").text(), "route 502");
    assert_eq!(weir.get("/").text(), "global 502");
}

#[test]
fn a_page_that_cannot_be_used_is_a_problem_of_the_document() {
    let dir = Dir::new();
    let large = dir.write("large.html", vec![b'x'; 65 * 1024]).to_string_lossy().into_owned();
    for (page, names) in [(large.as_str(), "64 KiB"), ("/no/such/page", "/no/such/page")] {
        let text = format!(
            "version = 1\n[error_pages]\n404 = \"{page}\"\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n"
        );
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = weir_tests::weir::command(&["run", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        assert!(exit.stderr.contains(names) && exit.stderr.contains("error_pages"), "{}", exit.stderr);
    }
}
