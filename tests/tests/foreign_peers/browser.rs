//! Chromium, without a screen.

use weir_tests::dir::Dir;
use weir_tests::program::succeed;
use weir_tests::script::Conn;
use weir_tests::{Config, Origin};

use super::stand::{Begun, MINUTE, Stand};

/// Asks for much at once, sends something, opens a WebSocket, and writes into itself what came of it.
const PAGE: &str = r#"<!DOCTYPE html><body><script>
const said = text => document.body.append(text + "; ");
const socket = () => new Promise((done, failed) => {
    const socket = new WebSocket(location.href.replace(/^http/, "ws") + "chat");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = event => { socket.close(1000); done(event.data); };
    socket.onerror = failed;
});
(async () => {
    try {
        const page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
        const parts = await Promise.all([...Array(50).keys()].map(n => fetch("/part/" + n).then(r => r.text())));
        const body = new Uint8Array(300000).fill(120);
        const back = await fetch("/up", { method: "POST", body }).then(r => r.text());
        const word = await socket();
        said(`protocol ${page}`);
        said(`parts ${parts.filter((part, n) => part == "/part/" + n).length}`);
        said(`back ${back}`);
        said(`word ${word}`);
    } catch (error) {
        said(`failed ${error}`);
    }
    document.body.append("END");
})();
</script></body>"#;

fn page(mut conn: Conn) {
    while let Some(request) = conn.request() {
        if request.fields.names("upgrade", "websocket") {
            return chat(conn, request.fields.first("sec-websocket-key").unwrap_or_default());
        }
        let (kind, body) = match request.target.as_str() {
            "/" => ("text/html", PAGE.to_owned()),
            "/up" => ("text/plain", request.body.len().to_string()),
            target => ("text/plain", target.to_owned()),
        };
        if !conn.send(weir_tests::origin::answer(200, &[("Content-Type", kind)], &body)) {
            return;
        }
    }
}

/// Answers one text message with itself.
fn chat(mut conn: Conn, key: &str) {
    let accept = weir_tests::websocket::accept(key);
    conn.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ));
    // RFC 6455 5.2: FIN and text, masked, five octets.
    let Some(frame) = conn.take(11) else { return };
    assert_eq!(frame[..2], [0x81, 0x85]);
    let text: Vec<u8> = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(octet, mask)| octet ^ mask).collect();
    conn.send([&[0x81, 5][..], &text].concat());
    conn.ended();
}

#[test]
fn chromium_loads_a_page_and_talks_over_http_2() {
    let origin = Origin::scripted(|conn, _| page(conn));
    let stand = Stand::new(Begun::Agreed, Config::forwarding(origin.url()).without_client_bounds());
    let dir = Dir::new();
    let home = format!("--user-data-dir={}", dir.path().display());
    let said = succeed(
        "chromium",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--ignore-certificate-errors",
            &home,
            "--timeout=30000",
            "--virtual-time-budget=20000",
            "--dump-dom",
            &stand.url("/"),
        ],
        MINUTE,
    );
    for expected in ["protocol h2", "parts 50", "back 300000", "word hello", "END"] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    // The page and all that it asked for came over one connection, the WebSocket among them (RFC 8441).
    stand.weir.wait_log("the WebSocket", |line| line["path"] == "/chat" && line["http_version"] == "2");
    assert_eq!(origin.malformed(), [""; 0]);
}
