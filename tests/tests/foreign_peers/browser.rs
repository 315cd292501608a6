//! Chromium, without a screen.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::program::{Running, find};
use weir_tests::script::Conn;
use weir_tests::{Config, Origin, wait, websocket};

use super::stand::{Begun, Stand};

/// Asks for much at once, sends something, opens a WebSocket, and tells the origin what came of it.
const PAGE: &str = r#"<!DOCTYPE html><body><script>
const socket = () => new Promise((done, failed) => {
    const socket = new WebSocket(location.href.replace(/^http/, "ws") + "chat");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = event => { socket.close(1000); done(event.data); };
    socket.onerror = () => failed("the WebSocket failed");
});
(async () => {
    const said = [];
    try {
        said.push("page " + performance.getEntriesByType("navigation")[0].nextHopProtocol);
        const parts = await Promise.all([...Array(50).keys()].map(n => fetch("/part/" + n).then(r => r.text())));
        said.push("parts " + parts.filter((part, n) => part == "/part/" + n).length);
        const body = new Uint8Array(300000).fill(120);
        said.push("back " + await fetch("/up", { method: "POST", body }).then(r => r.text()));
        said.push("word " + await socket());
    } catch (error) {
        said.push("failed " + error);
    }
    await fetch("/report", { method: "POST", body: said.join("; ") });
})();
</script></body>"#;

type Report = Arc<Mutex<Option<String>>>;

fn serve(mut conn: Conn, report: &Report) {
    while let Some(request) = conn.request() {
        if let Some(key) = request.fields.first("sec-websocket-key") {
            return chat(conn, key);
        }
        let (kind, body) = match request.target.as_str() {
            "/" => ("text/html", PAGE.to_owned()),
            "/up" => ("text/plain", request.body.len().to_string()),
            "/report" => {
                *report.lock().expect("report") = Some(String::from_utf8_lossy(&request.body).into_owned());
                ("text/plain", String::new())
            }
            target => ("text/plain", target.to_owned()),
        };
        if !conn.send(weir_tests::origin::answer(200, &[("Content-Type", kind)], &body)) {
            return;
        }
    }
}

/// Answers one text message with itself.
fn chat(mut conn: Conn, key: &str) {
    conn.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        websocket::accept(key)
    ));
    // RFC 6455 5.2: FIN and text, masked, five octets.
    let Some(frame) = conn.take(11).filter(|frame| frame[..2] == [0x81, 0x85]) else { return };
    let text: Vec<u8> = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(octet, mask)| octet ^ mask).collect();
    conn.send([&[0x81, 5][..], &text].concat());
    conn.ended();
}

#[test]
fn chromium_loads_a_page_and_talks_over_http_2() {
    let report = Report::default();
    let told = report.clone();
    let origin = Origin::scripted(move |conn, _| serve(conn, &told));
    let stand = Stand::new(Begun::Agreed, Config::forwarding(origin.url()).without_client_bounds());
    let home = Dir::new();
    let mut chromium = Command::new(find("chromium"));
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    // It runs until it is stopped, which the port for debuggers sees to.
    chromium.args(["--ignore-certificate-errors", "--remote-debugging-port=0"]);
    chromium.arg(format!("--user-data-dir={}", home.path().display())).arg(stand.named("https", "/"));
    let _running = Running::start(chromium.env("HOME", home.path()));
    let told = || report.lock().expect("report").clone();
    wait::until_within(Duration::from_secs(90), "the page tells what came of it", || told().is_some());
    assert_eq!(told().as_deref(), Some("page h2; parts 50; back 300000; word hello"));
    // The WebSocket came over HTTP/2 too (RFC 8441).
    stand.weir.wait_log("the WebSocket", |line| line["path"] == "/chat" && line["http_version"] == "2");
    assert_eq!(origin.malformed(), [""; 0]);
}
