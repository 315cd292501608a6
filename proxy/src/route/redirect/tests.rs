//! Every mode, the joining rules, and what is refused.

use super::*;
use crate::config::value::RedirectMode::{AbsoluteUrl, ExternalOriginKeepPath, SameHostPath, Scheme};
use crate::config::{At, Problems};

fn compile(raw: &raw::Redirect, path: PathMatch) -> Result<Redirect, Problems> {
    let mut problems = Problems::new();
    let redirect = Redirect::compile(raw, &path, &mut problems);
    redirect.filter(|_| problems.is_empty()).ok_or(problems)
}

fn raw(mode: RedirectMode, target: &str) -> raw::Redirect {
    let (target, at) = (target.to_owned(), At::default());
    raw::Redirect { mode, target, status: 302, preserve_path: true, preserve_query: true, at }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::prefix(text).unwrap()
}

fn location(redirect: &Redirect, url: &str) -> Result<String, Fault> {
    let (host, rest) = url.split_at(url.find('/').unwrap());
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query.as_bytes())));
    let incoming = Incoming { host, spelled: path.as_bytes(), route_path: path.as_bytes(), query };
    let mut out = b"kept ".to_vec();
    redirect.location(&incoming, &mut out)?;
    Ok(String::from_utf8(out).unwrap().strip_prefix("kept ").unwrap().to_owned())
}

#[test]
fn each_mode_builds_its_location() {
    let cases = [
        (SameHostPath, "/new", prefix("/old"), "z/old/x?q", "/new/x?q"),
        (SameHostPath, "/new", prefix("/old"), "z/old", "/new"),
        (SameHostPath, "/new", prefix("/old"), "z/old/", "/new/"),
        (SameHostPath, "/new/", prefix("/old"), "z/old/x", "/new/x"),
        (SameHostPath, "/new", prefix("/old/"), "z/old/x", "/new/x"),
        (SameHostPath, "/new", prefix("/old/"), "z/old/", "/new/"),
        (SameHostPath, "/new", prefix("/old"), "z/old//evil.test", "/new/evil.test"),
        (SameHostPath, "/", prefix("/old"), "z/old//evil.test", "/evil.test"),
        (SameHostPath, "/new", prefix("/"), "z/a/b", "/new/a/b"),
        (SameHostPath, "/new", prefix("/"), "z/", "/new"),
        (SameHostPath, "/new", PathMatch::Any, "z/", "/new"),
        (SameHostPath, "/new", PathMatch::Any, "z/a", "/new/a"),
        (SameHostPath, "/new", PathMatch::exact("/old").unwrap(), "z/old?q", "/new?q"),
        (SameHostPath, "/new", PathMatch::pattern("old").unwrap(), "z/old/x", "/new"),
        (SameHostPath, "/new", PathMatch::raw("/old").unwrap(), "z/older", "/new/er"),
        (SameHostPath, "/new", prefix("/old"), "z/%6fld/%41?%42", "/new/%41?%42"),
        (SameHostPath, "/new?a=1#f", prefix("/old"), "z/old/x?q", "/new/x?a=1&q#f"),
        (SameHostPath, "/new?", prefix("/old"), "z/old?q", "/new?q"),
        (SameHostPath, "/new", prefix("/old"), "z/old?", "/new"),
        (ExternalOriginKeepPath, "https://n.test", prefix("/"), "old.test/p?q", "https://n.test/p?q"),
        (ExternalOriginKeepPath, "https://n.test:8443", prefix("/p"), "old.test/p/", "https://n.test:8443/p/"),
        (ExternalOriginKeepPath, "https://n.test", prefix("/"), "old.test/", "https://n.test/"),
        (AbsoluteUrl, "https://n.test/d?x=1", prefix("/a"), "abs.test/a/b?q", "https://n.test/d/b?x=1&q"),
        (AbsoluteUrl, "https://n.test", prefix("/a"), "abs.test/a/b", "https://n.test/b"),
        (AbsoluteUrl, "https://n.test", prefix("/a"), "abs.test/a", "https://n.test"),
        (Scheme, "https", prefix("/"), "a.test/x?q", "https://a.test/x?q"),
        (Scheme, "https:8443", PathMatch::Any, "[::1]/", "https://[::1]:8443/"),
    ];
    for (mode, target, path, url, expected) in cases {
        let redirect = compile(&raw(mode, target), path).unwrap();
        assert_eq!(location(&redirect, url).as_deref(), Ok(expected), "{mode:?} {target} for {url}");
        assert_eq!(redirect.status, 302);
    }
}

#[test]
fn flags_off_leave_the_target_as_written() {
    let raw = raw::Redirect { preserve_path: false, preserve_query: false, ..raw(AbsoluteUrl, "https://n.test/d?x=1") };
    let redirect = compile(&raw, prefix("/a")).unwrap();
    assert_eq!(location(&redirect, "abs.test/a/b?q").unwrap(), "https://n.test/d?x=1");
}

#[test]
fn a_location_that_cannot_be_sent_is_a_fault() {
    let failed = Err(Fault::new(Reason::RedirectFailed));
    let local = compile(&raw(SameHostPath, "/"), prefix("/old")).unwrap();
    assert_eq!(location(&local, "z/old/\\evil.test"), failed);
    assert_eq!(location(&local, &format!("z/old/{}", "x".repeat(PATH_MAX))), failed);
    assert_eq!(location(&local, &format!("z/old/{}", "x".repeat(PATH_MAX - 1))).unwrap().len(), PATH_MAX);
    let external = compile(&raw(ExternalOriginKeepPath, "https://n.test"), prefix("/")).unwrap();
    assert_eq!(location(&external, "z/a\u{1}b"), failed);
    let mut out = Vec::new();
    let asterisk = Incoming { host: "z", spelled: b"*", route_path: b"*", query: None };
    assert!(external.location(&asterisk, &mut out).is_err());
    let scheme = compile(&raw(Scheme, "https"), prefix("/")).unwrap();
    assert_eq!(location(&scheme, "/x"), failed);
}

#[test]
fn wrong_redirects_are_named() {
    let error = |raw: &raw::Redirect| {
        let problems = compile(raw, prefix("/a")).unwrap_err();
        problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; ")
    };
    for (mode, target, expected) in [
        (SameHostPath, "//evil.test", "target: same_host_path needs a path that starts with one \"/\""),
        (SameHostPath, "/\\evil.test", "target: same_host_path needs a path that starts with one \"/\""),
        (SameHostPath, "new", "target: same_host_path needs a path that starts with one \"/\""),
        (AbsoluteUrl, "/new", "target: absolute_url needs an http or https URL"),
        (AbsoluteUrl, "ftp://n.test/", "target: absolute_url needs an http or https URL"),
        (AbsoluteUrl, "https://u@n.test/", "target: absolute_url needs an http or https URL"),
        (AbsoluteUrl, "https:///x", "target: absolute_url needs an http or https URL"),
        (AbsoluteUrl, "https://n.test:0/", "target: absolute_url needs an http or https URL"),
        (
            ExternalOriginKeepPath,
            "https://n.test/x",
            "target: external_origin_keep_path needs an http or https origin without a path",
        ),
        (Scheme, "ftp", "target: scheme needs https or https:PORT"),
        (Scheme, "https:99999", "target: scheme needs https or https:PORT"),
        (SameHostPath, "/a b", "target: a redirect's target is written in visible ASCII; encode the rest"),
    ] {
        assert_eq!(error(&raw(mode, target)), expected, "{mode:?} {target}");
    }
    let origin = raw::Redirect { preserve_path: false, ..raw(ExternalOriginKeepPath, "https://n.test") };
    assert_eq!(error(&origin), "preserve_path: redirect mode external_origin_keep_path always keeps the path");
}
