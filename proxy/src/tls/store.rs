//! Which certificate a listener shows to whom, and what it asks of them: by the name that a client asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;

use super::resolver::Resolver;
use super::{Certificate, ClientAuth, Flaw, Names, Tickets, provider};

/// The stores of all listeners that speak TLS, by name; published to workers beside the configuration.
#[derive(Default, Debug)]
pub struct Stores {
    listeners: HashMap<Arc<str>, Arc<Store>>,
}

impl Stores {
    /// The store of a listener.
    pub fn of(&self, listener: &str) -> Option<&Arc<Store>> {
        self.listeners.get(listener)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Store>)> {
        self.listeners.iter()
    }
}

impl FromIterator<(Arc<str>, Arc<Store>)> for Stores {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<Store>)>>(stores: I) -> Self {
        Self { listeners: stores.into_iter().collect() }
    }
}

/// One certificate as the document offers it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Where it comes from: the file's name, as the document writes it.
    pub source: Arc<str>,
    /// It.
    pub certificate: Arc<Certificate>,
    /// The names that it is chosen by.
    pub names: Names,
    /// What is asked of clients that it is shown to.
    pub client_auth: ClientAuth,
    /// Whether it is shown where no other is for what the client asks.
    pub default: bool,
}

/// What a client meets that asks for a name of no certificate, where there is no default one.
#[derive(Clone, Debug)]
pub enum UnknownName {
    /// This certificate, which weir has made.
    Shown(Arc<Certificate>),
    /// An alert.
    Refused,
}

/// Everything that a listener's store is made of.
#[derive(Debug)]
pub struct Material {
    /// In the document's order: of several for one name, the first whose key the client can check is shown.
    pub offers: Vec<Offer>,
    /// What is shown for other names.
    pub unknown: UnknownName,
    /// Whether TLS 1.2 is spoken too.
    pub tls12: bool,
    /// Protocols, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// Seals sessions for resumption.
    pub tickets: Arc<Tickets>,
    /// Takes the secrets of sessions, for debugging.
    pub key_log: Arc<dyn rustls::KeyLog>,
}

/// The certificates of one listener and the sessions that go by them. Immutable: another one takes its place when a
/// file changes.
pub struct Store {
    index: Arc<Index>,
    /// One for each way of asking for client certificates, as sessions differ in nothing else.
    configs: Vec<Arc<ServerConfig>>,
    /// What the document offers.
    offers: Vec<Offer>,
}

/// What a client hello is answered with.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What the session goes by.
    pub config: Arc<ServerConfig>,
    /// What the client is shown.
    pub shown: Arc<Shown>,
}

/// Why a client hello is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No certificate is for the name, and none is shown in its place: alert `unrecognized_name` (RFC 6066 section 3).
    UnknownName,
}

/// What a client was shown, for the requests on its connection.
#[derive(Debug)]
pub struct Shown {
    /// Any of them: which, its key's kind has decided.
    certificates: Vec<Arc<Certificate>>,
    /// Whose certificates were asked for.
    policy: Option<[u8; 32]>,
}

impl Shown {
    /// Whether the certificate covers a host: lower case, without port or final dot.
    pub fn covers(&self, host: &str) -> bool {
        self.certificates.iter().all(|certificate| certificate.names().covers(host))
    }

    /// Whether it was the one that weir makes for want of another.
    pub fn is_generated(&self) -> bool {
        self.certificates.iter().all(|certificate| certificate.is_generated())
    }
}

/// Names, and what stands behind them.
#[derive(Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, usize>,
    /// By what follows `*.`.
    wild: HashMap<Box<str>, usize>,
    /// What is shown for all other names.
    rest: Option<usize>,
    /// What is shown to clients that ask for none.
    nameless: Option<usize>,
    /// Whether certificates are asked of any clients.
    asks: bool,
    entries: Vec<Entry>,
}

/// What is shown for a name.
struct Entry {
    shown: Arc<Shown>,
    /// Its place in [`Store::configs`].
    config: usize,
}

impl Index {
    /// The certificate shown for a name, to clients that know these signature schemes.
    pub(super) fn certificate(
        &self,
        sni: Option<&str>,
        schemes: &[rustls::SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        match &self.entry(sni)?.shown.certificates[..] {
            [only] => Some(only),
            several => several.iter().find(|one| one.suits(schemes)).or_else(|| several.first()),
        }
    }

    fn entry(&self, sni: Option<&str>) -> Option<&Entry> {
        let at = match sni {
            Some(name) => self.named(name).or(self.rest),
            None => self.nameless,
        };
        self.entries.get(at?)
    }

    /// Whether what is asked of clients for `host` was asked of a client that was shown `shown`, for `same` name.
    fn asks_as(&self, host: &str, same: bool, shown: &Shown) -> bool {
        if !self.asks {
            return true;
        }
        let named = self.named(host);
        let policy = named.or(self.nameless).and_then(|at| self.entries.get(at)?.shown.policy);
        policy.is_none() || (policy == shown.policy && (named.is_none() || same))
    }

    /// The entry that has this name: exactly, else by a wildcard of one label.
    fn named(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return self.named(&name.to_ascii_lowercase());
        }
        let above = || name.split_once('.').map(|(_, above)| above);
        self.exact.get(name).or_else(|| self.wild.get(above()?)).copied()
    }
}

impl Store {
    /// Makes a store.
    ///
    /// # Errors
    /// The position of the offer that contradicts an earlier one, and how.
    pub fn build(material: Material) -> Result<Self, (usize, Flaw)> {
        let Material { offers, unknown, .. } = &material;
        let mut builder = Builder::default();
        for (at, offer) in offers.iter().enumerate() {
            builder.offer(offer).map_err(|flaw| (at, flaw))?;
        }
        builder.rest(offers.iter().find(|offer| offer.default), unknown);
        let (index, policies) = builder.finish();
        let index = Arc::new(index);
        let configs = policies.iter().map(|policy| Arc::new(config(&material, policy, &index))).collect();
        Ok(Self { index, configs, offers: material.offers })
    }

    /// What a client hello that asks for this name is answered with.
    ///
    /// # Errors
    /// Nothing is for it.
    pub fn choose(&self, sni: Option<&str>) -> Result<Choice, Refused> {
        let entry = self.index.entry(sni).ok_or(Refused::UnknownName)?;
        let config = self.configs.get(entry.config).ok_or(Refused::UnknownName)?;
        Ok(Choice { config: config.clone(), shown: entry.shown.clone() })
    }

    /// The certificates that the document offers.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Whether clients must have a certificate for any of them.
    pub fn demands_certificates(&self) -> bool {
        self.offers.iter().any(|offer| offer.client_auth.is_mandatory())
    }

    /// Whether it has none but the one that weir has made.
    pub fn is_makeshift(&self) -> bool {
        self.offers.is_empty()
    }

    /// Whether a request for `host` (lower case, without port or final dot) may come on a connection whose client
    /// asked for `sni` and was shown `shown`.
    pub fn admits(&self, strictness: Strictness, shown: &Shown, sni: Option<&str>, host: &str) -> bool {
        let sni = sni.map(|sni| sni.strip_suffix('.').unwrap_or(sni));
        // A request of HTTP/1.0 may name no host.
        let host = if host.is_empty() { sni.unwrap_or_default() } else { host };
        let same = sni.is_some_and(|sni| sni.eq_ignore_ascii_case(host));
        if !self.index.asks_as(host, same, shown) {
            return false;
        }
        match strictness {
            _ if shown.is_generated() || host.is_empty() => true,
            Strictness::Off => true,
            Strictness::Certificate => shown.covers(host),
            // A client that asks for an address sends no name (RFC 6066 section 3).
            Strictness::Exact => same || (sni.is_none() && is_address(host) && shown.covers(host)),
        }
    }
}

/// How closely a request's authority is held against its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// Not at all, but for names whose clients show certificates.
    Off,
    /// The certificate that was shown covers it (RFC 9113 section 9.1.1).
    Certificate,
    /// It is the name that the client asked for.
    Exact,
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// An index in the making.
#[derive(Default)]
struct Builder {
    exact: HashMap<Box<str>, usize>,
    wild: HashMap<Box<str>, usize>,
    rest: Option<usize>,
    nameless: Option<usize>,
    entries: Vec<(Vec<Arc<Certificate>>, usize)>,
    policies: Vec<ClientAuth>,
}

impl Builder {
    fn offer(&mut self, offer: &Offer) -> Result<(), Flaw> {
        let config = self.config(&offer.client_auth);
        let own = self.entry(offer, config);
        let mut taken = HashMap::new();
        for name in offer.names.exact() {
            let slot = *self.exact.entry(name.into()).or_insert(own);
            let joined = self.join(slot, own, offer, config, &mut taken).ok_or_else(|| contradicts(name))?;
            self.exact.insert(name.into(), joined);
        }
        for name in offer.names.wild() {
            let slot = *self.wild.entry(name.into()).or_insert(own);
            let joined =
                self.join(slot, own, offer, config, &mut taken).ok_or_else(|| contradicts(&format!("*.{name}")))?;
            self.wild.insert(name.into(), joined);
        }
        Ok(())
    }

    fn entry(&mut self, offer: &Offer, config: usize) -> usize {
        self.entries.push((vec![offer.certificate.clone()], config));
        self.entries.len() - 1
    }

    /// The entry for a name that `slot` has so far and `offer` has too: both certificates, made once for each `slot`.
    /// None if they ask for different certificates of clients.
    fn join(
        &mut self,
        slot: usize,
        own: usize,
        offer: &Offer,
        config: usize,
        taken: &mut HashMap<usize, usize>,
    ) -> Option<usize> {
        if slot == own {
            return Some(own);
        }
        let (certificates, asks) = self.entries.get(slot)?;
        if *asks != config {
            return None;
        }
        let both = certificates.iter().chain([&offer.certificate]).cloned().collect();
        let entries = &mut self.entries;
        let joined = taken.entry(slot).or_insert_with(|| {
            entries.push((both, config));
            entries.len() - 1
        });
        Some(*joined)
    }

    fn config(&mut self, client_auth: &ClientAuth) -> usize {
        let context = client_auth.context();
        self.policies.iter().position(|known| known.context() == context).unwrap_or_else(|| {
            self.policies.push(client_auth.clone());
            self.policies.len() - 1
        })
    }

    /// What is shown where no name fits.
    fn rest(&mut self, default: Option<&Offer>, unknown: &UnknownName) {
        let (certificate, client_auth) = match (default, unknown) {
            (Some(offer), _) => (&offer.certificate, offer.client_auth.clone()),
            (None, UnknownName::Shown(certificate)) => (certificate, ClientAuth::Off),
            (None, UnknownName::Refused) => return,
        };
        let config = self.config(&client_auth);
        self.entries.push((vec![certificate.clone()], config));
        self.nameless = Some(self.entries.len() - 1);
        // A client that asks for no name asks for no unknown one.
        self.rest = self.nameless.filter(|_| matches!(unknown, UnknownName::Shown(_)));
    }

    fn finish(self) -> (Index, Vec<ClientAuth>) {
        let Self { exact, wild, rest, nameless, entries, policies } = self;
        let entry = |(certificates, config): (Vec<Arc<Certificate>>, usize)| {
            let policy = policies.get(config).and_then(ClientAuth::identity);
            Entry { shown: Arc::new(Shown { certificates, policy }), config }
        };
        let entries = entries.into_iter().map(entry).collect();
        let asks = policies.iter().any(|policy| policy.identity().is_some());
        (Index { exact, wild, rest, nameless, asks, entries }, policies)
    }
}

fn contradicts(name: &str) -> Flaw {
    Flaw::new("client_auth", format!("another certificate for \"{name}\" asks clients for something else"))
}

fn config(material: &Material, client_auth: &ClientAuth, index: &Arc<Index>) -> ServerConfig {
    use rustls::version::{TLS12, TLS13};
    let versions: &[_] = if material.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let builder = builder.expect("the provider has suites for both versions");
    let builder = match client_auth.verifier() {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver(index.clone())));
    config.alpn_protocols = material.alpn.clone();
    // Sessions live in tickets alone: what one worker keeps, another does not find.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = material.tickets.sealer(client_auth.context());
    config.key_log = material.key_log.clone();
    // The record layer is weir's own.
    config.enable_secret_extraction = true;
    config
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("offers", &self.offers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
