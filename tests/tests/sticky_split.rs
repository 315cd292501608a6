//! Sticky cookies and splits: who comes back meets the same origin, whoever forged the note does not, and shares hold.

use weir_tests::{Config, Origin, Response, Weir, request, wait};

fn origins(names: &[&str]) -> Vec<Origin> {
    names.iter().map(|name| Origin::ok(name)).collect()
}

fn urls(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::url).collect()
}

/// weir with one sticky route over three origins.
fn sticky(origins: &[Origin], keys: &str) -> Weir {
    let urls = urls(origins);
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    Config::new().route(1, "path_prefix = \"/\"", &urls).with(&format!("[route.sticky]\n{keys}")).start()
}

/// The cookie that a response sets, as `name=value`.
fn set_cookie(response: &Response) -> Option<String> {
    let set = response.fields.first("set-cookie")?;
    Some(set.split(';').next().unwrap_or_default().to_owned())
}

fn with(weir: &Weir, path: &str, cookie: &str) -> Response {
    let response = request(weir.web(), "GET", path, &[("Cookie", cookie)], b"");
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

#[test]
fn who_comes_back_meets_the_same_origin() {
    let origins = origins(&["a", "b", "c"]);
    let weir = sticky(&origins, "");
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let first = weir.get("/");
        let cookie = set_cookie(&first).expect("a cookie");
        assert!(cookie.starts_with("weir_s="), "{cookie}");
        let attributes = first.fields.first("set-cookie").unwrap_or_default();
        assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{attributes}");
        assert!(!attributes.contains("Max-Age") && !attributes.contains("Secure"), "{attributes}");
        for _ in 0..5 {
            let again = with(&weir, "/", &format!("other=1; {cookie}; more=2"));
            assert_eq!(again.text(), first.text());
            assert!(set_cookie(&again).is_none(), "an honoured cookie is not set again");
        }
        met.insert(first.text());
    }
    assert_eq!(met.len(), 3, "new clients are spread: {met:?}");
}

#[test]
fn a_forged_cookie_is_replaced() {
    let origins = origins(&["a", "b", "c"]);
    let weir = sticky(&origins, "");
    let cookie = set_cookie(&weir.get("/")).expect("a cookie");
    let (name, value) = cookie.split_once('=').expect("a value");
    for at in [0, 5, 13, 20, value.len() - 1] {
        let mut forged = value.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = format!("{name}={}", String::from_utf8_lossy(&forged));
        assert!(set_cookie(&with(&weir, "/", &forged)).is_some(), "octet {at} of the value does not matter");
    }
    for garbage in ["", "x", "AAAA", &"A".repeat(40), &"A".repeat(4000), "%00", "\"\""] {
        assert!(set_cookie(&with(&weir, "/", &format!("{name}={garbage}"))).is_some(), "{garbage:?} was honoured");
    }
    // A good one behind a forged one of the same name is found.
    let both = with(&weir, "/", &format!("{name}=AAAA; {cookie}"));
    assert!(set_cookie(&both).is_none());
}

#[test]
fn an_expired_cookie_is_replaced() {
    let origins = origins(&["a", "b"]);
    let weir = sticky(&origins, "ttl = \"2s\"");
    let first = weir.get("/");
    assert!(first.fields.first("set-cookie").is_some_and(|set| set.contains("Max-Age=2")), "{:?}", first.fields);
    let cookie = set_cookie(&first).expect("a cookie");
    assert!(set_cookie(&with(&weir, "/", &cookie)).is_none(), "it holds at first");
    wait::until("it expires", || set_cookie(&with(&weir, "/", &cookie)).is_some());
}

#[test]
fn another_routes_cookie_is_not_honoured() {
    let origins = origins(&["a", "b"]);
    let urls = urls(&origins);
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let dir = weir_tests::dir::Dir::new();
    let key = dir.write("key", "one secret for both").to_string_lossy().into_owned();
    let keys = format!("[route.sticky]\nkeys = [{{ file = \"{key}\" }}]");
    let weir = Config::new()
        .route(1, "path_prefix = \"/one\"", &urls)
        .with(&keys)
        .route(2, "path_prefix = \"/\"", &urls)
        .with(&keys)
        .start();
    let cookie = set_cookie(&weir.get("/one")).expect("a cookie");
    assert!(set_cookie(&with(&weir, "/one", &cookie)).is_none());
    assert!(set_cookie(&with(&weir, "/two", &cookie)).is_some(), "signed for another route");
}

#[test]
fn a_cookie_outlives_a_restart_with_a_key_of_the_document() {
    let origins = origins(&["a", "b", "c"]);
    let dir = weir_tests::dir::Dir::new();
    let key = dir.write("key", "kept over restarts").to_string_lossy().into_owned();
    let keys = format!("keys = [{{ file = \"{key}\" }}]");
    let first = sticky(&origins, &keys).get("/");
    let cookie = set_cookie(&first).expect("a cookie");
    let again = with(&sticky(&origins, &keys), "/", &cookie);
    assert_eq!((again.text(), set_cookie(&again)), (first.text(), None));
    assert!(set_cookie(&with(&sticky(&origins, ""), "/", &cookie)).is_some(), "another process, another key");
}

#[test]
fn a_cookie_survives_a_reload() {
    let origins = origins(&["a", "b", "c"]);
    let mut weir = sticky(&origins, "");
    let first = weir.get("/");
    let cookie = set_cookie(&first).expect("a cookie");
    weir.reload(|config| config.route(9, "path_prefix = \"/other\"", &["http://127.0.0.1:9"]));
    let again = with(&weir, "/", &cookie);
    assert_eq!((again.text(), set_cookie(&again)), (first.text(), None));
}

/// weir with a split between two origins.
fn split(stable: &str, canary: &str, keys: &str) -> Weir {
    Config::new()
        .route(1, "path_prefix = \"/\"", &[])
        .tables(&format!("[[route.target]]\nurl = \"{stable}\"\nsplit = \"stable\""))
        .tables(&format!("[[route.target]]\nurl = \"{canary}\"\nsplit = \"canary\""))
        .tables(&format!("[route.split]\n{keys}"))
        .start()
}

#[test]
fn a_random_split_holds_its_shares() {
    let origins = origins(&["stable", "canary"]);
    let weir = split(&origins[0].url(), &origins[1].url(), "weights = { stable = 80, canary = 20 }");
    let mut client = weir.client();
    let canary = (0..1000).filter(|_| client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text() == "canary").count();
    // Twenty in a hundred of a thousand, and five standard deviations.
    assert!((137..=263).contains(&canary), "{canary} of 1000");
}

#[test]
fn a_keyed_split_keeps_each_key_on_its_side_and_a_raised_weight_moves_keys_to_it_alone() {
    let origins = origins(&["stable", "canary"]);
    let sides = |weights: &str| -> Vec<String> {
        let keys = format!("weights = {{ {weights} }}\nkey = \"header:X-User\"");
        let weir = split(&origins[0].url(), &origins[1].url(), &keys);
        let mut client = weir.client();
        let mut side = |n: usize| client.exchange(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: u{n}\r\n\r\n")).text();
        let first: Vec<_> = (0..500).map(&mut side).collect();
        let again: Vec<_> = (0..500).map(&mut side).collect();
        assert_eq!(first, again, "the same user, the same side");
        first
    };
    let (few, more) = (sides("stable = 90, canary = 10"), sides("stable = 90, canary = 60"));
    let canaries = |sides: &[String]| sides.iter().filter(|side| *side == "canary").count();
    assert!((15..=90).contains(&canaries(&few)), "{} of 500", canaries(&few));
    assert!((140..=260).contains(&canaries(&more)), "{} of 500", canaries(&more));
    let back = few.iter().zip(&more).filter(|(before, after)| *before == "canary" && *after == "stable").count();
    assert_eq!(back, 0, "users moved away from the side whose weight was raised");
}

#[test]
fn a_side_of_weight_0_gets_nothing() {
    let origins = origins(&["stable", "canary"]);
    let weir = split(&origins[0].url(), &origins[1].url(), "weights = { stable = 1, canary = 0 }");
    (0..50).for_each(|_| assert_eq!(weir.get("/").text(), "stable"));
    assert_eq!(origins[1].accepted(), 0);
}

#[test]
fn the_others_serve_for_a_side_that_is_not_usable() {
    let stable = Origin::ok("stable");
    let dead = weir_tests::ports::Port::reserve();
    let health = "[route.health]\nkind = \"tcp\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nunhealthy = 1\nstart = \"unhealthy\"\nhealthy = 1";
    let weir = split(
        &stable.url(),
        &format!("http://{}", dead.address()),
        &format!("weights = {{ stable = 1, canary = 99 }}\n{health}"),
    );
    wait::until("the side that lives is found", || weir.get("/").status == 200);
    (0..30).for_each(|_| assert_eq!(weir.get("/").text(), "stable"));
}
