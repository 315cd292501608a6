//! What is reported, and what is not.

use super::*;
use crate::config;

/// A document with one listener `w` on port 80 and these routes, each with id, priority and keys.
fn lint(routes: &[(u32, i32, &str)]) -> Vec<(Lint, String)> {
    lint_on("bind = \"127.0.0.1:80\"\n", routes)
}

fn lint_on(listener: &str, routes: &[(u32, i32, &str)]) -> Vec<(Lint, String)> {
    let mut text = format!("[[listener]]\nname = \"w\"\n{listener}");
    for (id, priority, keys) in routes {
        text += &format!("[[route]]\nid = {id}\npriority = {priority}\nlistener = \"w\"\n{keys}\n");
    }
    let (document, mut problems) = config::read(&text, "weir.toml");
    let document = document.unwrap();
    let table = Table::build(&document, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    table.warn(&document, &mut problems);
    assert!(!problems.is_fatal() && problems.len() == table.lint().len());
    table.lint().into_iter().map(|finding| (finding.lint, finding.message)).collect()
}

fn tokens(routes: &[(u32, i32, &str)]) -> Vec<&'static str> {
    lint(routes).iter().map(|(lint, _)| lint.token()).collect()
}

#[test]
fn a_covered_route_is_shadowed() {
    let found = lint(&[(10, 5, "path_prefix = \"/\""), (20, 10, "host = \"app.test\"\npath_prefix = \"/api\"")]);
    assert_eq!(found, [(Lint::Shadowed, "route 20 never matches: route 10 covers it".to_owned())]);
    let two = [
        (1, 1, "host = \"a.test\"\npath_prefix = \"/\""),
        (2, 2, "host = \"*.b.test\"\npath_prefix = \"/\""),
        (3, 3, "host = [\"a.test\", \"*.x.b.test\", \"y.b.test\"]\npath_exact = \"/z\""),
        (4, 4, "host = \"b.test\"\npath_prefix = \"/z\""),
    ];
    assert_eq!(lint(&two), [(Lint::Shadowed, "route 3 never matches: routes 1 and 2 cover it".to_owned())]);
}

#[test]
fn conditions_shadow_only_where_they_are_implied() {
    let after = |first: &str, second: &str| {
        let first = format!("path_prefix = \"/a\"\n{first}");
        tokens(&[(1, 1, &first), (2, 2, &format!("path_prefix = \"/a\"\n{second}"))])
    };
    assert_eq!(after("", "method = [\"GET\"]"), ["shadowed"]);
    assert_eq!(after("method = [\"GET\", \"PUT\"]", "method = [\"PUT\"]"), ["shadowed"]);
    assert_eq!(after("method = [\"GET\"]", ""), [""; 0]);
    assert_eq!(after("client = [\"10.0.0.0/8\"]", "client = [\"10.1.0.0/16\"]"), ["shadowed"]);
    assert_eq!(after("client = [\"10.1.0.0/16\"]", "client = [\"10.0.0.0/8\"]"), [""; 0]);
    let header = "header = [{ name = \"X\", op = \"regex\", value = \"a\" }]";
    assert_eq!(after(header, &format!("{header}\nmethod = [\"GET\"]")), ["shadowed"]);
    assert_eq!(after(header, ""), [""; 0]);
    assert_eq!(after(header, "header = [{ name = \"X\", value = \"a\" }]"), [""; 0]);
}

#[test]
fn regexes_are_never_guessed() {
    assert_eq!(tokens(&[(1, 1, "path_regex = \"^/a\""), (2, 2, "path_regex = \"^/ab\"")]), [""; 0]);
    assert_eq!(tokens(&[(1, 1, "path_regex = \"^/\""), (2, 2, "path_prefix = \"/\"")]), [""; 0]);
    assert_eq!(tokens(&[(1, 1, "path_regex = \"^/a\""), (2, 2, "path_regex = \"^/a\"")]), ["duplicate"]);
    assert_eq!(tokens(&[(1, 1, "path_regex = \"^/a\""), (2, 2, "path_exact = \"/ab\"")]), ["shadowed"]);
    assert_eq!(tokens(&[(1, 1, "host_regex = \"a\""), (2, 2, "host = \"a.test\"")]), ["shadowed"]);
    assert_eq!(tokens(&[(1, 1, "host_regex = \"a\""), (2, 2, "host = \"b.test\"")]), [""; 0]);
}

#[test]
fn the_same_match_twice_is_a_duplicate() {
    let keys = "host = [\"a.test\", \"b.test\"]\npath_prefix = \"/a\"\nmethod = [\"GET\", \"PUT\"]";
    let other = "host = [\"b.test\", \"a.test\"]\npath_prefix = \"/a\"\nmethod = [\"PUT\", \"GET\"]";
    let found = lint(&[(1, 1, keys), (2, 2, other)]);
    assert_eq!(found, [(Lint::Duplicate, "route 2 never matches: route 1 has the same match".to_owned())]);
    let disabled = format!("enabled = false\n{other}");
    assert_eq!(tokens(&[(1, 1, keys), (2, 2, &disabled)]), [""; 0]);
    assert_eq!(tokens(&[(1, 3, &disabled), (2, 2, keys)]), [""; 0]);
}

#[test]
fn a_broader_route_that_takes_a_part_first_is_reported() {
    let found = lint(&[
        (1, 1, "host = \"a.test\"\npath_prefix = \"/\""),
        (2, 2, "host = [\"a.test\", \"b.test\"]\npath_prefix = \"/api\""),
    ]);
    let message = "route 2 is more specific than route 1, which comes first and takes a part of its requests";
    assert_eq!(found, [(Lint::BroadBeforeSpecific, message.to_owned())]);
    let by_method = [(1, 1, "path_prefix = \"/\"\nmethod = [\"GET\"]"), (2, 2, "path_prefix = \"/api\"")];
    assert_eq!(tokens(&by_method), ["broad_before_specific"]);
    // A canary by header comes first on purpose.
    let canary = "path_prefix = \"/\"\nheader = [{ name = \"X-Canary\", op = \"present\" }]";
    assert_eq!(tokens(&[(1, 1, canary), (2, 2, "path_prefix = \"/api\"")]), [""; 0]);
    let other_method = "path_prefix = \"/api\"\nmethod = [\"PUT\"]";
    assert_eq!(tokens(&[(1, 1, "path_prefix = \"/\"\nmethod = [\"GET\"]"), (2, 2, other_method)]), [""; 0]);
    assert_eq!(tokens(&[(1, 1, "path_prefix = \"/api\""), (2, 2, "path_prefix = \"/\"")]), [""; 0]);
}

#[test]
fn a_default_behind_everything_is_unreachable() {
    let default = (9, 0, "is_default = true");
    let found = lint(&[default, (1, 1, "path_prefix = \"/\"")]);
    let message = "route 9 never answers on listener w: route 1 covers every path of it";
    assert_eq!(found, [(Lint::DefaultUnreachable, message.to_owned())]);
    assert_eq!(tokens(&[default, (1, 1, "path_prefix = \"/\"\nmethod = [\"GET\"]")]), [""; 0]);
    assert_eq!(tokens(&[default, (1, 1, "path_prefix = \"/a\"")]), [""; 0]);
    let served = "bind = \"127.0.0.1:80\"\nhostnames = [\"a.test\", \"x.b.test\"]\n";
    let routes = [default, (1, 1, "host = \"a.test\""), (2, 2, "host = [\"b.test\", \"*.b.test\"]")];
    let message = "route 9 never answers on listener w: routes 1 and 2 cover every path of it";
    assert_eq!(lint_on(served, &routes), [(Lint::DefaultUnreachable, message.to_owned())]);
}

#[test]
fn a_wildcard_without_its_apex_is_reported_once() {
    let wild = "host = \"*.example.com\"";
    let found = lint(&[(30, 1, wild), (31, 2, "host = \"*.example.com\"\npath_prefix = \"/a\"\nmethod = [\"PUT\"]")]);
    let message = "route 30 matches *.example.com, which is not example.com, and no route names that";
    assert_eq!(found[found.len() - 1], (Lint::NoApex, message.to_owned()));
    assert_eq!(found.iter().filter(|(lint, _)| *lint == Lint::NoApex).count(), 1);
    assert_eq!(tokens(&[(30, 1, wild), (31, 2, "host = \"example.com\"")]), [""; 0]);
    assert_eq!(tokens(&[(30, 1, wild), (31, 2, "host_regex = '^example\\.'")]), [""; 0]);
    assert_eq!(tokens(&[(30, 1, wild), (31, 2, "path_prefix = \"/\"")]), ["no_apex"]);
    assert_eq!(tokens(&[(30, 1, "host = \"*.test\"")]), [""; 0]);
    assert_eq!(lint_on("bind = \"127.0.0.1:80\"\nhostnames = [\"*.example.com\"]\n", &[(30, 1, wild)]), []);
}

#[test]
fn ten_thousand_routes_are_linted_by_the_index() {
    let keys: Vec<String> = (0..10_000).map(|i| format!("host = \"a.test\"\npath_prefix = \"/{i}/x\"")).collect();
    let mut routes: Vec<(u32, i32, &str)> = (0..).zip(&keys).map(|(id, keys)| (id, 1, &**keys)).collect();
    routes.push((10_000, 2, "host = \"a.test\"\npath_prefix = \"/7/x/y\""));
    assert_eq!(lint(&routes), [(Lint::Shadowed, "route 10000 never matches: route 7 covers it".to_owned())]);
}

/// Keys of a redirect.
fn redirect(keys: &str, mode: &str, target: &str) -> String {
    format!("{keys}\naction = \"redirect\"\nredirect = {{ mode = \"{mode}\", target = \"{target}\" }}")
}

#[test]
fn certain_redirect_loops_are_reported() {
    let local = |keys: &str, target: &str| redirect(keys, "same_host_path", target);
    let deeper = local("host = \"a.test\"\npath_prefix = \"/old\"", "/old/new");
    let found = lint(&[(40, 1, &deeper)]);
    let message = "route 40 redirects in a loop: a.test/old -> a.test/old/new -> a.test/old/new/new -> ...";
    assert_eq!(found, [(Lint::RedirectLoop, message.to_owned())]);
    // An earlier route takes the new path, certainly or perhaps.
    assert_eq!(tokens(&[(39, 0, "path_prefix = \"/old/new\""), (40, 1, &deeper)]), [""; 0]);
    let perhaps = "path_prefix = \"/old/new\"\nheader = [{ name = \"x\", op = \"present\" }]";
    assert_eq!(tokens(&[(39, 0, perhaps), (40, 1, &deeper)]), [""; 0]);

    let there = local("path_exact = \"/a\"", "/b");
    let back = local("path_exact = \"/b\"", "/a");
    assert_eq!(tokens(&[(1, 1, &there), (2, 2, &back)]), ["redirect_loop", "redirect_loop"]);
    // Leads into the loop of others, but is not part of it.
    let into = local("path_exact = \"/c\"", "/b");
    assert_eq!(tokens(&[(1, 1, &there), (2, 2, &back), (3, 3, &into)]), ["redirect_loop", "redirect_loop"]);
    assert_eq!(tokens(&[(1, 1, &local("path_prefix = \"/old\"", "/new"))]), [""; 0]);
    // Only what stands below the prefix comes back.
    assert_eq!(tokens(&[(1, 1, &local("path_prefix = \"/old/\"", "/old"))]), ["redirect_loop"]);
}

#[test]
fn loops_over_a_known_listener_are_reported() {
    let absolute = |target: &str| redirect("host = \"a.test\"", "external_origin_keep_path", target);
    assert_eq!(tokens(&[(1, 1, &absolute("http://A.test"))]), ["redirect_loop"]);
    assert_eq!(tokens(&[(1, 1, &absolute("http://a.test:80"))]), ["redirect_loop"]);
    assert_eq!(tokens(&[(1, 1, &absolute("http://a.test:8080"))]), [""; 0]);
    assert_eq!(tokens(&[(1, 1, &absolute("https://a.test"))]), [""; 0]);
    assert_eq!(tokens(&[(1, 1, &redirect("host = \"a.test\"", "scheme", "https"))]), [""; 0]);
    // POST becomes GET, which the route does not match.
    let post = "host = \"a.test\"\nmethod = [\"POST\"]";
    assert_eq!(tokens(&[(1, 1, &redirect(post, "external_origin_keep_path", "http://a.test"))]), [""; 0]);
}
