//! `weir explain METHOD URL`: what a request would meet, and why.

mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::Value;

use super::{Exit, Source};
use crate::config::tls::Kept;
use crate::config::{Document, Environment, Problems, Snapshot};
use crate::control::{Ground, Question, Unanswered, Values};
use crate::policy::ban::Bans;
use crate::policy::limit::Tables;
use crate::target::Live;
use crate::worker::clock;

/// `weir explain METHOD URL [-H 'NAME: VALUE'].. [--client IP] [--listener NAME] [--json] [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The request's method.
    pub method: String,
    /// The request's URL, with its host: `http://app.example.com/api?x=1`.
    pub url: String,
    /// A header field of the request; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The client's address; without one, 127.0.0.1.
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// The listener the request arrives at; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The whole record as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which document.
    #[command(flatten)]
    pub source: Source,
}

/// Says what the request would meet under the document. No name is resolved and no endpoint probed.
pub fn explain(arguments: &Arguments) -> Exit {
    let snapshot = match arguments.source.load().and_then(build) {
        Ok(snapshot) => snapshot,
        Err(problems) => {
            eprint!("{problems}");
            return Exit::of_input(&problems);
        }
    };
    match ask(&snapshot, &question(arguments)) {
        Ok(record) => {
            let shown = if arguments.json { format!("{record:#}\n") } else { text::show(&snapshot, &record) };
            // Whoever closed the output does not want the text; the status still says it.
            let _ = io::stdout().write_all(shown.as_bytes());
            if is_answered(&record) { Exit::Yes } else { Exit::No }
        }
        Err(unanswered) => {
            let field = unanswered.field.map(|field| format!("{field}: ")).unwrap_or_default();
            eprintln!("weir explain: {field}{unanswered}");
            Exit::No
        }
    }
}

fn build(document: Document) -> Result<Snapshot, Problems> {
    let mut problems = Problems::new();
    // The key signs nothing: sticky cookies of weir's own making are known only to the process that made them.
    let environment = Environment { sticky_key: &[0; 32], limits: &Tables::default(), tls: &Kept::default() };
    Snapshot::build(document, 1, environment, &mut problems).ok_or(problems)
}

fn ask(snapshot: &Snapshot, question: &Question) -> Result<Value, Unanswered> {
    let live = Live::initial(&snapshot.groups, 1, None, clock());
    let bans = Bans::new(Arc::clone(&snapshot.bans.table), Arc::default());
    let geoip = crate::config::geoip::read_all(&snapshot.document.geoip);
    let ground = Ground { snapshot, live: &live, trust: &snapshot.trust, bans: &bans, geoip: &geoip };
    crate::request::explain::explain(&ground, question, clock())
}

fn question(arguments: &Arguments) -> Question {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &arguments.headers {
        headers.entry(name.clone()).or_default().push(value.clone());
    }
    Question {
        method: arguments.method.clone(),
        url: arguments.url.clone(),
        headers: headers.into_iter().map(|(name, values)| (name, Values::Many(values))).collect(),
        client: Some(arguments.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        listener: arguments.listener.clone(),
    }
}

/// Whether a route answers. A target whose name is only resolved by the running weir may well be there.
fn is_answered(record: &Value) -> bool {
    record["fault"].is_null() || has_unresolved(record) && record["fault"]["reason"] == "no_route_target_available"
}

fn has_unresolved(record: &Value) -> bool {
    let endpoints = record["endpoints"].as_array();
    endpoints.is_some_and(|rows| rows.iter().any(|row| row["state"] == "unresolved"))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').unwrap_or_default();
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    // A control character would put another line into the request (RFC 9110 section 5.5).
    let is_clean = !value.bytes().any(|octet| octet.is_ascii_control() && octet != b'\t');
    if name.is_empty() || !name.bytes().all(is_token) || !is_clean {
        return Err("a header field is NAME: VALUE".to_owned());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        let matches = <Line as clap::CommandFactory>::command().try_get_matches_from(line)?;
        Ok(Line::from_arg_matches(&matches)?.arguments)
    }

    #[test]
    fn headers_are_names_and_values_and_may_repeat() {
        let line = ["explain", "GET", "http://a.test/x", "-H", "X-A: 1", "-H", "X-A:2", "--client", "192.0.2.1"];
        let arguments = parse(&line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(arguments.headers, [("X-A".into(), "1".into()), ("X-A".into(), "2".into())]);
        assert_eq!(arguments.client, "192.0.2.1".parse().ok());
        assert_eq!(question(&arguments).headers["X-A"], Values::Many(vec!["1".into(), "2".into()]));
    }

    #[test]
    fn header_that_is_no_field_is_refused() {
        for bad in [": x", "x", "a b: x", "x: 1\r\nHost: y"] {
            assert!(parse(&["explain", "GET", "http://a.test/", "-H", bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn target_that_only_lacks_its_address_counts_as_answering() {
        let text = "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n\
                    [[route]]\nid = 10\nlistener = \"web\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"http://a.test\"\n";
        let document = crate::config::parse(text, "weir.toml").unwrap_or_else(|problems| panic!("{problems}"));
        let snapshot = build(document).unwrap_or_else(|problems| panic!("{problems}"));
        let arguments = parse(&["explain", "GET", "http://b.test/"]).unwrap_or_else(|error| panic!("{error}"));
        let record = ask(&snapshot, &question(&arguments)).unwrap_or_else(|error| panic!("{error}"));
        assert!(is_answered(&record), "{record}");
        assert!(text::show(&snapshot, &record).contains("names are resolved only while weir runs"));
    }
}
