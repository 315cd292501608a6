//! What compiles, into what, and what is said of what does not.

use super::*;
use crate::target::testing::{compiled, groups};

const TARGET: &str = "[[route.target]]\nurl = \"http://127.0.0.1:80\"\n";

fn refused(route: &str) -> String {
    compiled(route).map(|_| String::new()).unwrap_or_else(|problems| problems)
}

#[test]
fn groups_are_numbered_by_side_and_priority() {
    let target = |name: &str, group: u8, enabled: bool| {
        format!(
            "[[route.target]]\nname = \"{name}\"\nurl = \"http://127.0.0.1\"\npriority_group = {group}\nenabled = {enabled}\n"
        )
    };
    let text = [target("a", 5, true), target("b", 0, true), target("c", 5, true), target("d", 1, false)].concat();
    let groups = groups(&text);
    let found: Vec<_> = groups.groups.iter().map(|group| (group.priority, group.targets.clone())).collect();
    assert_eq!(found, [(0, vec![1]), (5, vec![0, 2])]);
    assert_eq!(groups.targets.iter().map(|target| target.group).collect::<Vec<_>>(), [Some(1), Some(0), Some(1), None]);
}

#[test]
fn names_default_to_the_place_in_the_document() {
    let groups = groups(&[TARGET, TARGET].concat());
    assert_eq!(groups.targets.iter().map(|target| &*target.name).collect::<Vec<_>>(), ["target-1", "target-2"]);
}

#[test]
fn a_forwarding_route_needs_an_enabled_target() {
    assert_eq!(refused(""), "weir.toml:4: route 10: needs an enabled target\n");
    assert!(refused(&format!("{TARGET}enabled = false")).ends_with(": route 10: needs an enabled target\n"));
}

#[test]
fn a_url_is_an_origin_and_nothing_more() {
    for (url, authority, host, port) in [
        ("http://127.0.0.1", "127.0.0.1", "127.0.0.1", 80),
        ("HTTP://Origin.Test:8080/", "Origin.Test:8080", "origin.test", 8080),
        ("http://[::1]:81", "[::1]:81", "::1", 81),
        ("http://name.test.", "name.test.", "name.test", 80),
        ("https://a.test", "a.test", "a.test", 443),
        ("HTTPS://[::1]:81", "[::1]:81", "::1", 81),
    ] {
        let found = super::url(url).unwrap();
        assert_eq!(found.secure, url.to_ascii_lowercase().starts_with("https"));
        let name = match &found.host {
            Host::Address(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        };
        assert_eq!((found.authority, name.as_str(), found.port), (authority, host, port));
    }
    for (url, why) in [
        ("a.test:80", "must be an origin"),
        ("ftp://a.test", "must be an origin"),
        ("http://a.test/path", "a path is for [route.rewrite]"),
        ("http://a.test?q", "a path is for"),
        ("http://u:p@a.test", "credentials"),
        ("http://", "no valid host and port"),
        ("http://a.test:", "no valid host and port"),
        ("http://a.test:0", "no valid host and port"),
        ("http://a.test:65536", "no valid host and port"),
        ("http://a.test:+80", "no valid host and port"),
        ("http://a..test", "no valid host and port"),
        ("http://a b", "no valid host and port"),
        ("http://1.2.3", "no valid host and port"),
        ("http://[::1", "no valid host and port"),
        ("http://[::1]80", "no valid host and port"),
        ("http://::1", "no valid host and port"),
    ] {
        let message = super::url(url).err().unwrap_or_default();
        assert!(message.contains(why), "{url}: {message}");
    }
}

#[test]
fn problems_name_the_target_and_its_line() {
    let message = refused("[[route.target]]\nname = \"a\"\nurl = \"http://a.test/x\"");
    assert!(message.starts_with("weir.toml:10: route 10, target a: url = \"http://a.test/x\""), "{message}");
}

#[test]
fn a_static_target_has_a_status_fields_and_a_body() {
    let text = "[[route.target]]\n[route.target.static]\nstatus = 418\nbody = \"tea\"\nheaders = { x-pot = \"short\" }";
    let tea = groups(text);
    let fixed = tea.targets[0].fixed().unwrap();
    assert_eq!((fixed.status, &fixed.body[..]), (418, b"tea".as_slice()));
    assert_eq!(fixed.headers, [("x-pot".into(), "short".into())]);
    let text =
        "[[route.target]]\n[route.target.static]\ntemplate = \"page\"\n[[template]]\nname = \"page\"\nbody = \"x\"";
    assert_eq!(&groups(text).targets[0].fixed().unwrap().body[..], b"from the template");
}

#[test]
fn a_static_target_may_not_frame_messages() {
    for field in ["Content-Length = \"1\"", "connection = \"close\"", "x = \"a\\r\\nb\"", "\"a b\" = \"c\""] {
        let text = format!("[[route.target]]\n[route.target.static]\nheaders = {{ {field} }}");
        assert!(refused(&text).contains(": route 10, target"), "{field}: {}", refused(&text));
    }
    for status in [199, 600] {
        assert!(!refused(&format!("[[route.target]]\n[route.target.static]\nstatus = {status}")).is_empty());
    }
}

#[test]
fn splits_and_targets_agree_on_their_sides() {
    let split = |weights: &str, sides: &[&str]| {
        let targets: String = sides.iter().map(|side| format!("{TARGET}{side}\n")).collect();
        refused(&format!("[route.split]\nweights = {{ {weights} }}\n{targets}"))
    };
    assert_eq!(split("a = 1, b = 2", &["split = \"a\"", "split = \"b\""]), "");
    assert!(split("a = 1", &["split = \"a\"", "split = \"c\""]).contains("split.weights has no \"c\""));
    assert!(split("a = 1", &["split = \"a\"", ""]).contains("needs split"));
    assert!(split("a = 1, b = 1", &["split = \"a\""]).contains("no enabled target has split = \"b\""));
    assert!(split("a = 0", &["split = \"a\""]).contains("needs a weight above 0"));
    assert!(refused(&format!("{TARGET}split = \"a\"")).contains("split needs [route.split]"));
}

#[test]
fn hashes_know_no_slow_start() {
    let text = format!("balance = \"hash_maglev\"\nslow_start = \"5s\"\n{TARGET}");
    assert!(refused(&text).contains("slow_start has no effect with a hash"));
}

#[test]
fn a_sticky_cookie_needs_a_name_and_applies_to_the_routes_prefix() {
    assert!(refused(&format!("{TARGET}[route.sticky]\ncookie = \"a b\"")).contains("is not a cookie name"));
    let groups = groups(&format!("{TARGET}[route.sticky]\nttl = \"1h\""));
    let sticky = groups.sticky.as_ref().unwrap();
    assert_eq!((&*sticky.cookie, &*sticky.path, sticky.ttl.as_secs()), ("weir_s", "/api", 3600));
}

#[test]
fn health_of_a_target_comes_before_the_routes_and_not_for_static() {
    let text = "[route.health]\ninterval = \"20s\"\n[[route.target]]\nurl = \"http://127.0.0.1\"\n\
                [[route.target]]\nurl = \"http://127.0.0.2\"\n[route.target.health]\ninterval = \"5s\"\n\
                [[route.target]]\n[route.target.static]\n";
    let groups = groups(text);
    let seconds = groups.targets.iter().map(|target| target.health.as_ref().map(|check| check.interval.as_secs()));
    assert_eq!(seconds.collect::<Vec<_>>(), [Some(20), Some(5), None]);
}
