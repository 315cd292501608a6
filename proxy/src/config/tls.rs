//! What listeners show and ask over TLS, read from the files that the document names.

mod outgoing;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::KeyLog;

use super::bans::Stamp;
use super::raw::{Document, ListedCertificate, Listener};
use super::value::{ClientAuthMode, Protocol, TlsVersion, UnknownSni};
use super::{At, Problem, Problems};
use crate::tls::ocsp::{RESPONSE_MAX, Unfit};
use crate::tls::{
    Certificate, ClientAuth, Demand, Flaw, KeyLogs, Material, Names, Offer, Store, Stores, TicketBook, UnknownName,
    generate,
};

pub(super) use outgoing::Outgoings;

/// Octets that a file in PEM may have.
const PEM_MAX: u64 = 4 << 20;
/// Octets that a file of revocation lists may have.
const LISTS_MAX: u64 = 64 << 20;

/// What the TLS of listeners keeps over configurations.
#[derive(Default)]
pub struct Kept {
    /// The keys of resumption.
    pub tickets: TicketBook,
    /// Whether this process serves; one that only checks a document opens no key logs.
    serves: bool,
    key_logs: KeyLogs,
    generated: OnceLock<Arc<Certificate>>,
    /// OCSP responses that were left out, by why.
    unstapled: [AtomicU64; Unfit::ALL.len()],
}

impl Kept {
    /// For a process that serves.
    pub fn serving() -> Self {
        Self { serves: true, ..Self::default() }
    }

    /// How often an OCSP response was left out, by why.
    pub fn unstapled(&self) -> impl Iterator<Item = (Unfit, u64)> {
        Unfit::ALL.into_iter().zip(self.unstapled.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Lines of key logs that were lost.
    pub fn key_log_lost(&self) -> u64 {
        self.key_logs.lost()
    }

    /// Counts an OCSP response that is left out.
    pub fn left_out(&self, why: Unfit) {
        self.unstapled[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn generated(&self) -> Result<Arc<Certificate>, Flaw> {
        if let Some(made) = self.generated.get() {
            return Ok(made.clone());
        }
        let made = Arc::new(generate()?);
        Ok(self.generated.get_or_init(|| made).clone())
    }
}

/// What the files said, and how they stood before they were read.
#[derive(Clone)]
pub struct Shown {
    /// The stores of the document's listeners.
    pub stores: Arc<Stores>,
    /// Of each file, in the document's order; none: it could not be found.
    pub stamps: Vec<Option<Stamp>>,
}

impl Shown {
    /// Reads the files of a document. What is wrong goes to `problems`, and then there is nothing. Blocks.
    pub fn read(document: &Document, kept: &Kept, problems: &mut Problems) -> Option<Self> {
        Self::of(document, kept, problems, |_| None)
    }

    /// Reads them again. A listener whose files are of no use now keeps what it showed before; why goes to `problems`.
    /// None if there is nothing for one. Blocks.
    pub fn read_again(&self, document: &Document, kept: &Kept, problems: &mut Problems) -> Option<Self> {
        Self::of(document, kept, problems, |listener| self.stores.of(listener).cloned())
    }

    fn of(
        document: &Document,
        kept: &Kept,
        problems: &mut Problems,
        before: impl Fn(&str) -> Option<Arc<Store>>,
    ) -> Option<Self> {
        let stamps = stamps(document);
        let mut files = Files::default();
        let mut store = |listener: &Listener| {
            let read = Reading { kept, files: &mut files, problems }.store(listener).map(Arc::new);
            Some((listener.name.as_str().into(), read.or_else(|| before(&listener.name))?))
        };
        // Every listener is read, so that all that is wrong is told.
        let stores: Vec<_> = https(document).map(&mut store).collect();
        Some(Self { stores: Arc::new(stores.into_iter().collect::<Option<_>>()?), stamps })
    }
}

/// How the files of a document stand, in its order. Blocks.
pub fn stamps(document: &Document) -> Vec<Option<Stamp>> {
    files(document).map(|path| Stamp::of(path)).collect()
}

/// The files that the certificates of a document rest on.
pub fn files(document: &Document) -> impl Iterator<Item = &PathBuf> {
    https(document).flat_map(|one| &one.tls.certificates).flat_map(|raw| {
        let ListedCertificate { cert, key, ocsp, client_ca, client_crl, .. } = raw;
        [Some(cert), Some(key), ocsp.as_ref(), client_ca.as_ref(), client_crl.as_ref()].into_iter().flatten()
    })
}

/// Wall time in Unix seconds.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn https(document: &Document) -> impl Iterator<Item = &Listener> {
    document.listeners.iter().filter(|one| one.enabled && one.protocol == Protocol::Https)
}

/// Files, each read once however many certificates rest on it.
#[derive(Default)]
struct Files(HashMap<PathBuf, Result<Arc<[u8]>, String>>);

impl Files {
    fn read(&mut self, path: &Path, max: u64) -> Result<Arc<[u8]>, String> {
        let read = self.0.entry(path.to_owned()).or_insert_with(|| read(path, max).map(Into::into));
        read.clone()
    }
}

fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read: {error}");
    let mut octets = Vec::new();
    File::open(path).map_err(told)?.take(max + 1).read_to_end(&mut octets).map_err(told)?;
    if octets.len() as u64 > max {
        return Err(format!("is larger than {max} octets"));
    }
    Ok(octets)
}

/// One pass over the files of a document.
struct Reading<'a> {
    kept: &'a Kept,
    files: &'a mut Files,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    /// None if something is wrong, which is told.
    fn store(&mut self, listener: &Listener) -> Option<Store> {
        let tls = &listener.tls;
        let offers: Vec<_> = tls.certificates.iter().map(|raw| self.told(&raw.at, |own| own.offer(raw))).collect();
        let mut offers = offers.into_iter().collect::<Option<Vec<_>>>()?;
        self.told(&tls.at, |_| choose_default(&mut offers, tls.default_certificate.as_deref()))?;
        self.told_nameless(listener, &offers)?;
        let unknown = self.told(&tls.at, |own| own.unknown(tls.unknown_sni))?;
        let key_log = self.told(&tls.at, |own| own.key_log(tls.keylog.as_deref()))?;
        let store = Store::build(Material {
            offers,
            unknown,
            tls12: tls.min_version == TlsVersion::Tls12,
            alpn: tls.alpn.iter().map(|protocol| protocol.word().into()).collect(),
            tickets: self.kept.tickets.of(&listener.name, tls.ticket_rotation),
            key_log,
        });
        let at = |position: usize| tls.certificates.get(position).map_or(&tls.at, |raw| &raw.at);
        store.map_err(|(position, flaw)| self.problems.push(problem(at(position), &flaw))).ok()
    }

    fn told<T>(&mut self, at: &At, one: impl FnOnce(&mut Self) -> Result<T, Flaw>) -> Option<T> {
        one(self).map_err(|flaw| self.problems.push(problem(at, &flaw))).ok()
    }

    fn offer(&mut self, raw: &ListedCertificate) -> Result<Offer, Flaw> {
        let chain = self.read("cert", &raw.cert, PEM_MAX)?;
        let key = self.read("key", &raw.key, PEM_MAX)?;
        let mut certificate = Certificate::from_pem(&chain, &key)?;
        let names = match raw.names.is_empty() {
            true => certificate.names().clone(),
            false => Names::listed(raw.names.iter().map(String::as_str)),
        };
        if let Some(name) = certificate.names().missing(&names) {
            return Err(Flaw { key: "names", why: format!("has \"{name}\", which the certificate does not cover") });
        }
        self.warn_of_age(raw, &certificate);
        let client_auth = self.client_auth(raw)?;
        self.staple(raw, &mut certificate);
        let source = raw.cert.to_string_lossy().into();
        Ok(Offer { source, certificate: Arc::new(certificate), names, client_auth, default: false })
    }

    /// A certificate that clients will refuse is shown nevertheless: they say more of it than weir can.
    fn warn_of_age(&mut self, raw: &ListedCertificate, certificate: &Certificate) {
        let (valid, now) = (certificate.valid(), unix_now());
        let why = match (now < *valid.start(), now > *valid.end()) {
            (true, _) => "cert is not valid yet",
            (_, true) => "cert is not valid any more",
            _ => return,
        };
        self.problems.push(raw.at.warning("cert", why));
    }

    fn client_auth(&mut self, raw: &ListedCertificate) -> Result<ClientAuth, Flaw> {
        let demand = match raw.client_auth {
            ClientAuthMode::Off => return Ok(ClientAuth::Off),
            ClientAuthMode::Request => Demand::Request,
            ClientAuthMode::Require => Demand::Require,
        };
        let Some(authorities) = &raw.client_ca else { return Ok(ClientAuth::Off) };
        let authorities = self.read("client_ca", authorities, PEM_MAX)?;
        let revoked = raw.client_crl.as_deref().map(|path| self.read("client_crl", path, LISTS_MAX)).transpose()?;
        ClientAuth::new(demand, &authorities, revoked.as_deref())
    }

    /// A response that is not fit is no reason to go without the certificate.
    fn staple(&mut self, raw: &ListedCertificate, certificate: &mut Certificate) {
        let Some(path) = &raw.ocsp else { return };
        let (unfit, why) = match self.files.read(path, RESPONSE_MAX as u64) {
            Ok(response) => {
                let unfit = certificate.staple(&response).err().or_else(|| certificate.unstapled(unix_now()));
                let Some(unfit) = unfit else { return };
                (unfit, unfit.text().to_owned())
            }
            Err(why) => (Unfit::Unreadable, why),
        };
        self.kept.left_out(unfit);
        self.problems.push(raw.at.warning("ocsp", format!("ocsp {why}: it is left out")));
    }

    fn unknown(&mut self, unknown: UnknownSni) -> Result<UnknownName, Flaw> {
        match unknown {
            UnknownSni::Fallback => self.kept.generated().map(UnknownName::Shown),
            UnknownSni::Reject => Ok(UnknownName::Refused),
        }
    }

    fn key_log(&mut self, path: Option<&Path>) -> Result<Arc<dyn KeyLog>, Flaw> {
        let Some(path) = path.filter(|_| self.kept.serves) else { return Ok(Arc::new(rustls::NoKeyLog {})) };
        let flaw = |error| Flaw { key: "keylog", why: format!("cannot be opened: {error}") };
        self.kept.key_logs.open(path).map_err(flaw)
    }

    /// A certificate that no client can be shown is a mistake.
    fn told_nameless(&mut self, listener: &Listener, offers: &[Offer]) -> Option<()> {
        let mut all = Some(());
        for (raw, _) in
            listener.tls.certificates.iter().zip(offers).filter(|(_, one)| one.names.is_nameless() && !one.default)
        {
            let why = "cert has no DNS name and is not default_certificate: no client would be shown it";
            self.problems.push(raw.at.problem("cert", why));
            all = None;
        }
        all
    }

    fn read(&mut self, key: &'static str, path: &Path, max: u64) -> Result<Arc<[u8]>, Flaw> {
        self.files.read(path, max).map_err(|why| Flaw { key, why })
    }
}

fn choose_default(offers: &mut [Offer], wanted: Option<&str>) -> Result<(), Flaw> {
    let Some(wanted) = wanted else { return Ok(()) };
    let named = Names::listed([wanted]);
    let is_it = |offer: &&mut Offer| *offer.source == *wanted || offer.names.missing(&named).is_none();
    match offers.iter_mut().find(is_it) {
        Some(offer) => offer.default = true,
        None => {
            let why = format!("= \"{}\" is no certificate's name or cert", wanted.escape_debug());
            return Err(Flaw { key: "default_certificate", why });
        }
    }
    Ok(())
}

fn problem(at: &At, flaw: &Flaw) -> Problem {
    at.problem(flaw.key, format!("{} {}", flaw.key, flaw.why).trim_start().to_owned())
}

#[cfg(test)]
mod tests;
