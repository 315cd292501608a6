//! What is refused, with its place; what absent things read as; errors at run time; and the crate's own interpreter as
//! an oracle.

mod oracle;

use super::super::tests::{Sample, compile, compile_in};
use super::super::{EvalError, Expr};

const REQUEST: &str = "GET /a/b?n=1&n=2 HTTP/1.1\nHost: a.test\nX-A: one\nX-A: two\nCookie: c=v\n\n";

fn when(text: &str) -> Result<Expr, String> {
    compile(&format!("when = '''{text}'''"))
}

fn wrong(text: &str) -> String {
    when(text).map(|_| ()).unwrap_err()
}

#[test]
fn what_is_no_expression_is_told_where() {
    let cases = [
        (r#"metod == "POST""#, 11, r#"unknown variable "metod"; nearest: "method""#),
        (r#"port == 1 && hots == "a""#, 24, r#"unknown variable "hots"; nearest: "host""#),
        (r#"body == "a""#, 11, r#"unknown variable "body""#),
        (r#"route == "a""#, 11, r#"unknown variable "route""#),
        (r#"path.mathces("a")"#, 16, r#"unknown function "mathces"; nearest: "matches""#),
        (r#"host_mach(host, "a")"#, 20, r#"unknown function "host_mach"; nearest: "host_match""#),
        ("host_match(host)", 21, "host_match called with 1 argument; it is host_match(host, pattern)"),
        (
            r#"path.startsWith("a", "b")"#,
            16,
            "startsWith called of a value with 2 arguments; it is text.startsWith(prefix)",
        ),
        (r#"port == "80""#, 16, "an int cannot be compared with a string so"),
        (r#"client_known < true"#, 24, "a bool cannot be compared with a bool so"),
        ("port", 11, "the result is an int; it must be a bool"),
        ("port && true", 11, "an int where a bool must be"),
        (r#"port + "a" == 1"#, 18, "a string where an int must be"),
        (r#"cidr(remote_ip, "10.0.0.0/33")"#, 27, r#""10.0.0.0/33" is no network such as 10.0.0.0/8"#),
        (r#"cidr(port, "10.0.0.0/8")"#, 16, "an int where a string must be"),
        (r#"host_match(host, "a.*.b")"#, 28, r#"bad host pattern "a.*.b": `*` stands alone or as the first label"#),
        (r#"path_prefix(path, "api")"#, 29, r#""api" is no prefix of a path: it must begin with "/""#),
        (r#"path.matches("(")"#, 24, r#"bad regex "(": unclosed group"#),
        ("path.matches(host)", 24, "matches takes a pattern that is a literal"),
        (r#"path.matches("[\\pL]{500}{500}")"#, 24, "the compiled regex is larger than 1 MiB"),
        (
            r#"headers["X-Plan"].exists(v, true)"#,
            19,
            r#"no header is called "X-Plan": names are in lower case; nearest: "x-plan""#,
        ),
        ("path == null", 19, "nothing is null: what is absent is \"\", [] or -1"),
        ("port == 80.0", 19, "numbers are ints: 443, not 443u or 443.0"),
        ("path == b'a'", 19, "there are strings, but no bytes"),
        ("port in []", 19, "an empty list"),
        ("port in [1, 'a']", 19, "strings and ints in one list"),
        ("headers['a'].exists_one(v, v == 'b')", 24, "only exists and all go through lists"),
        ("headers['a'].map(v, v) == 1", 24, "only exists and all go through lists"),
        ("cookies.exists(v, true)", 19, "a map cannot be gone through"),
        ("host.exists(v, true)", 16, "a string cannot be gone through"),
        ("size(port) == 1", 16, "an int has no size"),
        ("tls.snu == ''", 14, r#"unknown field "snu"; nearest: "sni""#),
        ("country == 'NL'", 11, "country needs a database: [geoip] has no db"),
        ("true ? 1 : 'a'", 16, "either an int or a string: both must be bools, ints or strings"),
        ("{'a': 1} == 1", 11, "maps and messages cannot be made here"),
        ("port ==", 18, "syntax error: mismatched input '<eof>'"),
        ("port == 1 )", 21, "syntax error: extraneous input ')'"),
        ("#", 11, "syntax error: token recognition error at: '#'"),
        ("", 11, "syntax error: mismatched input '<eof>'"),
        ("port == 99999999999999999999", 19, "invalid int literal"),
        ("if == 1", 11, "reserved identifier: if"),
    ];
    let told: Vec<_> = cases.iter().map(|(text, ..)| wrong(text)).collect();
    let place = |column: &u32| format!("weir.toml:6:{column}: rate_limit login: when: ");
    let expected: Vec<_> = cases.iter().map(|(_, column, expected)| place(column) + expected).collect();
    assert_eq!(told, expected);
}

#[test]
fn places_are_those_of_the_document() {
    let basic = compile(r#"when = "path == \"\\u00e9\" && metod == 1""#).map(|_| ()).unwrap_err();
    assert!(basic.starts_with("weir.toml:6:32: "), "{basic}");
    let lines = compile("when = \"\"\"\npath == 'a' &&\n  metod == 1\"\"\"").map(|_| ()).unwrap_err();
    assert!(lines.starts_with("weir.toml:8:3: "), "{lines}");
}

#[test]
fn limits_are_told_where_they_are_passed() {
    let deep = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(when(&deep(32)).is_ok());
    assert_eq!(wrong(&deep(33)), "weir.toml:6:43: rate_limit login: when: nests more than 32 levels deep");
    let nested = |inner: &str| format!("[1].exists(a, [2].exists(b, {inner}))");
    assert!(when(&nested("a == b")).is_ok());
    let told = wrong(&nested("[3].exists(c, true)"));
    assert_eq!(told, "weir.toml:6:43: rate_limit login: when: macros nest more than 2 deep");
    let long = |octets: usize| format!("when = '{}true'", " ".repeat(octets - 4));
    assert!(compile(&long(4096)).is_ok());
    let told = compile(&long(4097)).map(|_| ()).unwrap_err();
    assert!(told.ends_with("when is 4097 octets long; allowed: at most 4096"), "{told}");
}

#[test]
fn cost_is_nodes_times_the_longest_lists() {
    let limits = "[limits]\nquery_pairs_max = 2856\n";
    let asked = r#"query["a"].exists(v, v == "b" || v == "c") && true && true"#;
    assert!(compile_in(limits, &format!("when = '{asked}'")).is_ok());
    let told = compile_in(limits, &format!("when = '!({asked})'")).map(|_| ()).unwrap_err();
    let expected = "rate_limit login: when: costs more than 20000 steps, with lists as long as they may be";
    assert!(told.starts_with("weir.toml:6:") && told.ends_with(expected), "{told}");
    let told =
        compile_in(limits, "when = 'query[\"a\"].all(v, query[\"b\"].exists(w, v == w))'").map(|_| ()).unwrap_err();
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn nothing_that_fits_overflows_a_stack() {
    // On the smallest stack that anything of weir reads documents on.
    let checks = || {
        for (open, middle, close) in
            [("(", "true", ")"), ("!(", "true", ")"), ("[1].exists(a, ", "true", ")"), ("true ? true : ", "true", "")]
        {
            for levels in [8, 16, 31, 32, 300] {
                let _ = when(&format!("{}{middle}{}", open.repeat(levels), close.repeat(levels)));
            }
        }
        let deepest = [
            format!("{}path{} == ''", "[".repeat(31), "][0]".repeat(31)),
            format!("1{} == 1", " + 1".repeat(30)),
            format!("{}1 == 1", "-1 - ".repeat(15)),
            format!("{}true", "!".repeat(32)),
            vec!["host == 'a' && path == 'b'"; 130].join(" || "),
            vec!["true"; 500].join(" && "),
        ];
        deepest.iter().for_each(|text| drop(when(text)));
        for part in
            ["(", "[", "{", "!", "-", "a.", "a(", "a?", "a?b:", "1+", "a<", "a in ", "'", "\"\"\"", "&&", "\u{e9}"]
        {
            let _ = when(&part.repeat(4096 / part.len()));
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(checks).unwrap().join().unwrap();
}

fn answer(text: &str) -> Result<bool, EvalError> {
    Sample::new(REQUEST).with(|facts| when(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")).matches(facts))
}

#[test]
fn what_is_absent_reads_as_nothing() {
    for text in [
        r#"cookies["d"] == """#,
        r#"size(headers["x-z"]) == 0"#,
        r#"!headers["x-z"].exists(v, true)"#,
        r#"headers["x-z"].all(v, false)"#,
        r#"!("x-z" in headers) && "x-a" in headers && "n" in query && !("m" in query) && "c" in cookies"#,
        r#"tls.sni == "" && !has(tls.sni) && tls.version != "1.3""#,
        "content_length == -1 && content_length < 0 && !(content_length >= 0)",
        r#"remote_ip == "192.0.2.7" && client_ip != "" && cidr(remote_ip, "192.0.2.0/24")"#,
        r#"!cidr(host, "0.0.0.0/0") && !cidr("", "::/0")"#,
    ] {
        assert_eq!(answer(text), Ok(true), "{text}");
    }
    let unknown = Sample { client: None, ..Sample::new(REQUEST) };
    for text in
        [r#"remote_ip == """#, r#"!cidr(remote_ip, "0.0.0.0/0")"#, "!client_known", r#"remote_ip in ["", "10.0.0.1"]"#]
    {
        unknown.with(|facts| assert_eq!(when(text).unwrap().matches(facts), Ok(true), "{text}"));
    }
}

#[test]
fn a_name_that_no_field_can_have_is_no_field() {
    let sample = Sample::new("GET / HTTP/1.1\nHost: a.test\nUser-Agent: x\n\n");
    for (text, there) in [(r#""user-agent" in headers"#, true), (r#""user\ragent" in headers"#, false)] {
        sample.with(|facts| assert_eq!(when(text).unwrap().matches(facts), Ok(there), "{text}"));
    }
}

#[test]
fn values_are_worked_out() {
    for text in [
        r#"headers["x-a"] [1] == "two" && headers["x-a"].exists(v, v.startsWith("o") && size(v) == 3)"#,
        r#""two" in headers["x-a"] && !("three" in headers["x-a"])"#,
        r#"headers.exists(name, name.startsWith("x-")) && headers.host[0] == host"#,
        r#"query.exists(k, query[k][0] == "1") && headers.exists(k, k.contains("oo") && size(headers[k]) == 1)"#,
        r#"["a", host].exists(h, host_match(h, "*.test"))"#,
        r#"[host, path].all(v, size(v) > 3) && host in ["b", host]"#,
        "port % 1000 == 80 && port / 1000 * 1000 + 80 == port && -port < 0 && port in [1, port]",
        r#"(method == "GET" ? path : host).endsWith("/b") && (port > 1 ? 1 : 2) == 1 && (port > 1 ? true : false)"#,
        r#"path.contains(method) == false && path_prefix(path, "/a") && !path_prefix(path, "/a/") == false"#,
        r#"size("h\u00e9") == 2 && 'caf\u00e9' == "caf\xe9" && host < path == false"#,
        r#"headers[host == "a.test" ? "x-a" : "x-b"].exists(v, v == "one")"#,
        r#"path.matches("^/a/[b-c]$") && matches(host, "\\.test")"#,
        "[1, 2].exists(a, [2, 3].exists(b, a == b && a * b == 4))",
    ] {
        assert_eq!(answer(text), Ok(true), "{text}");
    }
}

#[test]
fn errors_are_answers_only_where_nothing_else_decides() {
    assert_eq!(answer(r#"headers["x-z"][0] == """#), Err(EvalError::Index));
    assert_eq!(answer(r#"headers["x-a"][-1] == """#), Err(EvalError::Index));
    assert_eq!(answer("1 / (port - 8080) == 1"), Err(EvalError::Division));
    assert_eq!(answer("9223372036854775807 + port > 0"), Err(EvalError::Overflow));
    assert_eq!(answer("cidr(remote_ip, host)"), Err(EvalError::Network));
    assert_eq!(answer("host_match(host, path)"), Err(EvalError::Pattern));
    assert_eq!(answer("1 / (port - 8080) == 1 || true"), Ok(true));
    assert_eq!(answer("1 / (port - 8080) == 1 && false"), Ok(false));
    assert_eq!(answer("1 / (port - 8080) == 1 || false"), Err(EvalError::Division));
    assert_eq!(answer(r#"[port - 8080, 1].exists(n, 1 / n == 1)"#), Ok(true));
    assert_eq!(answer(r#"[port - 8080, 1].exists(n, 1 / n == 2)"#), Err(EvalError::Division));
    assert_eq!(answer(r#"1 in [1, 1 / (port - 8080)]"#), Err(EvalError::Division));
}
