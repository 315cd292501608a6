//! Other people's programs on both sides: origins nginx, Python's http.server, Node; clients curl, wrk, ab, h2load.

use std::path::Path;
use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::program::{run, succeed};
use weir_tests::{Config, Origin, Weir, servers};

const MINUTE: Duration = Duration::from_secs(60);

/// Files of sizes around every buffer's edge, in a directory.
fn files() -> (Dir, Vec<usize>) {
    let (dir, sizes) = (Dir::new(), vec![0, 1, 4095, 16384, 16385, 65537, 1 << 20, (3 << 20) + 7]);
    for size in &sizes {
        dir.write(&format!("{size}.bin"), octets(*size));
    }
    (dir, sizes)
}

fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn serves_files(weir: &Weir, sizes: &[usize]) {
    for size in sizes {
        let response = weir.get(&format!("/{size}.bin"));
        assert_eq!(response.status, 200);
        assert!(response.body == octets(*size), "{size} octets arrived changed");
    }
    assert_eq!(weir.get("/absent").status, 404);
}

#[test]
fn nginx_is_an_origin() {
    let (dir, sizes) = files();
    let nginx = servers::nginx(dir.path(), "location /up { return 200 \"$request_method $content_length\"; }");
    let weir = Config::forwarding(nginx.url()).start();
    serves_files(&weir, &sizes);
    assert_eq!(weir.request("POST", "/up", &[], &octets(100_000)).text(), "POST 100000");
    let part = weir.request("GET", "/16384.bin", &[("Range", "bytes=10-19")], b"");
    assert!(part.status == 206 && part.body == octets(16384)[10..20]);
}

#[test]
fn nginx_answers_before_it_has_read_a_large_body() {
    let dir = Dir::new();
    let nginx = servers::nginx(dir.path(), "location /small { client_max_body_size 1k; }");
    let weir = Config::forwarding(nginx.url()).start();
    let mut client = weir.client();
    client.write("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    client.write(octets(1000));
    assert_eq!(client.response().status, 413);
}

#[test]
fn python_is_an_origin() {
    let (dir, sizes) = files();
    let python = servers::python(dir.path());
    let weir = Config::forwarding(python.url()).start();
    serves_files(&weir, &sizes);
    // It knows GET and HEAD alone.
    assert_eq!(weir.request("POST", "/1.bin", &[], b"x").status, 501);
    assert_eq!(weir.request("HEAD", "/65537.bin", &[], b"").fields.first("content-length"), Some("65537"));
}

#[test]
fn node_is_an_origin() {
    let node = servers::node(
        "const hash = require('crypto').createHash('sha256'); let length = 0;
         request.on('data', part => { hash.update(part); length += part.length; });
         request.on('end', () => {
             response.setHeader('X-Length', length);
             response.write(hash.digest('hex'));
             setTimeout(() => response.end('!'), 20);
         });",
    );
    let weir = Config::forwarding(node.url()).start();
    for size in [0, 1, 65536, 5_000_000] {
        let response = weir.request("POST", "/", &[], &octets(size));
        assert_eq!(response.fields.first("x-length"), Some(size.to_string().as_str()));
        assert_eq!(response.text(), format!("{}!", sha256(&octets(size))));
    }
    let chunked = [&b"5\r\nhello\r\n"[..], b"6\r\n world\r\n", b"0\r\n\r\n"].concat();
    let response = weir.request("PUT", "/", &[("Transfer-Encoding", "chunked")], &chunked);
    assert_eq!(response.text(), format!("{}!", sha256(b"hello world")));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn curl_is_a_client() {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).start();
    let dir = Dir::new();
    let file = dir.write("body", octets(300_000));
    let (url, body) = (weir.url("/"), format!("@{}", file.display()));
    let back = dir.join("back");
    let out = back.to_string_lossy().into_owned();
    // curl expects 100-continue for a body of this size.
    succeed("curl", &["-sSf", "--max-time", "20", "-o", &out, "--data-binary", &body, &url], MINUTE);
    assert!(std::fs::read(&back).expect("a body") == octets(300_000));
    let upload = file.to_string_lossy().into_owned();
    let chunked = ["-sSf", "--max-time", "20", "-o", &out, "-H", "Transfer-Encoding: chunked", "-T", &upload, &url];
    succeed("curl", &chunked, MINUTE);
    assert!(std::fs::read(&back).expect("a body") == octets(300_000));
    let twice = succeed(
        "curl",
        &["-sS", "--max-time", "20", "-w", "%{num_connects}", "-o", "/dev/null", &url, "-o", "/dev/null", &url],
        MINUTE,
    );
    assert_eq!(twice, "10", "the second request needed a connection of its own");
    let old = succeed("curl", &["-sS", "-0", "--max-time", "20", "-w", "%{http_code}", "-d", "x", &url], MINUTE);
    assert_eq!(old, "x200");
}

/// Many requests from a load generator, all of them answered well, and the same number booked.
fn loaded(command: &str, args: &[&str], good: impl Fn(&str) -> bool) {
    let dir = Dir::new();
    dir.write("small", "0123456789");
    let nginx = servers::nginx(dir.path(), "");
    let weir = Config::forwarding(nginx.url()).start();
    let url = weir.url("/small");
    let args: Vec<&str> = args.iter().copied().chain([url.as_str()]).collect();
    let exit = run(command, &args, MINUTE);
    assert!(exit.code == Some(0) && good(&exit.stdout), "{command}: {}\n{}", exit.stdout, exit.stderr);
    assert!(weir.reason("ok") >= 1000, "{} requests booked", weir.reason("ok"));
    assert_eq!(weir.metrics().sum("weir_requests_total", &["class=\"5xx\""]), 0.0);
}

#[test]
fn wrk_is_a_client() {
    loaded("wrk", &["-t1", "-c50", "-d2s"], |said| {
        said.contains("requests in") && !said.contains("Non-2xx") && !said.contains("Socket errors")
    });
}

#[test]
fn keepalive_ab_is_a_client() {
    loaded("ab", &["-k", "-q", "-n", "5000", "-c", "20"], ab_is_content);
}

#[test]
fn closing_ab_is_a_client() {
    loaded("ab", &["-q", "-n", "3000", "-c", "20"], ab_is_content);
}

fn ab_is_content(said: &str) -> bool {
    let count = |name: &str| said.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
    count("Failed requests:").as_deref() == Some("0") && !said.contains("Non-2xx")
}

#[test]
fn h2load_speaks_http_1_to_it() {
    loaded("h2load", &["--h1", "-n", "5000", "-c", "20", "-t", "1"], |said| {
        said.contains("5000 succeeded, 0 failed, 0 errored")
    });
}

/// These move gigabytes or hold thousands of sockets.
mod heavy {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    const GIB: u64 = 1 << 30;

    /// A file of 1 GiB that is no hole, and its checksum.
    fn gibibyte(dir: &Path) -> (String, String) {
        use sha2::Digest;
        let path = dir.join("large");
        let mut file = std::fs::File::create(&path).expect("a file");
        let mut hash = sha2::Sha256::new();
        let mut block = octets(1 << 20);
        for n in 0..GIB >> 20 {
            block[..8].copy_from_slice(&n.to_be_bytes());
            file.write_all(&block).expect("disk space");
            hash.update(&block);
        }
        let sum = hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
        (path.to_string_lossy().into_owned(), sum)
    }

    #[test]
    fn a_gibibyte_comes_down_and_goes_up_whole_with_curl_and_nginx() {
        let dir = Dir::new();
        let (path, sum) = gibibyte(dir.path());
        let nginx = servers::nginx(
            dir.path(),
            "location /up/ { dav_methods PUT; client_max_body_size 2g; alias /; } location / { }",
        );
        let limits = "[limits]\nbody_max = \"2GiB\"";
        let weir = Config::forwarding(nginx.url()).tables(limits).without_kernel().start();
        let before = weir.process().resident_bytes();

        let down = format!("curl -sSf --max-time 100 {} | sha256sum", weir.url("/large"));
        assert_eq!(first_word(&succeed("sh", &["-c", &down], 2 * MINUTE)), sum);

        let back = dir.join("back");
        let url = weir.url(&format!("/up{}", back.display()));
        succeed("curl", &["-sSf", "--max-time", "100", "-o", "/dev/null", "-T", &path, &url], 2 * MINUTE);
        let hash = format!("sha256sum {}", back.display());
        assert_eq!(first_word(&succeed("sh", &["-c", &hash], MINUTE)), sum);

        let grown = weir.process().resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "bodies are streamed, but memory grew by {} MiB", grown >> 20);
    }

    fn first_word(text: &str) -> String {
        text.split_whitespace().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn ten_thousand_idle_connections_are_held_and_cost_little() {
        const COUNT: usize = 10_000;
        let descriptors = weir_tests::process::raise_descriptor_limit();
        assert!(descriptors >= 12_000, "{descriptors} descriptors are too few for this test");
        let origin = Origin::ok("x");
        let weir = Config::forwarding(origin.url())
            .tables("[limits]\nconnections_max = 11000")
            .without_client_bounds()
            .without_kernel()
            .start();
        weir.get("/");
        let before = weir.process().resident_bytes();
        let mut held: Vec<TcpStream> = (0..COUNT).map(|_| TcpStream::connect(weir.web()).expect("connect")).collect();
        exchange_on_each(&mut held);
        let each = || weir.process().resident_bytes().saturating_sub(before) / COUNT as u64;
        // The bound of the benchmark is tighter and beside the peers; this one catches a buffer that stays. What only
        // requests need is given back once a connection has been silent for a second.
        let lean = weir_tests::wait::holds_within(weir_tests::wait::SOON, || each() < 4096);
        assert!(lean, "{} octets per idle connection", each());
        exchange_on_each(&mut held);
        drop(held);
        weir_tests::wait::until("all connections are closed", || weir.process().fds() < 200);
    }

    fn exchange_on_each(held: &mut [TcpStream]) {
        // In flight a hundred at a time.
        for some in held.chunks_mut(100) {
            for stream in some.iter_mut() {
                stream.set_read_timeout(Some(weir_tests::wait::SOON)).expect("a timeout");
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("write");
            }
            for stream in some {
                let mut answer = [0; 1024];
                let length = stream.read(&mut answer).expect("an answer");
                assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
            }
        }
    }
}
