//! Servers that are not ours, and the documents that name them.

use weir_tests::h2c::H2Origin;
use weir_tests::servers::{Server, nginx_h2c, nginx_tls, node_h2c};
use weir_tests::{Config, wait, weir};

use crate::to;

#[test]
fn a_probe_asks_in_the_targets_own_protocol() {
    let origin = H2Origin::new(|mut call| async move {
        let status = if call.head.uri.path() == "/health" { 200 } else { 404 };
        call.answer(status, &[], "")
    });
    let weir = to(origin.url())
        .with(
            "[route.target.health]\npath = \"/health\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nstart = \"unhealthy\"",
        )
        .start();
    wait::until("the endpoint to be healthy", || weir.get("/").status == 404);
    let seen = origin.calls();
    let probe = seen.iter().find(|head| head.uri.path() == "/health").expect("a probe");
    assert_eq!((probe.version, probe.method.as_str()), (http::Version::HTTP_2, "GET"));
    assert_eq!(probe.headers["user-agent"], "weir-health");
    assert_eq!(probe.uri.authority().map(|authority| authority.as_str()), Some(origin.address().to_string().as_str()));
}

#[test]
fn a_grpc_probe_asks_whether_the_service_serves() {
    let origin = H2Origin::new(|mut call| async move {
        if call.head.uri.path() != "/grpc.health.v1.Health/Check" {
            return call.answer(200, &[], "served");
        }
        let Ok((question, _)) = call.content().await else { return };
        call.note(format!("{:?}", String::from_utf8_lossy(&question)));
        let serves = question.ends_with(b"shop.Cart");
        let mut stream = call.begin(200, &[("content-type", "application/grpc")], false);
        let _ = stream.send_data(vec![0, 0, 0, 0, 2, 8, if serves { 1 } else { 2 }].into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    });
    let health = |service: &str| {
        format!(
            "[route.target.health]\nkind = \"grpc\"\nservice = \"{service}\"\ninterval = \"1s\"\ntimeout = \"500ms\"\n\
             unhealthy = 1\nhealthy = 1\nstart = \"unhealthy\""
        )
    };
    let weir = to(origin.url()).with(&health("shop.Cart")).start();
    wait::until("the endpoint to be healthy", || weir.get("/").text() == "served");
    let weir = to(origin.url()).with(&health("shop.Other").replace("unhealthy\"", "unknown\"")).start();
    wait::until("the endpoint to be unhealthy", || weir.get("/").status == 503);
    origin.wait_note("\"\\0\\0\\0\\0\\u{b}\\n\\tshop.Cart\"");

    let config = Config::forwarding(origin.url()).with(&health("shop.Cart"));
    let dir = weir_tests::dir::Dir::new();
    let path = dir.write("weir.toml", config.text());
    let exit = weir::command(&["check", "--config", &path.display().to_string()]);
    assert_ne!(exit.code, Some(0));
    assert!((exit.stdout + &exit.stderr).contains("needs a protocol of HTTP/2"));
}

#[test]
fn an_origin_of_another_protocol_fails_its_probes() {
    let origin = weir_tests::Origin::ok("http/1");
    let weir =
        to(origin.url()).with("[route.target.health]\ninterval = \"1s\"\ntimeout = \"500ms\"\nunhealthy = 1").start();
    wait::until("the endpoint to be unhealthy", || weir.get("/").status == 503);
}

#[test]
fn explain_names_the_protocol() {
    let origin = H2Origin::ok("hello");
    let weir = to(origin.url()).start();
    let config = weir.path("weir.toml").display().to_string();
    let exit = weir::command(&["explain", "--config", &config, "--json", "GET", "http://test/"]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let answer: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
    assert_eq!(answer["endpoints"][0]["protocol"], "h2c", "{answer}");
    let route = weir.api("/api/v1/routes/route-1");
    assert!(route.to_string().contains("\"protocol\":\"h2c\""), "{route}");
}

#[test]
fn a_wrong_protocol_is_named() {
    for (protocol, says) in [("\"h3\"", "protocol"), ("2", "protocol")] {
        let config = Config::forwarding("http://127.0.0.1:1").with(&format!("protocol = {protocol}"));
        let dir = weir_tests::dir::Dir::new();
        let path = dir.write("weir.toml", config.text());
        let exit = weir::command(&["check", "--config", &path.display().to_string()]);
        assert_ne!(exit.code, Some(0), "{protocol}");
        let said = exit.stdout + &exit.stderr;
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_static_answer_has_no_protocol() {
    let config =
        Config::new().route(1, "path_prefix = \"/\"", &[]).with("[[route.target]]\nstatic = {}\nprotocol = \"h2c\"");
    let dir = weir_tests::dir::Dir::new();
    let path = dir.write("weir.toml", config.text());
    let exit = weir::command(&["check", "--config", &path.display().to_string()]);
    assert_ne!(exit.code, Some(0));
    assert!((exit.stdout + &exit.stderr).contains("protocol has no effect"));
}

#[test]
fn nginx_serves_files_and_takes_uploads() {
    let dir = weir_tests::dir::Dir::new();
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
    dir.write("large", &large);
    dir.write("small", "hello");
    let locations = "location /up { client_max_body_size 100m; return 204; }";
    let server = nginx_h2c(dir.path(), locations);
    let weir = to(server.url()).start();
    for _ in 0..3 {
        assert_eq!(weir.get("/small").text(), "hello");
        assert!(weir.get("/large").body == large);
    }
    assert_eq!(weir.request("HEAD", "/large", &[], b"").fields.first("content-length"), Some("5000000"));
    assert_eq!(weir.get("/absent").status, 404);
    let range = weir.request("GET", "/small", &[("Range", "bytes=1-2")], b"");
    assert_eq!((range.status, range.text().as_str()), (206, "el"));
    // It answers before it has read them.
    for _ in 0..3 {
        assert_eq!(weir.request("POST", "/up", &[], &large[..1_000_000]).status, 204);
    }
    wait::until("all to be counted", || weir.metrics().reason("ok") == 12);
}

#[test]
fn nginx_ends_connections_by_goaway_and_no_request_is_lost() {
    let dir = weir_tests::dir::Dir::new();
    dir.write("small", "hello");
    let server = nginx_h2c(dir.path(), "keepalive_requests 20;");
    let weir = to(server.url()).tables("[retry]\nattempts = 0").start();
    let load = weir_tests::load::Load::start(weir.web(), "/small", 8);
    load.progress(2_000);
    let (_, failures) = load.stop();
    assert_eq!(failures, Vec::<String>::new());
    assert!(weir.metrics().sum("weir_upstream_connects_total", &[]) >= 90.0, "20 requests each");
}

#[test]
fn node_echoes_bodies_and_trailers() {
    let server = node_h2c("response.addTrailers({ 'x-check': 'yes' }); request.pipe(response);");
    let weir = to(server.url()).start();
    let body = vec![b'n'; 700_000];
    for _ in 0..3 {
        let response = weir.request("POST", "/", &[("TE", "trailers")], &body);
        assert!(response.status == 200 && response.body == body);
        assert_eq!(response.trailers.first("x-check"), Some("yes"));
    }
}

/// weir before an nginx with TLS, speaking this.
fn secure(server: &Server, protocol: &str) -> Config {
    let url = server.url().replace("http://", "https://");
    Config::forwarding(url).with(&format!("protocol = \"{protocol}\"\ntls = {{ verify = false }}"))
}

/// What of HTTP the origin was spoken to in.
const VERSION: &str = "location /version { return 200 $server_protocol; }";

#[test]
fn http2_goes_over_tls_alone_or_by_agreement() {
    let dir = weir_tests::dir::Dir::new();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    dir.write("large", &large);
    let (both, old) = (nginx_tls(true, dir.path(), VERSION), nginx_tls(false, dir.path(), VERSION));
    for (server, protocol, spoken) in [
        (&both, "h2", "HTTP/2.0"),
        (&both, "auto", "HTTP/2.0"),
        (&both, "http1", "HTTP/1.1"),
        (&old, "auto", "HTTP/1.1"),
        (&old, "http1", "HTTP/1.1"),
    ] {
        let weir = secure(server, protocol).start();
        for _ in 0..3 {
            assert_eq!(weir.get("/version").text(), spoken, "{protocol}");
            assert!(weir.get("/large").body == large, "{protocol}");
        }
        assert_eq!(weir.metrics().sum("weir_upstream_connects_total", &[]), 1.0, "{protocol}");
    }
    let weir = secure(&old, "h2").start();
    assert_eq!(weir.get("/version").status, 502);
    weir.wait_reason("upstream_tls_failed", 1);
}

#[test]
fn probes_agree_on_a_protocol_too() {
    let dir = weir_tests::dir::Dir::new();
    let health =
        "[route.target.health]\npath = \"/version\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nstart = \"unhealthy\"";
    for (http2, protocol) in [(true, "h2"), (true, "auto"), (false, "auto")] {
        let server = nginx_tls(http2, dir.path(), VERSION);
        let weir = secure(&server, protocol).with(health).start();
        wait::until("the endpoint to be healthy", || weir.get("/version").status == 200);
    }
}

#[test]
fn a_protocol_fits_its_url() {
    for (url, protocol, wants) in [
        ("http://a.test", "h2", "https://"),
        ("http://a.test", "auto", "https://"),
        ("https://a.test", "h2c", "http://"),
    ] {
        let config = Config::forwarding(url).with(&format!("protocol = \"{protocol}\""));
        let dir = weir_tests::dir::Dir::new();
        let path = dir.write("weir.toml", config.text());
        let exit = weir::command(&["check", "--config", &path.display().to_string()]);
        let said = exit.stdout + &exit.stderr;
        let wanted = format!("protocol = \"{protocol}\" needs a url that is {wants}");
        assert!(exit.code != Some(0) && said.contains(&wanted), "{said}");
    }
}
