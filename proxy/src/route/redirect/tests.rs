//! Every mode, the joining rules, and what is refused.

use super::super::problem::{Object, Problem};
use super::*;

fn compile(spec: &RedirectSpec, path: PathMatch) -> Result<Redirect, Vec<Problem>> {
    let mut all = Vec::new();
    let redirect = Redirect::compile(spec, &path, &mut Problems::new(Object::Route(0), &mut all));
    redirect.filter(|_| all.is_empty()).ok_or(all)
}

fn spec(mode: &str, target: &str) -> RedirectSpec {
    RedirectSpec { mode: mode.into(), target: target.into(), ..RedirectSpec::default() }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::prefix(text).unwrap()
}

fn location(redirect: &Redirect, url: &str) -> Result<String, Fault> {
    let (host, rest) = url.split_at(url.find('/').unwrap());
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query.as_bytes())));
    let incoming = Incoming { host, received: path.as_bytes(), route_path: path.as_bytes(), query };
    let mut out = b"kept ".to_vec();
    redirect.location(&incoming, &mut out)?;
    Ok(String::from_utf8(out).unwrap().strip_prefix("kept ").unwrap().to_owned())
}

#[test]
fn each_mode_builds_its_location() {
    let cases = [
        ("same_host_path", "/new", prefix("/old"), "z/old/x?q", "/new/x?q"),
        ("same_host_path", "/new", prefix("/old"), "z/old", "/new"),
        ("same_host_path", "/new", prefix("/old"), "z/old/", "/new/"),
        ("same_host_path", "/new/", prefix("/old"), "z/old/x", "/new/x"),
        ("same_host_path", "/new", prefix("/old/"), "z/old/x", "/new/x"),
        ("same_host_path", "/new", prefix("/old/"), "z/old/", "/new/"),
        ("same_host_path", "/new", prefix("/old"), "z/old//evil.test", "/new/evil.test"),
        ("same_host_path", "/", prefix("/old"), "z/old//evil.test", "/evil.test"),
        ("same_host_path", "/new", prefix("/"), "z/a/b", "/new/a/b"),
        ("same_host_path", "/new", prefix("/"), "z/", "/new"),
        ("same_host_path", "/new", PathMatch::Any, "z/", "/new"),
        ("same_host_path", "/new", PathMatch::Any, "z/a", "/new/a"),
        ("same_host_path", "/new", PathMatch::exact("/old").unwrap(), "z/old?q", "/new?q"),
        ("same_host_path", "/new", PathMatch::pattern("old").unwrap(), "z/old/x", "/new"),
        ("same_host_path", "/new", PathMatch::raw("/old").unwrap(), "z/older", "/new/er"),
        ("same_host_path", "/new", prefix("/old"), "z/%6fld/%41?%42", "/new/%41?%42"),
        ("same_host_path", "/new?a=1#f", prefix("/old"), "z/old/x?q", "/new/x?a=1&q#f"),
        ("same_host_path", "/new?", prefix("/old"), "z/old?q", "/new?q"),
        ("same_host_path", "/new", prefix("/old"), "z/old?", "/new"),
        ("external_origin_keep_path", "https://n.test", prefix("/"), "old.test/p?q", "https://n.test/p?q"),
        ("external_origin_keep_path", "https://n.test:8443", prefix("/p"), "old.test/p/", "https://n.test:8443/p/"),
        ("external_origin_keep_path", "https://n.test", prefix("/"), "old.test/", "https://n.test/"),
        ("absolute_url", "https://n.test/d?x=1", prefix("/a"), "abs.test/a/b?q", "https://n.test/d/b?x=1&q"),
        ("absolute_url", "https://n.test", prefix("/a"), "abs.test/a/b", "https://n.test/b"),
        ("absolute_url", "https://n.test", prefix("/a"), "abs.test/a", "https://n.test"),
        ("scheme", "https", prefix("/"), "a.test/x?q", "https://a.test/x?q"),
        ("scheme", "https:8443", PathMatch::Any, "[::1]/", "https://[::1]:8443/"),
    ];
    for (mode, target, path, url, expected) in cases {
        let redirect = compile(&spec(mode, target), path).unwrap();
        assert_eq!(location(&redirect, url).as_deref(), Ok(expected), "{mode} {target} for {url}");
        assert_eq!(redirect.status, 302);
    }
}

#[test]
fn flags_off_leave_the_target_as_written() {
    let spec = RedirectSpec { preserve_path: false, preserve_query: false, ..spec("absolute_url", "https://n.test/d?x=1") };
    let redirect = compile(&spec, prefix("/a")).unwrap();
    assert_eq!(location(&redirect, "abs.test/a/b?q").unwrap(), "https://n.test/d?x=1");
}

#[test]
fn a_location_that_cannot_be_sent_is_a_fault() {
    let failed = Err(Fault::new(Reason::RedirectFailed));
    let local = compile(&spec("same_host_path", "/"), prefix("/old")).unwrap();
    assert_eq!(location(&local, "z/old/\\evil.test"), failed);
    assert_eq!(location(&local, &format!("z/old/{}", "x".repeat(PATH_MAX))), failed);
    assert_eq!(location(&local, &format!("z/old/{}", "x".repeat(PATH_MAX - 1))).unwrap().len(), PATH_MAX);
    let external = compile(&spec("external_origin_keep_path", "https://n.test"), prefix("/")).unwrap();
    assert_eq!(location(&external, "z/a\u{1}b"), failed);
    let mut out = Vec::new();
    let asterisk = Incoming { host: "z", received: b"*", route_path: b"*", query: None };
    assert!(external.location(&asterisk, &mut out).is_err());
    let scheme = compile(&spec("scheme", "https"), prefix("/")).unwrap();
    assert_eq!(location(&scheme, "/x"), failed);
}

#[test]
fn wrong_redirects_are_named() {
    let error = |spec: &RedirectSpec| {
        let problems = compile(spec, prefix("/a")).unwrap_err();
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>().join("; ")
    };
    for (mode, target, expected) in [
        ("same_host_path", "//evil.test", "target: same_host_path needs a path that starts with one \"/\""),
        ("same_host_path", "/\\evil.test", "target: same_host_path needs a path that starts with one \"/\""),
        ("same_host_path", "new", "target: same_host_path needs a path that starts with one \"/\""),
        ("absolute_url", "/new", "target: absolute_url needs an http or https URL"),
        ("absolute_url", "ftp://n.test/", "target: absolute_url needs an http or https URL"),
        ("absolute_url", "https://u@n.test/", "target: absolute_url needs an http or https URL"),
        ("absolute_url", "https:///x", "target: absolute_url needs an http or https URL"),
        ("absolute_url", "https://n.test:0/", "target: absolute_url needs an http or https URL"),
        (
            "external_origin_keep_path",
            "https://n.test/x",
            "target: external_origin_keep_path needs an http or https origin without a path",
        ),
        ("scheme", "ftp", "target: scheme needs https or https:PORT"),
        ("scheme", "https:99999", "target: scheme needs https or https:PORT"),
        ("same_host_path", "/a b", "target: a redirect's target is written in visible ASCII; encode the rest"),
        ("move", "/a", "target: unknown mode \"move\": same_host_path, external_origin_keep_path, absolute_url or scheme"),
    ] {
        assert_eq!(error(&spec(mode, target)), expected, "{mode} {target}");
    }
    let status = RedirectSpec { status: 303, ..spec("same_host_path", "/new") };
    assert_eq!(error(&status), "status: 303 is no redirect: 301, 302, 307 or 308");
    let origin = RedirectSpec { preserve_path: false, ..spec("external_origin_keep_path", "https://n.test") };
    assert_eq!(error(&origin), "preserve_path: external_origin_keep_path always keeps the path");
}
