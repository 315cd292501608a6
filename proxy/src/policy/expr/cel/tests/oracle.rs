//! Random expressions and requests, by seed: the match language, CEL as compiled here, and CEL as the crate interprets
//! it give the same answers.

use std::collections::HashMap;
use std::sync::Arc;

use ::cel::{Context, Program, Value};
use fastrand::Rng;

use super::super::super::tests::{Sample, compile};
use crate::config::value::{HostPattern, HostWildcard};
use crate::http::has_path_prefix;

const NAMES: [&str; 3] = ["x-a", "x-b", "accept"];
const KEYS: [&str; 2] = ["q", "r"];
const COOKIES: [&str; 2] = ["c", "d"];
const VALUES: [&str; 7] = ["a", "ab", "b", "abc", "/a", "/a/b", "caf\u{e9}"];
const HOSTS: [&str; 3] = ["a.test", "b.a.test", "test"];
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/ab"];
const METHODS: [&str; 3] = ["GET", "POST", "ab"];
const PATTERNS: [&str; 4] = ["^a", "b$", "^/a(/|$)", "a.c"];
const CLIENTS: [&str; 3] = ["192.0.2.7", "10.1.2.3", "2001:db8::7"];
const NETS: [&str; 3] = ["10.0.0.0/8", "192.0.2.0/25", "2001:db8::/32"];

fn one_of<'a>(random: &mut Rng, list: &[&'a str]) -> &'a str {
    list[random.usize(..list.len())]
}

/// A request, and the same as the interpreter's variables.
struct Request {
    text: String,
    client: Option<&'static str>,
    headers: HashMap<String, Vec<String>>,
    query: HashMap<String, Vec<String>>,
    cookies: HashMap<String, String>,
    host: &'static str,
    path: &'static str,
    method: &'static str,
    content_length: i64,
}

impl Request {
    fn new(random: &mut Rng) -> Self {
        let values = |random: &mut Rng, names: &[&str]| -> HashMap<String, Vec<String>> {
            let some = |random: &mut Rng| (0..random.usize(..3)).map(|_| one_of(random, &VALUES).to_owned()).collect();
            names.iter().map(|name| ((*name).to_owned(), some(random))).collect()
        };
        let (headers, query) = (values(random, &NAMES), values(random, &KEYS));
        let cookie = |random: &mut Rng| if random.bool() { one_of(random, &VALUES) } else { "" }.to_owned();
        let cookies: HashMap<_, _> = COOKIES.iter().map(|name| ((*name).to_owned(), cookie(random))).collect();
        let mut request = Self {
            text: String::new(),
            client: random.u8(..4).checked_sub(1).map(|at| CLIENTS[usize::from(at)]),
            headers,
            query,
            cookies,
            host: HOSTS[random.usize(..HOSTS.len())],
            path: PATHS[random.usize(..PATHS.len())],
            method: METHODS[random.usize(..METHODS.len())],
            content_length: random.i64(-1..3),
        };
        request.text = request.written(random);
        request
    }

    /// Spelled in one of several ways.
    fn written(&self, random: &mut Rng) -> String {
        let encode = |random: &mut Rng, text: &str| -> String {
            let encoded = |byte: u8| format!("%{byte:02x}");
            text.bytes()
                .map(|b| if !b.is_ascii() || random.u8(..4) == 0 { encoded(b) } else { (b as char).to_string() })
                .collect()
        };
        let mut pairs: Vec<String> = Vec::new();
        for (key, values) in &self.query {
            pairs.extend(values.iter().map(|value| format!("{}={}", encode(random, key), encode(random, value))));
        }
        let mut text = format!("{} {}?{} HTTP/1.1\nHost: {}\n", self.method, self.path, pairs.join("&"), self.host);
        for (name, values) in &self.headers {
            let name = if random.bool() { name.clone() } else { name.to_uppercase() };
            values.iter().for_each(|value| text += &format!("{name}: {value}\n"));
        }
        for (name, value) in self.cookies.iter().filter(|(_, value)| !value.is_empty()) {
            text += &format!("Cookie: {name}={value}; {name}=second\n");
        }
        if self.content_length >= 0 {
            text += &format!("Content-Length: {}\n", self.content_length);
        }
        text + "\n"
    }

    fn sample(&self) -> Sample {
        Sample { client: self.client.map(|client| client.parse().unwrap()), ..Sample::new(&self.text) }
    }

    /// What the interpreter makes of `text`; none if it fails.
    fn interpreted(&self, text: &str) -> Option<bool> {
        let mut context = Context::default();
        let texts = [
            ("method", self.method),
            ("host", self.host),
            ("path", self.path),
            ("path_raw", self.path),
            ("protocol", "http"),
            ("listener", "web"),
            ("http_version", "1.1"),
            ("remote_ip", self.client.unwrap_or_default()),
            ("client_ip", self.client.unwrap_or_default()),
            ("peer_ip", "198.51.100.1"),
        ];
        texts.into_iter().for_each(|(name, value)| context.add_variable_from_value(name, value));
        context.add_variable_from_value("port", 8080_i64);
        context.add_variable_from_value("content_length", self.content_length);
        context.add_variable_from_value("client_known", Value::Bool(self.client.is_some()));
        context.add_variable_from_value("headers", self.headers.clone());
        context.add_variable_from_value("query", self.query.clone());
        context.add_variable_from_value("cookies", self.cookies.clone());
        let host_match = |host: Arc<String>, pattern: Arc<String>| {
            HostPattern::parse(&pattern).unwrap().matches(&host, HostWildcard::Any)
        };
        context.add_function("host_match", host_match).unwrap();
        let prefix = |path: Arc<String>, prefix: Arc<String>| has_path_prefix(path.as_bytes(), prefix.as_bytes());
        context.add_function("path_prefix", prefix).unwrap();
        let cidr = |text: Arc<String>, net: Arc<String>| {
            let address = text.parse::<std::net::IpAddr>();
            address.is_ok_and(|address| net.parse::<ipnet::IpNet>().unwrap().contains(&address))
        };
        context.add_function("cidr", cidr).unwrap();
        match Program::compile(text).unwrap_or_else(|why| panic!("{text}: {why}")).execute(&context) {
            Ok(Value::Bool(answer)) => Some(answer),
            Ok(other) => panic!("{text}: {other:?}"),
            Err(_) => None,
        }
    }
}

/// One question in three languages. The interpreter's maps hold every key, so it is asked for presence in its own way.
struct Question {
    native: String,
    cel: String,
    interpreted: String,
}

impl Question {
    fn both(native: String, cel: String) -> Self {
        Self { native, interpreted: cel.clone(), cel }
    }

    fn random(random: &mut Rng, depth: u32) -> Self {
        let combine = if depth == 0 { 0 } else { random.u8(..6) };
        let joined = |random: &mut Rng, word: &str, operator: &str| {
            let parts: Vec<Self> = (0..random.usize(1..4)).map(|_| Self::random(random, depth - 1)).collect();
            let native: Vec<_> = parts.iter().map(|part| format!("{{ {} }}", part.native)).collect();
            let join = |text: fn(&Self) -> &String| {
                format!("({})", parts.iter().map(|part| text(part).clone()).collect::<Vec<_>>().join(operator))
            };
            Self {
                native: format!("{word} = [{}]", native.join(", ")),
                cel: join(|part| &part.cel),
                interpreted: join(|part| &part.interpreted),
            }
        };
        match combine {
            0..=2 => Self::predicate(random),
            3 => joined(random, "all", " && "),
            4 => joined(random, "any", " || "),
            _ => {
                let inner = Self::random(random, depth - 1);
                Self {
                    native: format!("not = {{ {} }}", inner.native),
                    cel: format!("!({})", inner.cel),
                    interpreted: format!("!({})", inner.interpreted),
                }
            }
        }
    }

    fn predicate(random: &mut Rng) -> Self {
        let value = one_of(random, &VALUES);
        match random.u8(..12) {
            0 => {
                let method = one_of(random, &METHODS);
                Self::both(format!("method = \"{method}\""), format!("method == \"{method}\""))
            }
            1 => {
                let pattern = one_of(random, &["a.test", "*.test", "*.a.test", "*"]);
                Self::both(format!("host = \"{pattern}\""), format!("host_match(host, \"{pattern}\")"))
            }
            2 => {
                let prefix = one_of(random, &["/", "/a", "/a/", "/ab"]);
                Self::both(format!("path.prefix = \"{prefix}\""), format!("path_prefix(path, \"{prefix}\")"))
            }
            3 => Self::text(random, "path", "path"),
            4 => Self::text(random, "host", "host"),
            5 => {
                let net = one_of(random, &NETS);
                Self::both(format!("client_ip.cidr = \"{net}\""), format!("cidr(remote_ip, \"{net}\")"))
            }
            6 => {
                let client = one_of(random, &CLIENTS);
                Self::both(format!("client_ip = \"{client}\""), format!("remote_ip == \"{client}\""))
            }
            7 => {
                let length = random.i64(..3).abs();
                let cel = format!("(content_length != -1 && content_length <= {length})");
                Self::both(format!("content_length.max = {length}"), cel)
            }
            8 => {
                let name = one_of(random, &NAMES);
                Self {
                    native: format!("header.{name}.present = true"),
                    cel: format!("\"{name}\" in headers"),
                    interpreted: format!("size(headers[\"{name}\"]) > 0"),
                }
            }
            9 => {
                let name = one_of(random, &COOKIES);
                Self::both(format!("cookie.{name} = \"{value}\""), format!("cookies[\"{name}\"] == \"{value}\""))
            }
            10 => {
                let list = one_of(random, &KEYS);
                Self::any_value(random, &format!("query.{list}"), &format!("query[\"{list}\"]"))
            }
            _ => {
                let name = one_of(random, &NAMES);
                Self::any_value(random, &format!("header.{name}"), &format!("headers[\"{name}\"]"))
            }
        }
    }

    fn text(random: &mut Rng, native: &str, cel: &str) -> Self {
        let value = one_of(random, &VALUES);
        match random.u8(..5) {
            0 => Self::both(format!("{native}.equals = \"{value}\""), format!("{cel} == \"{value}\"")),
            1 => Self::both(format!("{native}.in = [\"/a\", \"{value}\"]"), format!("{cel} in [\"/a\", \"{value}\"]")),
            2 => Self::both(format!("{native}.suffix = \"{value}\""), format!("{cel}.endsWith(\"{value}\")")),
            3 => Self::both(format!("{native}.contains = \"{value}\""), format!("{cel}.contains(\"{value}\")")),
            _ => {
                let pattern = one_of(random, &PATTERNS);
                Self::both(format!("{native}.matches = \"{pattern}\""), format!("{cel}.matches(\"{pattern}\")"))
            }
        }
    }

    fn any_value(random: &mut Rng, native: &str, list: &str) -> Self {
        let body = Self::text(random, native, "v");
        Self::both(body.native, format!("{list}.exists(v, {})", body.cel))
    }
}

#[test]
fn match_language_says_what_cel_says() {
    let mut random = Rng::with_seed(20_260_101);
    let mut yes = 0;
    for _ in 0..1500 {
        let question = Question::random(&mut random, 3);
        let native = compile(&format!("match = {{ {} }}", question.native)).unwrap_or_else(|why| panic!("{why}"));
        let cel = compile(&format!("when = '''{}'''", question.cel)).unwrap_or_else(|why| panic!("{why}"));
        for _ in 0..4 {
            let request = Request::new(&mut random);
            let expected = request.interpreted(&question.interpreted);
            request.sample().with(|facts| {
                let told = format!("{}\n{}\n{}", question.native, question.cel, request.text);
                assert_eq!(native.matches(facts).ok(), expected, "{told}");
                assert_eq!(cel.matches(facts).ok(), expected, "{told}");
            });
            yes += u32::from(expected == Some(true));
        }
    }
    assert!((1000..5000).contains(&yes), "{yes} of 6000 hold: the questions are no good");
}

/// CEL beyond what the match language can say.
struct Author<'r> {
    random: &'r mut Rng,
    /// Variables of macros around: whether each is a text.
    variables: Vec<bool>,
}

impl Author<'_> {
    fn flag(&mut self, depth: u32) -> String {
        if depth == 0 {
            return format!("{} == {}", self.text(0), self.text(0));
        }
        let less = depth - 1;
        match self.random.u8(..14) {
            0 => format!("({} && {})", self.flag(less), self.flag(less)),
            1 => format!("({} || {})", self.flag(less), self.flag(less)),
            2 => format!("!({})", self.flag(less)),
            3 => format!("({} ? {} : {})", self.flag(less), self.flag(less), self.flag(less)),
            4 => {
                let operator = one_of(self.random, &["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {operator} {}", self.text(less), self.text(less))
            }
            5 | 6 => {
                let operator = one_of(self.random, &["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {operator} {}", self.number(less), self.number(less))
            }
            7 => format!("{} in {}", self.text(less), self.texts(less)),
            8 => format!("{} in [{}, {}]", self.number(less), self.number(less), self.number(less)),
            9 => {
                let function = one_of(self.random, &["startsWith", "endsWith", "contains"]);
                format!("({}).{function}({})", self.text(less), self.text(less))
            }
            10 => format!("({}).matches('{}')", self.text(less), one_of(self.random, &PATTERNS)),
            11 => format!("client_known == ({})", self.flag(less)),
            _ if self.variables.len() == 2 => self.flag(0),
            kind => {
                let list = if kind == 12 { self.texts(less) } else { format!("[{}, 2]", self.number(less)) };
                let name = ["v", "w"][self.variables.len()];
                self.variables.push(kind == 12);
                let body = self.flag(less);
                self.variables.pop();
                format!("{list}.{}({name}, {body})", one_of(self.random, &["exists", "all"]))
            }
        }
    }

    /// A variable that is a text, or is not.
    fn variable(&mut self, text: bool) -> Option<&'static str> {
        let fit: Vec<usize> = (0..self.variables.len()).filter(|at| self.variables[*at] == text).collect();
        self.random.choice(fit).map(|at| ["v", "w"][at])
    }

    fn text(&mut self, depth: u32) -> String {
        let kind = self.random.u8(..9);
        match kind {
            0 | 1 if let Some(name) = self.variable(true) => name.to_owned(),
            2 if depth > 0 => format!("{}[{}]", self.texts(depth - 1), self.random.u8(..2)),
            3 if depth > 0 => {
                format!("({} ? {} : {})", self.flag(depth - 1), self.text(depth - 1), self.text(depth - 1))
            }
            4 => format!("cookies['{}']", one_of(self.random, &COOKIES)),
            5 | 6 => one_of(self.random, &["method", "host", "path", "remote_ip", "peer_ip", "protocol"]).to_owned(),
            _ => format!("'{}'", one_of(self.random, &VALUES)),
        }
    }

    fn number(&mut self, depth: u32) -> String {
        let kind = self.random.u8(..9);
        match kind {
            0 | 1 if let Some(name) = self.variable(false) => name.to_owned(),
            2 if depth > 0 => {
                let operator = one_of(self.random, &["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.number(depth - 1), self.number(depth - 1))
            }
            3 if depth > 0 => format!("size({})", self.text(depth - 1)),
            4 if depth > 0 => format!("size({})", self.texts(depth - 1)),
            5 if depth > 0 => format!("-({})", self.number(depth - 1)),
            6 => one_of(self.random, &["port", "content_length"]).to_owned(),
            _ => one_of(self.random, &["0", "1", "2", "3", "9223372036854775807"]).to_owned(),
        }
    }

    fn texts(&mut self, depth: u32) -> String {
        match self.random.u8(..3) {
            0 => format!("headers['{}']", one_of(self.random, &NAMES)),
            1 => format!("query['{}']", one_of(self.random, &KEYS)),
            _ => format!("[{}, {}]", self.text(depth), self.text(depth)),
        }
    }
}

#[test]
fn compiled_cel_says_what_interpreted_cel_says() {
    let mut random = Rng::with_seed(20_260_102);
    let (mut answered, mut failed) = (0, 0);
    while answered + failed < 6000 {
        let text = Author { random: &mut random, variables: Vec::new() }.flag(4);
        // What goes over a limit of weir's is no question for the interpreter.
        let Ok(compiled) = compile(&format!("when = '''{text}'''")) else { continue };
        for _ in 0..3 {
            let request = Request::new(&mut random);
            let expected = request.interpreted(&text);
            let found = request.sample().with(|facts| compiled.matches(facts).ok());
            assert_eq!(found, expected, "{text}\n{}", request.text);
            match expected {
                Some(_) => answered += 1,
                None => failed += 1,
            }
        }
    }
    assert!(answered > 3000 && failed > 30, "{answered} answers, {failed} errors: the questions are no good");
}
