//! The documents that weir is measured on.

use std::fmt::Write;
use std::net::SocketAddr;

use super::contestant::Spoken;
use super::material::NAME;

/// A document: where it listens, where it forwards, how much stands in it.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) web: SocketAddr,
    pub(super) management: SocketAddr,
    pub(super) spoken: Spoken<'a>,
    pub(super) workers: usize,
    pub(super) routes: usize,
    pub(super) connections_max: usize,
    /// Tables of policies.
    pub(super) rules: &'a str,
}

/// A rate limit that every request meets and none exceeds.
pub(super) const MET_BY_ALL: &str = "[[rate_limit]]\nname=\"all\"\nlimit=1_000_000\nwindow=\"1s\"\n";

/// So many rules of every kind, of which none matches a request that is measured.
pub(super) fn unmet(rules: usize) -> String {
    const ASKED: [&str; 7] = [
        "match={path={prefix=\"/admin\"}}",
        "match={host=\"*.internal.test\"}",
        "match={method=[\"PUT\",\"DELETE\"],path={prefix=\"/api\"}}",
        "match={client_ip={cidr=[\"203.0.113.0/24\",\"2001:db8::/32\"]}}",
        "match={header.user-agent={contains=\"sqlmap\"}}",
        "match={query.debug={present=true}}",
        "when='path.startsWith(\"/login\") && method == \"POST\"'",
    ];
    let rule = |(n, asked): (usize, &str)| format!("[[rate_limit]]\nname=\"r{n}\"\n{asked}\n");
    ASKED.into_iter().cycle().take(rules).enumerate().map(rule).collect()
}

impl Document<'_> {
    /// Its text. The last route takes every path; those before it are half hosts, half paths, and match none of the
    /// requests that are measured.
    pub(super) fn text(&self) -> String {
        let Self { web, management, spoken, workers, routes, connections_max, rules } = self;
        let tls = tls(spoken);
        let mut text = format!(
            "version = 1\nworkers = {workers}\n\n[limits]\nconnections_max = {connections_max}\nrequests_per_connection = 10000000\n\n[pool]\nidle_max = 1024\n\n\
             [connections]\nper_client_max = 0\nhandshaking_per_client_max = 0\n\n\
             [timeouts]\nkeepalive = \"5m\"\n\n\
             [management]\nlisten = [\"{management}\"]\n\n[[listener]]\nname = \"web\"\nbind = \"{web}\"\n{tls}{rules}"
        );
        for id in 1..*routes {
            let key = match id % 2 {
                0 => format!("host=\"h{id}.test\""),
                _ => format!("path_prefix=\"/a{}/s{id}\"", id % 100),
            };
            route(&mut text, &key, spoken);
        }
        route(&mut text, "path_prefix=\"/\"", spoken);
        text
    }
}

/// What the listener says of TLS.
fn tls(spoken: &Spoken<'_>) -> String {
    let Some(material) = spoken.tls else { return String::new() };
    let (cert, key) = (material.cert.display(), material.key.display());
    format!(
        "protocol = \"https\"\n\n[listener.tls]\nmin_version = \"1.3\"\ndefault_certificate = \"{NAME}\"\n\
         certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n"
    )
}

/// As short as it can be written: ten thousand of them are to fit into the megabyte that a document may have. Ids are
/// given in their order.
fn route(text: &mut String, key: &str, spoken: &Spoken<'_>) {
    let origin = spoken.origin;
    let _ = write!(text, "[[route]]\nlistener=\"web\"\n{key}\n[[route.target]]\nurl=\"http://{origin}\"\n");
    if spoken.h2_origin {
        text.push_str("protocol=\"h2c\"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_as_many_routes_as_asked_for() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let spoken = Spoken { tls: None, origin: address, h2_origin: false };
        let (web, management) = (address, address);
        let document = Document { web, management, spoken, workers: 1, routes: 10, connections_max: 100, rules: "" };
        assert_eq!(document.text().matches("[[route]]").count(), 10);
        assert!(Document { routes: 10_000, ..document }.text().len() < 1 << 20);
        assert_eq!(document.text().matches("path_prefix=\"/\"\n").count(), 1);
        let rules = unmet(20);
        assert_eq!(Document { rules: &rules, ..document }.text().matches("[[rate_limit]]").count(), 20);
    }
}
