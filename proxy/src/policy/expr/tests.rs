//! The match language as a whole: what operators say of fields that are there and that are not, and what is refused.

use std::net::IpAddr;

use super::*;
use crate::config::value::Protocol;
use crate::http::{Head, HeadLimits, Paths, Request, parse_request};
use crate::policy::geoip::GeoIp;
use crate::policy::geoip::tests::{countries, networks};

/// A request and everything that is known about it.
pub(in crate::policy) struct Sample {
    pub(super) octets: Vec<u8>,
    pub(super) head: Head,
    pub(super) client: Option<IpAddr>,
    pub(super) tls: Option<Tls<'static>>,
    pub(super) geoip: Option<GeoIp>,
}

impl Sample {
    /// A request of a client at 192.0.2.7.
    pub(in crate::policy) fn new(text: &str) -> Self {
        let octets = text.replace('\n', "\r\n").into_bytes();
        let mut head = Head::new();
        parse_request(&octets, &HeadLimits::default(), &mut head).unwrap().unwrap();
        Self { octets, head, client: Some([192, 0, 2, 7].into()), tls: None, geoip: None }
    }

    pub(in crate::policy) fn with<T>(&self, then: impl FnOnce(&Facts<'_>) -> T) -> T {
        let request = Request::new(&self.head, &self.octets);
        let paths: Paths<'_> = request.paths(true).unwrap();
        then(&Facts::new(Source {
            request,
            paths: &paths,
            client: self.client,
            peer: Some("::ffff:198.51.100.1".parse().unwrap()),
            listener: "web",
            port: 8080,
            protocol: Protocol::Http,
            tls: self.tls,
            geoip: self.geoip.as_ref(),
        }))
    }
}

const BEFORE: &str = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"\n[[rate_limit]]\nname = \"login\"\n";

/// A rule's keys compiled, in the document's line 6 and after, or what is wrong with them.
pub(super) fn compile_in(extra: &str, keys: &str) -> Result<Expr, String> {
    let text = format!("{BEFORE}{keys}\n{extra}");
    let document =
        crate::config::parse(&text, "weir.toml").map_err(|problems| problems.to_string().trim_end().to_owned())?;
    let mut problems = Problems::new();
    let expr = Expr::compile(&document.rate_limits[0].rule(), &Context::of(&document), &mut problems);
    expr.ok_or_else(|| problems.to_string().trim_end().to_owned())
}

pub(super) fn compile(keys: &str) -> Result<Expr, String> {
    compile_in("", keys)
}

fn rule(matching: &str) -> Expr {
    compile(&format!("match = {{ {matching} }}")).unwrap()
}

const FULL: &str = "POST /caf%C3%A9/%2Fb;x?a=1&a=2&e=%20x&f HTTP/1.1\nHost: API.Example.com:8080\nX-Plan: free\n\
                    x-plan: gold\nX-Empty:\nCookie: id=7; id=8\nCookie: other=\"q\"\nContent-Length: 5\n\n";
const BARE: &str = "GET /a HTTP/1.0\n\n";

#[test]
fn operators_say_yes_no_and_no_of_what_is_absent() {
    let full = Sample { tls: Some(Tls { version: "1.3", sni: Some("api.example.com") }), ..Sample::new(FULL) };
    let bare = Sample { client: None, ..Sample::new(BARE) };
    // Says yes of the full request; says no of it; whether the field is absent in the bare one.
    let cases = [
        (r#"method = "POST""#, r#"method = "post""#, false),
        (r#"method = ["PUT", "POST"]"#, r#"method = ["PUT", "PATCH"]"#, false),
        (r#"method.equals = "POST""#, r#"method.in = ["PUT"]"#, false),
        (r#"protocol = "http""#, r#"protocol = "https""#, false),
        (r#"listener = "web""#, r#"not = { listener = "web" }"#, false),
        (r#"http_version = "1.1""#, r#"http_version = "1.0""#, false),
        (r#"tls.version = "1.3""#, r#"tls.version = "1.2""#, true),
        (r#"tls.sni = "api.example.com""#, r#"tls.sni = "example.com""#, true),
        (r#"tls = { version = "1.3", sni = "api.example.com" }"#, r#"tls = { version = "1.3", sni = "x" }"#, true),
        (r#"client_known = true"#, r#"client_known = false"#, true),
        (r#"host = "*.example.com""#, r#"host = "example.com""#, true),
        (r#"host = ["x.test", "API.example.com"]"#, r#"host.equals = "*.example.com""#, true),
        (r#"host.prefix = "api.""#, r#"host.prefix = "example""#, true),
        (r#"host.suffix = ".com""#, r#"host.suffix = ".net""#, true),
        (r#"host.matches = "^a.i\\.""#, r#"host.matches = "^b""#, true),
        (r#"path = "/café/b;x""#, r#"path = "/caf%C3%A9/%2Fb;x""#, false),
        (r#"path.prefix = "/café""#, r#"path.prefix = "/caf""#, false),
        (r#"path.prefix = ["/x", "/café/b;x"]"#, r#"path.prefix = "/café/b""#, false),
        (r#"path.suffix = ";x""#, r#"path.suffix = "b""#, false),
        (r#"path.contains = ["zz", "fé"]"#, r#"path.contains = "%""#, false),
        (r#"path.matches = "^/caf.{1}/b""#, r#"path.matches = "^b""#, false),
        (r#"path_raw = "/caf%C3%A9/%2Fb;x""#, r#"path_raw = "/café/b;x""#, false),
        (r#"path_raw.prefix = "/caf%C""#, r#"path_raw.prefix = "/café""#, false),
        (r#"path_raw.contains = "%2F""#, r#"path_raw.contains = "%2f""#, false),
        (r#"client_ip = "192.0.2.7""#, r#"client_ip = "192.0.2.8""#, true),
        (r#"client_ip = ["192.0.2.1", "192.0.2.7"]"#, r#"client_ip = ["192.0.2.1"]"#, true),
        (r#"client_ip.cidr = ["192.0.2.0/24"]"#, r#"client_ip.cidr = ["192.0.3.0/24", "2001:db8::/32"]"#, true),
        (r#"client_ip.cidr = "::ffff:192.0.2.0/120""#, r#"client_ip.cidr = "10.0.0.0/8""#, true),
        (r#"peer_ip = "198.51.100.1""#, r#"peer_ip.cidr = "192.0.2.0/24""#, false),
        (r#"port = 8080"#, r#"port = 80"#, false),
        (r#"port = [80, 8080]"#, r#"port = [80, 443]"#, false),
        (r#"port.min = 8080"#, r#"port.min = 8081"#, false),
        (r#"content_length = 5"#, r#"content_length = 4"#, true),
        (r#"content_length = { min = 5, max = 5 }"#, r#"content_length = { min = 1, max = 4 }"#, true),
        (r#"content_length.max = 5"#, r#"content_length.min = 6"#, true),
        (r#"header.x-plan = "free""#, r#"header.x-plan = "Free""#, true),
        (r#"header.X-PLAN = ["gold", "silver"]"#, r#"header.x-plan = ["silver"]"#, true),
        (r#"header.x-plan.prefix = "go""#, r#"header.x-plan.prefix = "o""#, true),
        (r#"header.x-plan.suffix = "ld""#, r#"header.x-plan.suffix = "l""#, true),
        (r#"header.x-plan.contains = "re""#, r#"header.x-plan.contains = "e,""#, true),
        (r#"header.x-plan.matches = "^f..e$""#, r#"header.x-plan.matches = "^f..e.""#, true),
        (r#"header.x-plan.present = true"#, r#"header.x-plan.present = false"#, true),
        (r#"header.x-empty = """#, r#"header.x-empty = "x""#, true),
        (r#"header.content-length.present = true"#, r#"header.content-length = "6""#, true),
        (r#"query.a = "2""#, r#"query.a = "3""#, true),
        (r#"query.e = " x""#, r#"query.e = "%20x""#, true),
        (r#"query.f = """#, r#"query.f = "1""#, true),
        (r#"query.f.present = true"#, r#"query.f.present = false"#, true),
        (r#"cookie.id = "7""#, r#"cookie.id = "8""#, true),
        (r#"cookie.other = "\"q\"""#, r#"cookie.other = "q""#, true),
        (r#"cookie.id.present = true"#, r#"cookie.id.present = false"#, true),
        (r#"all = [{ port = 8080 }, { method = "POST" }]"#, r#"all = [{ port = 8080 }, { method = "GET" }]"#, false),
        (r#"any = [{ port = 1 }, { method = "POST" }]"#, r#"any = [{ port = 1 }, { method = "GET" }]"#, false),
        (r#"method = "POST", port = 8080"#, r#"method = "POST", port = 1"#, false),
        (r#"not = { header.x-plan = { present = false } }"#, r#"not = { header.x-plan = "gold" }"#, true),
    ];
    for (yes, no, absent) in cases {
        for (matching, expected) in [(yes, true), (no, false)] {
            let (plain, negated) = (rule(matching), rule(&format!("not = {{ {matching} }}")));
            full.with(|facts| {
                assert_eq!(plain.matches(facts), Ok(expected), "{matching}");
                assert_eq!(negated.matches(facts), Ok(!expected), "not {matching}");
            });
            let asks_for_absence = matching.contains("present = false")
                || matching.starts_with("not")
                || matching == "client_known = false";
            if absent && !asks_for_absence {
                bare.with(|facts| {
                    assert_eq!(plain.matches(facts), Ok(false), "{matching}, absent");
                    assert_eq!(negated.matches(facts), Ok(true), "not {matching}, absent");
                });
            }
        }
    }
}

#[test]
fn allow_lists_are_closed_to_clients_that_are_not_known() {
    let expr = rule(r#"header.x-plan.present = false, not = { client_ip.cidr = "10.0.0.0/8" }"#);
    Sample { client: None, ..Sample::new(BARE) }.with(|facts| assert_eq!(expr.matches(facts), Ok(true)));
    Sample { client: Some("::ffff:10.0.0.1".parse().unwrap()), ..Sample::new(BARE) }
        .with(|facts| assert_eq!(expr.matches(facts), Ok(false)));
    Sample::new(FULL).with(|facts| assert_eq!(expr.matches(facts), Ok(false)));
}

#[test]
fn a_rule_that_asks_nothing_matches_everything() {
    for keys in ["", "match = {}"] {
        let expr = compile(keys).unwrap();
        Sample::new(BARE).with(|facts| assert_eq!(expr.matches(facts), Ok(true)));
    }
}

#[test]
fn match_and_when_must_both_hold() {
    let expr = compile("match = { method = \"POST\" }\nwhen = 'port == 8080'").unwrap();
    Sample::new(FULL).with(|facts| assert_eq!(expr.matches(facts), Ok(true)));
    Sample::new(BARE).with(|facts| assert_eq!(expr.matches(facts), Ok(false)));
}

#[test]
fn countries_and_networks_are_looked_up() {
    let files = "[geoip]\ndb = \"/c.mmdb\"\nasn_db = \"/n.mmdb\"\n";
    let databases = || Some(GeoIp { countries: Some(countries().into()), networks: Some(networks().into()) });
    let sample = |client: &str| Sample { client: client.parse().ok(), geoip: databases(), ..Sample::new(BARE) };
    let cases = [
        (r#"country = "NL""#, [true, false, false]),
        (r#"country = ["NL", "ZZ"]"#, [true, true, false]),
        ("asn = 64500", [true, false, false]),
        ("asn.max = 0", [false, true, false]),
    ];
    for (matching, expected) in cases {
        let expr = compile_in(files, &format!("match = {{ {matching} }}")).unwrap();
        for (client, expected) in ["192.0.2.7", "203.0.113.1", "unix"].into_iter().zip(expected) {
            sample(client).with(|facts| assert_eq!(expr.matches(facts), Ok(expected), "{matching} {client}"));
        }
    }
    let cel = compile_in(files, r#"when = 'country == "NL" && asn > 64499'"#).unwrap();
    sample("192.0.2.7").with(|facts| assert_eq!(cel.matches(facts), Ok(true)));
    let unknown = compile_in(files, r#"when = 'country == "" && asn == -1'"#).unwrap();
    sample("unix").with(|facts| assert_eq!(unknown.matches(facts), Ok(true)));
}

#[test]
fn what_asks_nothing_valid_is_told_where() {
    let many = |count: usize| vec!["\"a\""; count].join(", ");
    let long = "x".repeat(513);
    let nodes = vec!["{ port = 1 }"; 64].join(", ");
    let cases = [
        (r#"metod = "GET""#.to_owned(), r#"6:11: rate_limit login: match: unknown field "metod"; nearest: "method""#),
        (r#"headers.a = "b""#.into(), r#"6:11: rate_limit login: match: unknown field "headers"; nearest: "header""#),
        (r#"tls.sn = "b""#.into(), r#"6:15: rate_limit login: match: unknown field "sn"; nearest: "sni""#),
        (r#"path.prefx = "b""#.into(), r#"6:16: rate_limit login: match: unknown operator "prefx"; nearest: "prefix""#),
        (r#"method.prefix = "b""#.into(), r#"6:18: rate_limit login: match: unknown operator "prefix""#),
        (r#"path.present = true"#.into(), r#"6:16: rate_limit login: match: unknown operator "present""#),
        ("method = 1".into(), "6:20: rate_limit login: match: method: equals must be a string"),
        ("method = 1979-05-27".into(), "6:20: rate_limit login: match: method: equals must be a string"),
        ("port = -1".into(), "6:18: rate_limit login: match: port: equals must be a whole number from 0"),
        ("port.in = 1".into(), "6:21: rate_limit login: match: port: in must be a list"),
        ("port = []".into(), "6:18: rate_limit login: match: port: in = [] is empty"),
        ("port = {}".into(), "6:11: rate_limit login: match: port asks nothing"),
        (
            r#"method.equals = ["a"]"#.into(),
            "6:27: rate_limit login: match: method: equals must be one value; lists stand in in",
        ),
        (
            r#"client_ip = "10.0.0.0/8""#.into(),
            r#"6:23: rate_limit login: match: client_ip: "10.0.0.0/8" is no address; networks stand in cidr"#,
        ),
        (
            r#"client_ip.cidr = ["1.2.3.4", "1.2.3.0/33"]"#.into(),
            r#"6:40: rate_limit login: match: client_ip: "1.2.3.0/33" is no network such as 10.0.0.0/8"#,
        ),
        (r#"path.prefix = "api""#.into(), r#"6:25: rate_limit login: match: path: prefix = "api" must begin with "/""#),
        (
            r#"host = "a.*.com""#.into(),
            r#"6:18: rate_limit login: match: host: bad host pattern "a.*.com": `*` stands alone or as the first label"#,
        ),
        (r#"path.matches = "(""#.into(), r#"6:26: rate_limit login: match: path: bad regex "(": unclosed group"#),
        (
            r#"protocol = "htps""#.into(),
            r#"6:22: rate_limit login: match: protocol: there is no "htps"; nearest: "https""#,
        ),
        (r#"listener = "wep""#.into(), r#"6:22: rate_limit login: match: listener: there is no "wep"; nearest: "web""#),
        (r#"country = "NL""#.into(), "6:11: rate_limit login: match: country needs a database: [geoip] has no db"),
        ("asn = 1".into(), "6:11: rate_limit login: match: asn needs a database: [geoip] has no asn_db"),
        (r#"header."x y" = "a""#.into(), r#"6:18: rate_limit login: match: "x y" is no header name"#),
        (r#"any = []"#.into(), "6:11: rate_limit login: match: any is empty: one table at least"),
        (r#"not = [1]"#.into(), "6:17: rate_limit login: match: must be a table of fields"),
        (
            format!("path = [{}]", many(65)),
            "6:18: rate_limit login: match: path: in has 65 values; allowed: at most 64",
        ),
        (
            format!("path = \"{long}\""),
            "6:18: rate_limit login: match: path: a value of 513 octets; allowed: at most 512",
        ),
        (format!("any = [{nodes}]"), "6:909: rate_limit login: match: more than 64 predicates and combinations"),
    ];
    let first = |matching: &String| {
        let wrong = compile(&format!("match = {{ {matching} }}")).map(|_| ()).unwrap_err();
        wrong.lines().next().unwrap_or_default().to_owned()
    };
    let told: Vec<_> = cases.iter().map(|(matching, _)| first(matching)).collect();
    let expected: Vec<_> = cases.iter().map(|(_, expected)| format!("weir.toml:{expected}")).collect();
    assert_eq!(told, expected);
    assert!(compile(&format!("match = {{ path = [{}] }}", many(64))).is_ok());
    assert!(compile(&format!("match = {{ path = \"{}\" }}", &long[1..])).is_ok());
    assert!(compile(&format!("match = {{ any = [{}] }}", &nodes[14..])).is_ok());
    let big = compile(r#"match = { path.matches = "[\\pL]{500}{500}" }"#).map(|_| ()).unwrap_err();
    assert!(big.ends_with("the compiled regex is larger than 1 MiB"), "{big}");
}

#[test]
fn every_wrong_part_is_told_at_once() {
    let wrong = compile("match = { metod = 1, pat = 2 }\nwhen = 'hots == \"a\"'").map(|_| ()).unwrap_err();
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
}

#[test]
fn the_failing_predicate_is_named_with_what_the_request_has() {
    let cases = [
        (r#"match = { method = "GET" }"#, "method", r#"equals "GET""#, r#""POST""#),
        (r#"match = { header.x-plan = ["a", "b"] }"#, "header.x-plan", r#"in ["a", "b"]"#, r#""free", "gold""#),
        (r#"match = { not = { query.a = "1" } }"#, "not query.a", r#"equals "1""#, r#""1", "2""#),
        (r#"match = { cookie.no.present = true }"#, "cookie.no", "present", "absent"),
        (r#"match = { any = [{ port = 1 }, { port.min = 9000 }] }"#, "port", "equals 1", "8080"),
        (r#"match = { client_ip.cidr = "10.0.0.0/8" }"#, "client_ip", "in [10.0.0.0/8]", "192.0.2.7"),
        (r#"when = 'headers["x-plan"].exists(v, v == "x")'"#, "header.x-plan", r#"equals "x""#, r#""free", "gold""#),
        (r#"when = 'method != "POST"'"#, "not method", r#"equals "POST""#, r#""POST""#),
        (r#"when = 'size(path) > 1000'"#, "when", "size(path) > 1000", "false"),
    ];
    for (keys, predicate, expected, actual) in cases {
        let failed = Sample::new(FULL).with(|facts| compile(keys).unwrap().explain(facts));
        let expected = Failed { predicate: predicate.into(), expected: expected.into(), actual: actual.into() };
        assert_eq!(failed, expected, "{keys}");
    }
}
