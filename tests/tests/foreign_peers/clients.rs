//! curl, nghttp and h2load.

use weir_tests::dir::Dir;
use weir_tests::program::{run, succeed};
use weir_tests::{Config, Origin, servers};

use super::stand::{BOTH, Begun, MINUTE, Stand, octets};

/// curl with what it needs to speak HTTP/2 to a stand.
fn curl(stand: &Stand, begun: Begun, args: &[&str]) -> String {
    let authority = stand.authority();
    let how: &[&str] = match begun {
        Begun::PriorKnowledge => &["--http2-prior-knowledge"],
        Begun::Agreed => &["--http2", "--cacert", &authority],
    };
    succeed("curl", &[&["-sSf", "--max-time", "30"], how, args].concat(), MINUTE)
}

#[test]
fn curl_speaks_http_2_both_ways() {
    for begun in BOTH {
        let origin = Origin::echo();
        let stand = Stand::new(begun, Config::forwarding(origin.url()));
        let dir = Dir::new();
        for size in [0, 1, 16_384, 65_536, 1_000_000] {
            let (file, back) = (dir.write("up", octets(size)), dir.join("back"));
            let (body, out) = (format!("@{}", file.display()), back.display().to_string());
            let said = curl(
                &stand,
                begun,
                &["-w", "%{http_version} %{http_code}", "-o", &out, "--data-binary", &body, &stand.url("/")],
            );
            assert_eq!(said, "2 200", "{begun:?}");
            assert!(std::fs::read(&back).unwrap_or_default() == octets(size), "{size} octets came back changed");
        }
    }
}

/// Within TLS alone: by prior knowledge this curl breaks its own second transfer on a connection.
#[test]
fn curl_asks_for_many_at_once_on_one_connection() {
    let (dir, mut args) = (Dir::new(), vec!["--parallel".to_owned(), "--parallel-max".into(), "20".into()]);
    dir.write("large", octets(3_000_000));
    let nginx = servers::nginx(dir.path(), "");
    let stand = Stand::new(Begun::Agreed, Config::forwarding(nginx.url()));
    for n in 0..20 {
        args.extend(["-o".into(), dir.join(&format!("{n}")).display().to_string(), stand.url("/large")]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    curl(&stand, Begun::Agreed, &args);
    for n in 0..20 {
        let came = std::fs::read(dir.join(&format!("{n}"))).expect("a file");
        assert!(came == octets(3_000_000), "file {n} came changed");
    }
    assert_eq!(stand.weir.reason("ok"), 20);
}

#[test]
fn curl_is_told_of_errors_by_frames() {
    let stand = Stand::new(Begun::PriorKnowledge, Config::forwarding(Origin::ok("x").url()));
    let status = ["-sS", "--max-time", "20", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}"];
    let asked = |more: &[&str]| succeed("curl", &[&status[..], more].concat(), MINUTE);
    let url = stand.url("/");
    assert_eq!(asked(&["-X", "TRACE", &url]), "405");
    assert_eq!(asked(&["--path-as-is", &stand.url("/a/../b")]), "400");
    assert_eq!(asked(&["-H", &format!("X-Large: {}", "v".repeat(40_000)), &url]), "431");
}

#[test]
fn curl_falls_back_to_http_1_where_it_offers_nothing_else() {
    let origin = Origin::ok("hello");
    let stand = Stand::new(Begun::Agreed, Config::forwarding(origin.url()));
    let authority = stand.authority();
    for (offers, version) in [("--http1.1", "1.1"), ("--no-alpn", "1.1"), ("--http2", "2")] {
        let args = ["-sSf", "--max-time", "20", "--cacert", &authority, offers, "-w", " %{http_version}"];
        let said = succeed("curl", &[&args[..], &[&stand.url("/")]].concat(), MINUTE);
        assert_eq!(said, format!("hello {version}"), "{offers}");
    }
}

#[test]
fn nghttp_gets_posts_and_sends_trailers() {
    for begun in BOTH {
        let origin = Origin::echo();
        let stand = Stand::new(begun, Config::forwarding(origin.url()));
        let (dir, url) = (Dir::new(), stand.url("/up"));
        let file = dir.write("body", octets(300_000)).display().to_string();
        // It says what it met, frame by frame.
        let said =
            succeed("nghttp", &["-v", "-n", "--no-content-length", "-d", &file, "--trailer", "x-t: 1", &url], MINUTE);
        assert!(said.contains(":status: 200") && !said.contains("error_code=PROTOCOL_ERROR"), "{said}");
        let seen = origin.last();
        assert!(
            seen.body == octets(300_000) && seen.trailers.first("x-t") == Some("1"),
            "{begun:?}: {:?}",
            seen.fields
        );
        let many = succeed("nghttp", &["-n", "-s", "-m", "20", &stand.url("/down")], MINUTE);
        assert!(many.contains("200"), "{many}");
        assert_eq!(origin.malformed(), [""; 0]);
    }
}

#[test]
fn h2load_is_answered_every_time() {
    let dir = Dir::new();
    dir.write("small", octets(1000));
    dir.write("large", octets(300_000));
    let nginx = servers::nginx(dir.path(), "");
    for begun in BOTH {
        let stand = Stand::new(begun, Config::forwarding(nginx.url()).without_client_bounds());
        for (file, count, streams) in [("/small", "5000", "1"), ("/small", "5000", "50"), ("/large", "300", "10")] {
            let url = stand.url(file);
            let exit = run("h2load", &["-n", count, "-c", "10", "-m", streams, "-t", "1", &url], MINUTE);
            let good = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
            assert!(exit.stdout.contains(&good), "{begun:?} {file}: {}{}", exit.stdout, exit.stderr);
            assert!(exit.stdout.contains(&format!("{count} 2xx")), "{}", exit.stdout);
        }
        assert_eq!(stand.weir.reason("ok"), 10_300);
        assert_eq!(stand.weir.reason("h2_flood"), 0);
    }
}

#[test]
fn h2load_posts_every_time() {
    let (origin, dir) = (Origin::echo(), Dir::new());
    let file = dir.write("body", octets(50_000)).display().to_string();
    for begun in BOTH {
        let stand = Stand::new(begun, Config::forwarding(origin.url()).without_client_bounds());
        let url = stand.url("/");
        let exit = run("h2load", &["-n", "500", "-c", "5", "-m", "10", "-t", "1", "-d", &file, &url], MINUTE);
        assert!(exit.stdout.contains("500 succeeded, 0 failed, 0 errored"), "{}{}", exit.stdout, exit.stderr);
    }
    assert!(origin.requests().iter().all(|request| request.body.len() == 50_000));
}
