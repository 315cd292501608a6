//! Certificates of listeners on the real binary: who is shown what, what is asked of clients, files that change.

#[path = "certificates/change.rs"]
mod change;
#[path = "certificates/clients.rs"]
mod clients;
#[path = "certificates/look.rs"]
mod look;
#[path = "certificates/names.rs"]
mod names;
#[path = "certificates/refused.rs"]
mod refused;
#[path = "certificates/resumption.rs"]
mod resumption;
#[path = "certificates/staple.rs"]
mod staple;
#[path = "certificates/told.rs"]
mod told;

use serde_json::Value;
use weir_tests::exchange::bytes;
use weir_tests::tls::{Authority, Connector, Identity};
use weir_tests::{Client, Config, Response, Weir};

/// One certificate of a listener, with more keys.
fn entry(config: &Config, name: &str, identity: &Identity, more: &str) -> String {
    let cert = config.file(&format!("{name}.crt"), identity.certificate_pem());
    let key = config.file(&format!("{name}.key"), identity.key_pem());
    let comma = if more.is_empty() { "" } else { ", " };
    format!("{{ cert = \"{cert}\", key = \"{key}\"{comma}{more} }}")
}

/// A listener that speaks TLS with these entries; `tls` are more keys of `[listener.tls]`, `keys` of the listener.
fn listening(config: Config, entries: &[String], tls: &str, keys: &str) -> Config {
    let entries = entries.join(", ");
    config.listener(&format!(
        "protocol = \"https\"\n{keys}\n[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{entries}]\n{tls}"
    ))
}

/// GETs `/` of a host on a connection.
fn ask(client: &mut Client, host: &str) -> Response {
    client.exchange(bytes("GET", "/", &[("Host", host)], b""))
}

/// The serial number's octets of the certificate that a client is shown.
fn shown(weir: &Weir, connector: &Connector) -> Vec<u8> {
    let client = weir.client_tls(connector);
    let session = client.pipe().session().expect("TLS");
    session.certificates.first().expect("a certificate").to_vec()
}

/// What readiness warns of.
fn warning(weir: &Weir, code: &str) -> Option<String> {
    let ready = weir.api("/ready");
    let warnings = ready["warnings"].as_array().expect("a list");
    let own = warnings.iter().find(|warning| warning["code"] == code)?;
    own["hint"].as_str().map(str::to_owned)
}

/// Findings of a type.
fn findings(weir: &Weir, kind: &str) -> Vec<Value> {
    let found = weir.api(&format!("/api/v1/audit/findings?finding_type={kind}"));
    found["items"].as_array().cloned().unwrap_or_default()
}

/// A client of a name that trusts nobody but the authority, and resumes nothing.
fn fresh(name: &str, authority: &Authority) -> Connector {
    Connector::to(name).trusting(authority).without_resumption()
}
