//! Relations between the keys of TLS.

use std::collections::HashSet;

use crate::config::raw::{ListedCertificate, ListenerTls, TargetTls};
use crate::config::reader::Reader;
use crate::config::value::{ClientAuthMode, HostPattern};

pub(in crate::config) fn listener_tls(tls: &mut ListenerTls, reader: &mut Reader) {
    if tls.alpn.is_empty() {
        reader.push(tls.at.problem("alpn", "tls.alpn = [] needs a protocol"));
    }
    let mut seen = HashSet::new();
    for twice in tls.alpn.iter().filter(|protocol| !seen.insert(**protocol)) {
        reader.push(tls.at.problem("alpn", format!("tls.alpn has \"{}\" twice", twice.word())));
    }
}

pub(in crate::config) fn listed_certificate(certificate: &mut ListedCertificate, reader: &mut Reader) {
    let ListedCertificate { at, names, client_auth, client_ca, client_crl, .. } = certificate;
    for name in names.iter() {
        if let Err(why) = HostPattern::parse(name) {
            reader.push(at.problem("names", format!("names: {why}")));
        } else if name == "*" || name.starts_with('[') {
            reader.push(at.problem("names", format!("names: \"{name}\" is no name that clients ask for")));
        }
    }
    let off = *client_auth == ClientAuthMode::Off;
    if !off && client_ca.is_none() {
        reader.push(at.problem("client_auth", format!("client_auth = \"{}\" needs a client_ca", client_auth.word())));
    }
    for (key, _) in
        [("client_ca", client_ca), ("client_crl", client_crl)].into_iter().filter(|(_, path)| off && path.is_some())
    {
        reader.push(at.problem(key, format!("{key} needs client_auth = \"request\" or \"require\"")));
    }
}

pub(in crate::config) fn target_tls(tls: &mut TargetTls, reader: &mut Reader) {
    let TargetTls { at, verify, ca, client_cert, client_key, .. } = tls;
    let relations = [
        (!*verify && ca.is_some(), "ca", "tls.ca has no effect with verify = false"),
        (client_cert.is_some() && client_key.is_none(), "client_cert", "tls.client_cert needs a client_key"),
        (client_key.is_some() && client_cert.is_none(), "client_key", "tls.client_key needs a client_cert"),
    ];
    for (_, key, message) in relations.into_iter().filter(|(wrong, ..)| *wrong) {
        reader.push(at.problem(key, message));
    }
}
