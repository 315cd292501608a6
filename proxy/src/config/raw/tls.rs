//! What a listener shows of itself over TLS, and asks of its clients.

use std::path::PathBuf;

use crate::config::check;
use crate::config::format::{List, Maybe, Objects};
use crate::config::number::{Count, Time};
use crate::config::table::config_table;
use crate::config::text::Text;
use crate::config::value::{AlpnProtocol, ClientAuthMode, TlsVersion, UnknownSni};

config_table! {
    /// TLS of a listener whose protocol is `https`. Files are read again when they change, and on a reload; what is
    /// wrong with them then leaves the ones before in use.
    pub struct ListenerTls: "tls", checked by check::listener_tls {
        /// The certificates that it shows. Of several for one name, the first whose key the client can check. None: one
        /// that weir makes, which no client trusts.
        certificates: Objects<ListedCertificate>, at most 10_000;
        /// The certificate shown to clients that ask for none, or for a name that none is for: a name of it, or its
        /// `cert` as written there.
        default_certificate: Maybe<Text>, in 1 to 4096;
        /// What becomes of clients that ask for a name of no certificate.
        unknown_sni: UnknownSni = "fallback";
        /// The oldest version spoken.
        min_version: TlsVersion = "1.2";
        /// The protocols offered, the preferred one first.
        alpn: List<AlpnProtocol> = ["h2", "http/1.1"], at most 2;
        /// Handshakes under way at once, per worker; more wait.
        handshakes_max: Count = 256, in 1 to 65_536;
        /// Whether the upstream learns the client's certificate by Client-Cert (RFC 9440).
        client_cert_header: bool = false;
        /// How often the keys of resumption are made anew; each is accepted for as long again.
        ticket_rotation: Time = "6h", in "10m" to "7d";
        /// A file that takes the secrets of all sessions, for debugging: whoever reads it reads the traffic.
        keylog: Maybe<PathBuf>;
    }
}

config_table! {
    /// A certificate of a listener. `cert`, `key`, `client_ca` and `client_crl` are PEM files, `ocsp` is DER.
    pub struct ListedCertificate: "certificates", by "cert", checked by check::listed_certificate {
        /// The certificate, and those between it and its authority after it.
        cert: PathBuf;
        /// Its private key.
        key: PathBuf;
        /// The names that it is chosen by, `*.example.com` too, each one that the certificate covers; without this key
        /// all of its DNS names.
        names: List<Text> = [], in 1 to 255, at most 1000;
        /// An OCSP response about it, which is stapled while it says that the certificate is good.
        ocsp: Maybe<PathBuf>;
        /// Whether clients are asked for certificates; one that is not good ends the handshake.
        client_auth: ClientAuthMode = "off";
        /// The authorities of clients' certificates.
        client_ca: Maybe<PathBuf>;
        /// Revocation lists: one of each issuer in the clients' chains, in date.
        client_crl: Maybe<PathBuf>;
    }
}
