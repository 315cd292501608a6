//! The index against a plain scan that shares no code with it, over random route sets and requests.

use std::fmt::Write;

use fastrand::Rng;

use super::*;

/// Route sets, and requests to each: a million pairs.
const SETS: usize = 2_000;
const REQUESTS: usize = 500;

/// One route as the document writes it.
#[derive(Debug)]
struct Model {
    id: u32,
    priority: i32,
    enabled: bool,
    is_default: bool,
    hosts: Vec<&'static str>,
    host_regex: bool,
    path: Option<(&'static str, &'static str)>,
    method: bool,
    client: bool,
    header: Option<bool>,
    parameter: Option<bool>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Request {
    host: &'static str,
    path: &'static str,
    method: &'static str,
    client: Option<[u8; 4]>,
    header: &'static [(&'static str, &'static str)],
    query: Option<&'static str>,
}

const PATTERNS: [&str; 10] = ["*", "a.t", "b.a.t", "c.b.a.t", "*.t", "*.a.t", "*.b.a.t", "z.t", "*.z.t", "A.T."];
const HOSTS: [&str; 10] = ["a.t", "b.a.t", "c.b.a.t", "d.c.b.a.t", "t", "z.t", "y.z.t", "", ".t", "q"];
const PREFIXES: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/a/b/", "/b", "/a//", "/a%2Fb"];
/// What the regex finds, told without it.
type Found = fn(&str) -> bool;
const REGEXES: [(&str, Found); 3] =
    [("b$", |path| path.ends_with('b')), ("^/a", |path| path.starts_with("/a")), ("x", |path| path.contains('x'))];
const PATHS: [&str; 14] =
    ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c", "/a/bc", "/b", "/b/x", "/x", "/a//b", "/a%2Fb", "*"];
const FIELDS: [&[(&str, &str)]; 4] = [&[], &[("X-A", "1")], &[("x-a", "2")], &[("x-a", "2"), ("X-A", "1")]];
const QUERIES: [Option<&str>; 4] = [None, Some("q=1"), Some("q=2&%71=%31"), Some("q")];

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

impl Model {
    fn random(rng: &mut Rng, id: u32) -> Self {
        let host_count = rng.usize(..3);
        let host_regex = host_count == 0 && rng.u8(..4) == 0;
        let path = (rng.u8(..5) != 0 || host_count == 0).then(|| match rng.u8(..8) {
            0 => ("path_exact", pick(rng, &PATHS[..13])),
            1 => ("path_prefix_raw", pick(rng, &PREFIXES)),
            2 => ("path_regex", pick(rng, &REGEXES).0),
            _ => ("path_prefix", pick(rng, &PREFIXES)),
        });
        Self {
            id,
            priority: rng.i32(-2..3),
            enabled: rng.u8(..10) != 0,
            is_default: false,
            hosts: (0..host_count).map(|_| pick(rng, &PATTERNS)).collect(),
            host_regex,
            path,
            method: rng.u8(..6) == 0,
            client: rng.u8(..8) == 0,
            header: (rng.u8(..8) == 0).then(|| rng.bool()),
            parameter: (rng.u8(..8) == 0).then(|| rng.bool()),
        }
    }

    fn default(id: u32) -> Self {
        Self {
            id,
            priority: -9,
            enabled: true,
            is_default: true,
            hosts: Vec::new(),
            host_regex: false,
            path: None,
            method: false,
            client: false,
            header: None,
            parameter: None,
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { id, priority, enabled, is_default, .. } = self;
        writeln!(out, "[[route]]\nid = {id}\npriority = {priority}\nenabled = {enabled}\nis_default = {is_default}")?;
        writeln!(out, "listener = \"w\"\nhost = {:?}", self.hosts)?;
        if self.host_regex {
            writeln!(out, "host_regex = '^(a|z)\\.t$'")?;
        }
        if let Some((key, path)) = self.path {
            writeln!(out, "{key} = '{path}'")?;
        }
        if self.method {
            writeln!(out, "method = [\"GET\", \"PUT\"]")?;
        }
        if self.client {
            writeln!(out, "client = [\"10.0.0.0/8\"]")?;
        }
        if let Some(not) = self.header {
            writeln!(out, "header = [{{ name = \"X-A\", value = \"1\", not = {not} }}]")?;
        }
        if let Some(not) = self.parameter {
            writeln!(out, "query = [{{ name = \"q\", op = \"suffix\", value = \"1\", not = {not} }}]")?;
        }
        Ok(())
    }

    fn matches(&self, request: &Request, one: bool) -> bool {
        let path = request.path;
        self.enabled
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| host_matches(pattern, request.host, one)))
            && (!self.host_regex || matches!(request.host, "a.t" | "z.t"))
            && self.path.is_none_or(|(key, text)| match key {
                "path_exact" => path == text,
                "path_prefix_raw" => path.starts_with(text),
                "path_regex" => REGEXES.iter().any(|(source, found)| *source == text && found(path)),
                _ if text.ends_with('/') => path.starts_with(text),
                _ => path == text || path.starts_with(&format!("{text}/")),
            })
            && (!self.method || matches!(request.method, "GET" | "PUT"))
            && (!self.client || request.client.is_some_and(|client| client[0] == 10))
            && self.header.is_none_or(|not| request.header.iter().any(|(_, value)| *value == "1") != not)
            && self.parameter.is_none_or(|not| request.query.is_some_and(|query| query.ends_with('1')) != not)
    }
}

fn host_matches(pattern: &str, host: &str, one: bool) -> bool {
    let pattern = pattern.to_lowercase();
    let labels: Vec<&str> = pattern.trim_end_matches('.').split('.').collect();
    let host: Vec<&str> = host.split('.').collect();
    match labels[..] {
        ["*"] => true,
        ["*", ref suffix @ ..] => {
            let extra = host.len().saturating_sub(suffix.len());
            host.ends_with(suffix) && extra > 0 && host[..extra] != [""] && !(one && extra > 1)
        }
        _ => labels == host,
    }
}

impl Request {
    fn random(rng: &mut Rng) -> Self {
        Self {
            host: pick(rng, &HOSTS),
            path: pick(rng, &PATHS),
            method: pick(rng, &["GET", "HEAD", "PUT", "get"]),
            client: pick(rng, &[None, Some([10, 1, 2, 3]), Some([192, 0, 2, 1])]),
            header: pick(rng, &FIELDS),
            query: pick(rng, &QUERIES),
        }
    }
}

#[test]
fn index_decides_as_a_scan_does() {
    let mut rng = Rng::with_seed(0x5eed);
    let mut answered = 0;
    for set in 0..SETS {
        let one = rng.bool();
        let mut models: Vec<Model> = (0..rng.u32(1..40)).map(|id| Model::random(&mut rng, id)).collect();
        if rng.bool() {
            models.push(Model::default(1_000));
        }
        let wildcard = if one { "one" } else { "any" };
        let mut text = format!("[[listener]]\nname = \"w\"\nbind = \"127.0.0.1:0\"\nhost_wildcard = \"{wildcard}\"\n");
        models.iter().for_each(|model| model.write(&mut text).unwrap());
        let table = table(&text);
        models.sort_by_key(|model| (model.is_default, model.priority, model.id));
        for turn in 0..REQUESTS {
            let request = Request::random(&mut rng);
            let fields = request.header.to_vec();
            let query = Query {
                host: request.host,
                route_path: request.path.as_bytes(),
                method: request.method.as_bytes(),
                query: request.query.map(str::as_bytes),
                client: request.client.map(Into::into),
                fields: &fields,
            };
            let expected = models.iter().find(|model| model.matches(&request, one)).map(|model| model.id);
            let found = table.find(0, &query).map(|route| route.id);
            assert_eq!(found, expected, "set {set}: {request:?} of {models:#?}");
            if turn % 16 == 0 {
                assert_eq!(winner(&table, 0, &query), expected);
            }
            answered += usize::from(expected.is_some());
        }
    }
    // The vocabulary is small so that both outcomes are frequent.
    assert!(answered > SETS * REQUESTS / 4 && answered < SETS * REQUESTS * 19 / 20, "{answered}");
}
