//! What is said of wrong routes.

use super::*;

/// The problems of a document with one listener `L` and this text.
fn problems(routes: &str) -> Vec<String> {
    let (_, problems) = build(&format!("[[listener]]\nname = \"L\"\nbind = \"127.0.0.1:0\"\n{routes}"));
    problems.iter().map(|problem| problem.to_string()).collect()
}

/// The problems of one route of id 10 with these keys.
fn of_route(keys: &str) -> Vec<String> {
    problems(&format!("[[route]]\nid = 10\nlistener = \"L\"\n{keys}"))
}

#[test]
fn wrong_routes_are_named_with_line_and_object() {
    for (keys, expected) in [
        ("", "weir.toml:4: route 10: needs a host or a path"),
        ("method = [\"GET\"]", "weir.toml:4: route 10: needs a host or a path"),
        ("path_prefix = \"api\"", "weir.toml:7: route 10: path_prefix must start with \"/\""),
        ("path_exact = \"api\"", "weir.toml:7: route 10: path_exact must start with \"/\""),
        (
            "host = \"a.*.b\"",
            "weir.toml:7: route 10: bad host pattern \"a.*.b\": `*` stands alone or as the first label",
        ),
        ("host = \"a:80\"", "weir.toml:7: route 10: bad host pattern \"a:80\": a port does not belong here"),
        (
            "host = \"bücher.de\"",
            "weir.toml:7: route 10: bad host pattern \"bücher.de\": write international names as A-labels (xn--...)",
        ),
        ("host_regex = \"(\"", "weir.toml:7: route 10: bad regex \"(\": unclosed group"),
        ("path_regex = \"[\"", "weir.toml:7: route 10: bad regex \"[\": unclosed character class"),
        ("path_regex = '(\\w{1000}){1000}'", "weir.toml:7: route 10: the compiled regex is larger than 1 MiB"),
        (
            "path_prefix = \"/a\"\npath_exact = \"/b\"",
            "weir.toml:8: route 10: path_prefix and path_exact exclude each other",
        ),
        ("host = \"a\"\nhost_regex = \"b\"", "weir.toml:8: route 10: host and host_regex exclude each other"),
        ("host = \"a\"\nmethod = [\"G T\"]", "weir.toml:8: route 10: \"G T\" is no method"),
        ("host = \"a\"\naction = \"redirect\"", "weir.toml:8: route 10: action redirect needs [route.redirect]"),
        (
            "is_default = true\nhost = \"a\"",
            "weir.toml:8: route 10: is the default, so host cannot be: its only match key is path_prefix = \"/\"",
        ),
        (
            "is_default = true\npath_prefix = \"/a\"",
            "weir.toml:8: route 10: is the default, so path_prefix cannot be: its only match key is path_prefix = \"/\"",
        ),
    ] {
        assert_eq!(of_route(keys), [expected], "{keys}");
    }
    assert_eq!(of_route("is_default = true\npath_prefix = \"/\""), [""; 0]);
}

#[test]
fn a_route_forwards_or_redirects() {
    let redirect = "[route.redirect]\nmode = \"same_host_path\"\ntarget = \"/new\"\n";
    let both = of_route(&format!("host = \"a\"\n{redirect}"));
    assert_eq!(both.len(), 1);
    assert!(
        both[0].contains("has a redirect, but its action is forward: a route either forwards or redirects"),
        "{both:?}"
    );
    let target = "[[route.target]]\nurl = \"http://127.0.0.1:1\"\n";
    let both = of_route(&format!("host = \"a\"\naction = \"redirect\"\n{redirect}{target}"));
    assert_eq!(both.len(), 1);
    assert!(
        both[0].contains("has a target, but its action is redirect: a route either forwards or redirects"),
        "{both:?}"
    );
    let unused = of_route(&format!(
        "host = \"a\"\naction = \"redirect\"\n{redirect}[route.rewrite]\nadd_prefix = \"/x\"\n[route.request_headers]\n"
    ));
    assert_eq!(unused.len(), 2, "{unused:?}");
    assert!(unused[0].ends_with("rewrite has no effect on a redirect"), "{unused:?}");
}

#[test]
fn all_problems_of_a_document_are_reported() {
    let all = problems(
        "[[route]]\nid = 1\nlistener = \"L\"\nhost = [\"a:1\", \"b:2\"]\npath_prefix = \"x\"\n\
         [[route]]\nid = 2\nlistener = \"L\"\n\
         header = [{ name = \"x\", op = \"regex\", value = \"(\" }, { name = \"y\" }]\n",
    );
    assert_eq!(all.len(), 6, "{all:#?}");
}

#[test]
fn wrong_listener_hostnames_are_named() {
    let (_, problems) = build("[[listener]]\nname = \"L\"\nbind = \"127.0.0.1:0\"\nhostnames = [\"a:1\"]\n");
    let text = problems.to_string();
    assert_eq!(text, "weir.toml:4: listener L: bad host pattern \"a:1\": a port does not belong here\n");
}
