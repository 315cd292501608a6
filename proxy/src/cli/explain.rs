//! `weir explain METHOD URL`: what a request would meet, and why.

use std::net::IpAddr;

use super::Source;

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
    /// The listener the request arrives at; without one, the first that serves its host.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The whole record as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which document.
    #[command(flatten)]
    pub source: Source,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err("a header field is NAME: VALUE".to_owned()),
    }
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
        let line = ["explain", "GET", "http://a.test/x", "-H", "X-A: 1", "-H", "X-B:2", "--client", "192.0.2.1"];
        let arguments = parse(&line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(arguments.headers, [("X-A".into(), "1".into()), ("X-B".into(), "2".into())]);
        assert_eq!(arguments.client, "192.0.2.1".parse().ok());
    }

    #[test]
    fn header_without_a_name_is_refused() {
        assert!(parse(&["explain", "GET", "http://a.test/", "-H", ": x"]).is_err());
        assert!(parse(&["explain", "GET", "http://a.test/", "-H", "x"]).is_err());
    }
}
