//! Compression end to end: what comes out is what went in, the head tells the truth, and nobody waits for it.

#[path = "compression/streams.rs"]
mod streams;

use std::time::Duration;

use weir_tests::coding::{CODINGS, decode, shown};
use weir_tests::dir::Dir;
use weir_tests::origin::answer;
use weir_tests::{Config, Gate, Origin, Response, Weir, program};

const ON: &str = "[compression]\nalgorithms = [\"zstd\", \"br\", \"gzip\"]\nsize_min = 0";

/// Words that repeat, among numbers that do not.
fn text(octets: usize) -> String {
    let mut text = String::with_capacity(octets + 64);
    let mut state = 1u64;
    while text.len() < octets {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text += &format!("{{\"id\":{},\"name\":\"weir\"}},\n", state >> 40);
    }
    text.truncate(octets);
    text
}

fn html(body: &str) -> Vec<u8> {
    answer(200, &[("Content-Type", "text/html")], body)
}

fn chunked(parts: &[&str]) -> Vec<u8> {
    let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into()
}

/// weir before an origin, with these tables.
fn before(origin: &Origin, tables: &str) -> Weir {
    Config::forwarding(origin.url()).tables(tables).without_kernel().start()
}

fn accepting(coding: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")
}

fn coding_of(response: &Response) -> Option<&str> {
    response.fields.first("content-encoding")
}

#[test]
fn every_coding_framing_and_version_gives_the_body_back() {
    let body = text(300_000);
    let plain = body.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            let whole = match request.target.as_str() {
                "/length" => html(&plain),
                "/chunked" => chunked(&[&plain[..1000], &plain[1000..200_000], &plain[200_000..]]),
                _ => {
                    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nConnection: close\r\n\r\n{plain}"));
                    return conn.close();
                }
            };
            conn.send(whole);
        }
    });
    let weir = before(&origin, ON);
    for coding in CODINGS {
        for version in ["1.0", "1.1"] {
            let mut client = weir.client();
            for path in ["/length", "/chunked", "/close"] {
                if version == "1.0" {
                    client = weir.client();
                }
                let ask = format!("GET {path} HTTP/{version}\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
                let response = client.exchange(ask);
                assert_eq!(coding_of(&response), Some(coding), "{path} {version}");
                assert!(response.fields.first("content-length").is_none());
                assert!(response.body.len() < body.len() / 3, "{} octets", response.body.len());
                assert!(decode(coding, &response.body).expect("a whole body") == body.as_bytes(), "{coding} {path}");
            }
        }
    }
    let metrics = weir.metrics();
    for coding in CODINGS {
        let label = format!("coding=\"{coding}\"");
        assert_eq!(metrics.sum("weir_compressed_responses_total", &[&label]), 6.0, "{coding}");
        let came = metrics.sum("weir_compressed_bytes_total", &[&label, "side=\"in\""]);
        let sent = metrics.sum("weir_compressed_bytes_total", &[&label, "side=\"out\""]);
        assert!(came == 1_800_000.0 && sent > 1000.0 && sent < came / 3.0, "{came} {sent}");
    }
    let line = weir.wait_log("a compressed response", |line| line["path"] == "/length");
    assert!(line["body_out"].as_u64().is_some_and(|octets| octets < 100_000), "what was sent is what counts: {line}");
}

#[test]
fn curl_gets_the_same_over_http2() {
    let body = text(500_000);
    let plain = body.clone();
    let gate = Gate::new();
    let door = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/cut" => {
                    conn.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9999999\r\n\r\n{plain}"
                    ));
                    return conn.close();
                }
                "/slow" => {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\nfirst");
                    door.pass();
                    conn.send("again");
                }
                "/chunked" => assert!(conn.send(chunked(&[&plain[..70_000], &plain[70_000..]]))),
                _ => assert!(conn.send(html(&plain))),
            }
        }
    });
    let weir = Config::forwarding(origin.url()).listener("h2c = true").tables(ON).without_kernel().start();
    let dir = Dir::new();
    let curl = |coding: &str, path: &str, more: &[&str]| {
        let (out, head) = (dir.join("out"), dir.join("head"));
        let (out, head) = (out.to_string_lossy().into_owned(), head.to_string_lossy().into_owned());
        let (ask, url) = (format!("Accept-Encoding: {coding}"), weir.url(path));
        let args = ["-sS", "--http2-prior-knowledge", "-H", &ask, "-o", &out, "-D", &head, &url];
        let exit = program::run("curl", &[&args, more].concat(), Duration::from_secs(60));
        let read = |path: &str| std::fs::read(path).unwrap_or_default();
        (exit.code, String::from_utf8(read(&head)).expect("text"), read(&out))
    };
    for coding in CODINGS {
        for path in ["/length", "/chunked"] {
            let (code, head, coded) = curl(coding, path, &[]);
            assert_eq!(code, Some(0), "{head}");
            assert!(
                head.starts_with("HTTP/2 200") && head.contains(&format!("content-encoding: {coding}\r\n")),
                "{head}"
            );
            assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
            assert!(decode(coding, &coded).expect("a whole body") == body.as_bytes(), "{coding} {path}");
        }
        let (code, head, _) = curl(coding, "/cut", &[]);
        assert!(code.is_some_and(|code| code != 0), "a cut body ends its stream with an error: {head}");
        // What a pause has brought out is here when curl's patience ends.
        let (code, _, part) = curl(coding, "/slow", &["--max-time", "1"]);
        assert_eq!((code, shown(coding, &part).as_slice()), (Some(28), b"first".as_slice()));
    }
    gate.open();
}

#[test]
fn a_body_may_be_split_anywhere() {
    let body = text(180);
    let parts = body.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            let at: usize = request.target[1..].parse().expect("a place");
            let whole = chunked(&[&parts[..at], &parts[at..]]);
            // Each place of the content, and each of the octets that carry it.
            if !conn.send_parts([&whole[..at], &whole[at..]]) {
                return;
            }
        }
    });
    let weir = before(&origin, ON);
    for coding in CODINGS {
        let mut client = weir.client();
        for at in 1..body.len() {
            let response = client.exchange(accepting(coding).replace("GET /", &format!("GET /{at}")));
            let content = decode(coding, &response.body).unwrap_or_else(|e| panic!("{coding} at {at}: {e}"));
            assert_eq!(content, body.as_bytes(), "{coding} at {at}");
        }
    }
}

#[test]
fn curl_and_gzip_take_the_codings_back() {
    let body = text(2 << 20);
    let origin = Origin::answering(html(&body));
    let weir = before(&origin, ON);
    let dir = Dir::new();
    for coding in CODINGS {
        let out = dir.join(coding).to_string_lossy().into_owned();
        let ask = format!("Accept-Encoding: {coding}");
        let args = ["-sS", "--fail", "--compressed", "-H", &ask, "-o", &out, &weir.url("/")];
        program::succeed("curl", &args, Duration::from_secs(60));
        assert!(std::fs::read(&out).expect("a body") == body.as_bytes(), "{coding}");
    }
    let response = weir.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
    let file = dir.write("body.gz", &response.body).to_string_lossy().into_owned();
    program::succeed("gzip", &["-t", &file], Duration::from_secs(60));
}

#[test]
fn the_client_chooses_and_the_list_breaks_ties() {
    let origin = Origin::answering(html(&text(4000)));
    let weir = before(&origin, ON);
    for (accept, coding) in [
        ("gzip, br, zstd", Some("zstd")),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.1", Some("gzip")),
        ("BR", Some("br")),
        ("x-gzip", Some("gzip")),
        ("*", Some("zstd")),
        ("*;q=0.5, zstd;q=0", Some("br")),
        ("identity;q=0, gzip;q=0.001", Some("gzip")),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("deflate, compress", None),
        ("", None),
    ] {
        let response = weir.request("GET", "/", &[("Accept-Encoding", accept)], b"");
        assert_eq!(coding_of(&response), coding, "{accept}");
        assert_eq!(response.fields.first("vary"), Some("Accept-Encoding"), "{accept}");
        assert_eq!(response.fields.first("content-length").is_some(), coding.is_none(), "{accept}");
    }
    let none = weir.get("/");
    assert_eq!((coding_of(&none), none.fields.first("vary")), (None, Some("Accept-Encoding")));
}

#[test]
fn hostile_accept_encoding_harms_nobody() {
    let body = text(4000);
    let origin = Origin::answering(html(&body));
    let weir = before(&origin, ON);
    let long = "gzip;q=0.".repeat(3000);
    let many = "br;q=0,".repeat(4000) + "gzip";
    let stars = "*,".repeat(10_000);
    for accept in [
        long.as_str(),
        &many,
        &stars,
        "gzip;q=99999999999999999999",
        "gzip;q=-1, br;q=1e3, zstd;q=NaN",
        ";;;,,,;q=1,=,q=1;gzip",
        "gzip\u{ff}; q=\"1\"",
        "gzip;q=0.00000000000000000000000000001",
        "gzip, gzip;q=0, gzip;q=1",
    ] {
        let mut client = weir.client();
        client.write(accepting(accept));
        let response = client.response();
        assert_eq!(response.status, 200, "{accept:.60}");
        let content = match coding_of(&response) {
            Some(coding) => decode(coding, &response.body).expect("a whole body"),
            None => response.body.clone(),
        };
        assert!(content == body.as_bytes(), "{accept:.60}");
    }
    let lines = "Accept-Encoding: zstd;q=0\r\n".repeat(90);
    let response =
        weir.client().exchange(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Accept-Encoding: zstd, br\r\n\r\n"));
    assert_eq!(coding_of(&response), Some("br"), "what is refused anywhere is refused");
}

#[test]
fn the_head_tells_of_the_body_that_is_sent() {
    let fields = [
        ("Content-Type", "application/json"),
        ("ETag", "\"strong\""),
        ("Vary", "Origin"),
        ("Accept-Ranges", "bytes"),
        ("Digest", "sha-256=a"),
        ("Content-Digest", "sha-256=:a:"),
        ("Repr-Digest", "sha-256=:a:"),
        ("Content-MD5", "a"),
        ("X-Other", "stays"),
    ];
    let origin = Origin::answering(answer(200, &fields, &text(5000)));
    let weir = before(&origin, ON);
    let coded = weir.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
    let gone = ["accept-ranges", "digest", "content-digest", "repr-digest", "content-md5", "content-length"];
    for name in gone {
        assert!(coded.fields.first(name).is_none(), "{name}");
    }
    assert_eq!(coded.fields.first("etag"), Some("W/\"strong\""));
    assert_eq!(coded.fields.first("x-other"), Some("stays"));
    assert!(coded.fields.names("vary", "origin") && coded.fields.names("vary", "accept-encoding"));
    // Whoever does not like it gets everything as it was.
    let plain = weir.get("/");
    assert!(gone.iter().all(|name| plain.fields.first(name).is_some()), "{:?}", plain.fields);
    assert_eq!(plain.fields.first("etag"), Some("\"strong\""));
    assert!(plain.fields.names("vary", "accept-encoding"));
}

#[test]
fn head_tells_what_get_would() {
    let origin = Origin::scripted(|mut conn, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"e\"\r\nContent-Length: 5000\r\n\r\n";
        while conn.request().is_some() && conn.send(head) {}
    });
    let weir = before(&origin, ON);
    let mut client = weir.client();
    let ask = "HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    for _ in 0..2 {
        client.write(ask);
        let head = client.response_to("HEAD");
        assert_eq!((coding_of(&head), head.fields.first("etag")), (Some("gzip"), Some("W/\"e\"")));
        assert!(head.fields.first("content-length").is_none() && head.body.is_empty());
    }
    client.write(ask.replace("gzip", "identity"));
    let plain = client.response_to("HEAD");
    assert_eq!((coding_of(&plain), plain.fields.first("content-length")), (None, Some("5000")));
}

#[test]
fn what_must_stay_as_it_is_does() {
    let body = text(5000);
    let same = body.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            let html = ("Content-Type", "text/html");
            let whole = match &request.target[1..] {
                "coded" => answer(200, &[html, ("Content-Encoding", "gzip")], &same),
                "no-transform" => answer(200, &[html, ("Cache-Control", "max-age=1, no-transform")], &same),
                "part" => answer(206, &[html, ("Content-Range", "bytes 0-4999/9999")], &same),
                "image" => answer(200, &[("Content-Type", "image/png")], &same),
                "untyped" => answer(200, &[], &same),
                "grpc" => answer(200, &[("Content-Type", "application/grpc+json")], &same),
                "small" => answer(200, &[html], &same[..1023]),
                "small-chunked" => chunked(&[&same[..500], &same[500..1000]]),
                "empty" => answer(200, &[html], ""),
                _ => answer(200, &[html], &same),
            };
            conn.send(whole);
        }
    });
    let types = "types = [\"text/*\", \"application/*+json\", \"application/json\"]";
    let weir = before(&origin, &format!("[compression]\nalgorithms = [\"gzip\"]\n{types}"));
    let mut client = weir.client();
    for path in ["coded", "no-transform", "part", "image", "untyped", "grpc", "small", "small-chunked", "empty"] {
        let response = client.exchange(accepting("gzip").replace("GET /", &format!("GET /{path}")));
        assert!(body.starts_with(&response.text()), "{path}");
        assert!(response.fields.first("vary").is_none(), "{path}");
        assert_eq!(coding_of(&response).is_some(), path == "coded", "{path}");
    }
    // What shows that the others would have been: the same with nothing in its way.
    let response = client.exchange(accepting("gzip"));
    assert_eq!(coding_of(&response), Some("gzip"));
    let fields = [("Accept-Encoding", "gzip"), ("Cache-Control", "no-transform")];
    assert_eq!(coding_of(&weir.request("GET", "/", &fields, b"")), None, "the client forbids it");
}

#[test]
fn a_304_has_the_entity_tag_that_the_client_knows() {
    let origin = Origin::answering("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n");
    let weir = before(&origin, ON);
    let etag = |asked: &str| {
        let response = weir.request("GET", "/", &[("If-None-Match", asked), ("Accept-Encoding", "gzip")], b"");
        assert_eq!((response.status, coding_of(&response)), (304, None));
        response.fields.first("etag").expect("an entity tag").to_owned()
    };
    assert_eq!(etag("W/\"e\""), "W/\"e\"");
    assert_eq!(etag("\"e\""), "\"e\"");
}

#[test]
fn trailers_pass_but_for_digests() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         X-Sum: 1\r\nContent-Digest: sha-256=:a:\r\nRepr-Digest: sha-256=:a:\r\nDigest: a\r\n\r\n",
    );
    let weir = before(&origin, ON);
    let ask = |coding: &str| {
        let fields = [("Accept-Encoding", coding), ("TE", "trailers"), ("Connection", "TE")];
        let mut client = weir.client();
        client.exchange(weir_tests::exchange::bytes("GET", "/", &fields, b""))
    };
    let coded = ask("gzip");
    assert_eq!(decode("gzip", &coded.body).expect("a body"), b"abc");
    assert_eq!(coded.trailers.0, [("X-Sum".to_owned(), "1".to_owned())]);
    assert_eq!(ask("identity").trailers.0.len(), 4);
}

#[test]
fn the_connection_serves_on_behind_a_coded_body() {
    let body = text(50_000);
    let origin = Origin::answering(html(&body));
    let weir = before(&origin, ON);
    let mut client = weir.client();
    client.write(accepting("zstd").repeat(20));
    for _ in 0..20 {
        assert!(decode("zstd", &client.response().body).expect("a whole body") == body.as_bytes());
    }
    assert_eq!(origin.accepted(), 1, "the upstream's connection is used again");
}

#[test]
fn pages_and_answers_of_weirs_own_are_coded_too() {
    let dir = Dir::new();
    let page = dir.write("page.html", format!("{{status}} {}", text(20_000)));
    let fixed = text(30_000).replace('"', "'").replace('\n', " ");
    let origin = Origin::answering(answer(503, &[("Content-Type", "text/plain"), ("Content-Digest", "x")], "ill"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/ill\"", &[&origin.url()])
        .route(2, "path_prefix = \"/fixed\"", &[])
        .with("[[route.target]]")
        .with(&format!(
            "static = {{ body = \"{fixed}\", headers = {{ Content-Type = \"text/plain\", ETag = '\"s\"' }} }}"
        ))
        .tables(&format!("[error_pages]\n404 = \"{0}\"\n503 = \"{0}\"\nintercept = [\"503\"]", page.display()))
        .tables("[compression]\nalgorithms = [\"br\", \"gzip\"]")
        .without_kernel()
        .start();
    for coding in ["br", "gzip"] {
        let mut client = weir.client();
        for (path, status, start) in [("/none", 404, "404 {"), ("/fixed", 200, "{'id'"), ("/ill", 503, "503 {")] {
            let ask = accepting(coding).replace("GET /", &format!("GET {path}"));
            let response = client.exchange(&ask);
            assert_eq!((response.status, coding_of(&response)), (status, Some(coding)), "{path}");
            let length = response.fields.first("content-length").expect("the coded length").to_owned();
            assert_eq!(length, response.body.len().to_string(), "it is here whole, and its length known");
            let content = decode(coding, &response.body).expect("a whole body");
            assert!(content.starts_with(start.as_bytes()) && content.len() > 20_000, "{path}");
            assert!(response.body.len() < content.len() / 2);
            client.write(ask.replace("GET ", "HEAD "));
            let head = client.response_to("HEAD");
            assert_eq!((coding_of(&head), head.fields.first("content-length")), (Some(coding), Some(&*length)));
        }
        assert_eq!(
            client.exchange(accepting(coding).replace("GET /", "GET /fixed")).fields.first("etag"),
            Some("W/\"s\"")
        );
    }
    let small = weir.request("GET", "/none", &[("Accept-Encoding", "gzip"), ("Accept", "application/json")], b"");
    assert_eq!(coding_of(&small), None, "a short page is sent as it is");
}

#[test]
fn a_route_has_its_own_compression() {
    let origin = Origin::answering(html(&text(5000)));
    let weir = Config::new()
        .route(1, "path_prefix = \"/off\"", &[&origin.url()])
        .with("[route.compression]\nalgorithms = []")
        .route(2, "name = \"zipped\"\npath_prefix = \"/gzip\"", &[&origin.url()])
        .with("[route.compression]\nalgorithms = [\"gzip\"]")
        .route(3, "path_prefix = \"/large\"", &[&origin.url()])
        .with("[route.compression]\nsize_min = \"8KiB\"")
        .route(4, "path_prefix = \"/types\"", &[&origin.url()])
        .with("[route.compression]\ntypes = [\"text/css\"]")
        .route(5, "path_prefix = \"/\"", &[&origin.url()])
        .tables(ON)
        .without_kernel()
        .start();
    let coding = |path: &str| {
        let response = weir.request("GET", path, &[("Accept-Encoding", "gzip, zstd")], b"");
        coding_of(&response).map(str::to_owned)
    };
    assert_eq!(coding("/"), Some("zstd".to_owned()));
    assert_eq!(coding("/gzip"), Some("gzip".to_owned()));
    assert_eq!((coding("/off"), coding("/large"), coding("/types")), (None, None, None));
    assert_eq!(weir.get("/off").fields.first("vary"), None, "what is off says nothing");
    let shown = weir.api("/api/v1/routes/zipped");
    assert_eq!(shown["compression"]["algorithms"], serde_json::json!(["gzip"]), "{shown}");
}

#[test]
fn bad_keys_are_told() {
    let dir = Dir::new();
    for (table, named) in [
        ("[compression]\nalgorithms = [\"deflate\"]", "algorithms"),
        ("[compression]\nalgorithms = \"gzip\"", "algorithms"),
        ("[compression]\nsize_min = \"1B\"", "size_min"),
        ("[compression]\ntypes = [\"html\"]", "types"),
        ("[compression]\nlevel = 9", "level"),
        ("[[route]]\nlistener = \"web\"\npath_prefix = \"/\"\ncompression = { memory_max = \"1MiB\" }", "memory_max"),
    ] {
        let text = format!("version = 1\n{table}\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n");
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = weir_tests::weir::command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{table}\n{}{}", exit.stdout, exit.stderr);
        assert!((exit.stdout.clone() + &exit.stderr).contains(named), "{table}\n{}{}", exit.stdout, exit.stderr);
    }
}
