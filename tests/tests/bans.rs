//! Bans, from the API or a file to the socket, and over restarts.

use std::path::Path;

use serde_json::Value;
use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::{Client, Config, Ended, Origin, Response, Weir, request, wait};

const BANNED: &str = "127.0.0.66";

fn call(weir: &Weir, method: &str, target: &str, body: &str) -> Response {
    request(weir.management(), method, target, &[("Host", "localhost")], body.as_bytes())
}

fn ban(weir: &Weir, cidr: &str) -> Value {
    let answer = call(weir, "POST", "/api/v1/bans", &format!("{{\"cidr\":\"{cidr}\",\"reason\":\"scans\"}}"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// Whether a connection from `source` is served.
fn is_served(weir: &Weir, source: &str) -> bool {
    let ask = || {
        let mut client = Client::try_connect_from(source.parse().expect("an address"), weir.web()).ok()?;
        client.try_write(&bytes("GET", "/", &[], b"")).ok()?;
        client.try_response("GET").ok()
    };
    ask().is_some_and(|response| response.status == 200)
}

fn in_state(dir: &Path, origin: &Origin) -> Config {
    Config::forwarding(origin.url()).tables(&format!("[node]\nid = \"n1\"\nstate_dir = \"{}\"", dir.display()))
}

#[test]
fn a_banned_peer_is_reset_and_served_again_once_the_ban_has_ended() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).workers(2).start();
    let mut held = Client::connect_from(BANNED, weir.web());
    assert_eq!(held.exchange(bytes("GET", "/", &[], b"")).status, 200);
    assert_eq!(ban(&weir, BANNED)["kept"], true);
    // What is open ends too, on whichever worker it is.
    assert_eq!(held.drain().1, Ended::Reset);
    wait::until("no new connection is served", || !is_served(&weir, BANNED));
    assert!(is_served(&weir, "127.0.0.67"));
    assert!(weir.reason("banned") >= 1);
    assert_eq!(call(&weir, "DELETE", &format!("/api/v1/bans?cidr={BANNED}/32"), "").status, 200);
    wait::until("served again", || is_served(&weir, BANNED));
}

#[test]
fn a_banned_client_of_a_trusted_proxy_gets_403_and_a_finding_of_its_own() {
    let origin = Origin::ok("hello");
    let trust = "[[client.proxy]]\ncidrs = [\"127.0.0.1\"]";
    let weir = Config::forwarding(origin.url()).tables(trust).start();
    ban(&weir, "203.0.113.0/24");
    let ask = |client: &str| weir.request("GET", "/", &[("X-Forwarded-For", client)], b"").status;
    wait::until("the ban is in force", || ask("203.0.113.5") == 403);
    assert_eq!((ask("203.0.113.6"), ask("198.51.100.1")), (403, 200));
    let item = |client: &str| {
        let path = format!("/api/v1/audit/findings?finding_type=banned&src_ip={client}");
        wait::value("a finding", || weir.api(&path)["items"].get(0).cloned())
    };
    let (one, other) = (item("203.0.113.5"), item("203.0.113.6"));
    assert_eq!((&one["src_ip"], &other["src_ip"]), (&"203.0.113.5".into(), &"203.0.113.6".into()));
    assert_eq!(
        (&one["rule"], &one["status"], &one["reason"]),
        (&"203.0.113.0/24".into(), &403.into(), &"banned".into())
    );
    assert_ne!(one["id"], other["id"]);
}

#[test]
fn bans_outlive_a_kill() {
    let (origin, state) = (Origin::ok("hello"), Dir::new());
    let weir = in_state(state.path(), &origin).start();
    assert_eq!(ban(&weir, BANNED)["kept"], true);
    // Dropped is killed.
    drop(weir);
    let weir = in_state(state.path(), &origin).start();
    assert!(!is_served(&weir, BANNED), "from the first connection on");
    let bans = weir.api("/api/v1/bans");
    assert_eq!((&bans["bans"][0]["cidr"], &bans["bans"][0]["reason"]), (&"127.0.0.66/32".into(), &"scans".into()));
}

#[test]
fn a_file_of_bans_is_read_again_when_it_changes() {
    let (origin, dir) = (Origin::ok("hello"), Dir::new());
    let path = dir.write("bad", "127.0.0.66\n");
    let file = format!("[[ban]]\nfile = \"{}\"\nreason = \"list\"", path.display());
    let weir = Config::forwarding(origin.url()).tables(&file).start();
    assert!(!is_served(&weir, BANNED), "from the first connection on");
    let write = |text: &str| {
        let new = dir.write("new", text);
        std::fs::rename(new, &path).expect("renamed");
    };
    write("# none of these\n127.0.0.67\n");
    wait::until("the file is in force", || is_served(&weir, BANNED) && !is_served(&weir, "127.0.0.67"));
    assert_eq!(weir.generation(), 1);
    write("127.0.0.68\nnobody\n");
    let warned = || weir.api("/ready")["warnings"].to_string().contains("BANS_STALE");
    wait::until("a bad file is told", warned);
    assert!(!is_served(&weir, "127.0.0.67") && is_served(&weir, "127.0.0.68"));
    write("127.0.0.68\n");
    wait::until("a good one clears it", || !warned() && !is_served(&weir, "127.0.0.68"));
}
