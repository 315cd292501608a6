//! The databases of addresses: read when the document names them, and again when a file changes. A file that cannot be
//! used leaves what was read before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Facts;
use crate::config::bans::Stamp;
use crate::config::{Snapshot, geoip, raw};
use crate::policy::geoip::{Database, GeoIp};

/// From one look at the files to the next.
const TICK: Duration = Duration::from_secs(1);
/// The readiness warning while a file cannot be used.
const STALE: &str = "GEOIP_STALE";

/// The databases, and the task that keeps them.
pub(super) struct GeoFiles {
    files: Mutex<Files>,
    /// What workers go by.
    tables: watch::Sender<Arc<GeoIp>>,
    facts: Arc<Facts>,
}

/// The document's two files.
#[derive(Clone, Default)]
struct Files {
    countries: Source,
    networks: Source,
}

/// One file, and what was read of it.
#[derive(Clone, Default)]
struct Source {
    path: Option<PathBuf>,
    /// The file as it was before it was read last.
    stamp: Option<Stamp>,
    database: Option<Arc<Database>>,
    /// Why the file as it stands is of no use.
    wrong: Option<String>,
}

impl GeoFiles {
    /// No database yet.
    pub(super) fn new(facts: Arc<Facts>) -> Arc<Self> {
        Arc::new(Self { files: Mutex::default(), tables: watch::Sender::default(), facts })
    }

    /// Takes the files of a new configuration; gives the databases that hold from now on. Blocks.
    pub(super) fn adopt(&self, snapshot: &Snapshot) -> Arc<GeoIp> {
        let raw::GeoIp { db, asn_db, .. } = &snapshot.document.geoip;
        let before = self.lock().clone();
        let files =
            Files { countries: before.countries.at(db.as_deref()), networks: before.networks.at(asn_db.as_deref()) };
        let mut current = self.lock();
        *current = files;
        self.publish(&current)
    }

    /// The databases of now and of later.
    pub(super) fn tables(&self) -> watch::Receiver<Arc<GeoIp>> {
        self.tables.subscribe()
    }

    /// Looks at the files until the runtime ends.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TICK).await;
            let own = Arc::clone(&self);
            // A look that panicked is made again.
            drop(tokio::task::spawn_blocking(move || own.look()).await);
        }
    }

    /// Reads the files that have changed. Blocks.
    fn look(&self) {
        let before = self.lock().clone();
        let countries = before.countries.clone().again();
        let networks = before.networks.clone().again();
        if countries.is_none() && networks.is_none() {
            return;
        }
        let mut current = self.lock();
        // A new configuration that came meanwhile has read its files itself.
        if current.countries.path == before.countries.path && current.networks.path == before.networks.path {
            *current = Files {
                countries: countries.unwrap_or(before.countries),
                networks: networks.unwrap_or(before.networks),
            };
            self.publish(&current);
        }
    }

    fn publish(&self, files: &Files) -> Arc<GeoIp> {
        let wrong: Vec<&str> =
            [&files.countries, &files.networks].iter().filter_map(|one| one.wrong.as_deref()).collect();
        let hint = || format!("what was read before holds, if anything was: {}", wrong.join("; "));
        self.facts.warn(STALE, (!wrong.is_empty()).then(hint));
        let geoip =
            Arc::new(GeoIp { countries: files.countries.database.clone(), networks: files.networks.database.clone() });
        self.tables.send_replace(Arc::clone(&geoip));
        geoip
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// The same, of the file at `path`: what was read of another file is of no use.
    fn at(self, path: Option<&Path>) -> Self {
        let Some(path) = path else { return Self::default() };
        let same = if self.path.as_deref() == Some(path) { self } else { Self::default() };
        let named = Self { path: Some(path.to_owned()), ..same };
        // Nothing read and nothing told: the file has not been looked at.
        if named.database.is_none() && named.wrong.is_none() { named.read(Stamp::of(path)) } else { named }
    }

    /// The same, read again; none if the file has not changed.
    fn again(self) -> Option<Self> {
        let stamp = Stamp::of(self.path.as_deref()?);
        (stamp != self.stamp).then(|| self.read(stamp))
    }

    fn read(self, stamp: Option<Stamp>) -> Self {
        let Some(path) = &self.path else { return self };
        match geoip::read(path) {
            Ok(database) => {
                tracing::info!(file = %path.display(), kind = database.metadata().database_type, "database of addresses read");
                Self { stamp, database: Some(Arc::new(database)), wrong: None, ..self }
            }
            Err(why) => {
                tracing::warn!(why, "a database of addresses cannot be used");
                Self { stamp, wrong: Some(why), ..self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::geoip::tests::country_octets;

    fn files(directory: &Path) -> (Arc<GeoFiles>, PathBuf, Snapshot) {
        let path = directory.join("c.mmdb");
        let text = format!("[geoip]\ndb = \"{}\"\n", path.display());
        let document = crate::config::parse(&text, "weir.toml").expect("a document");
        let snapshot = super::super::testing::snapshot(document, 1);
        let files = GeoFiles::new(Arc::new(Facts::new(1)));
        (files, path, Arc::into_inner(snapshot).expect("the only one"))
    }

    fn country(files: &GeoFiles) -> String {
        files.tables.borrow().country([192, 0, 2, 1].into()).as_str().to_owned()
    }

    /// Another file under the same name, as updaters put it there.
    fn replace(path: &Path, octets: &[u8]) {
        let new = path.with_extension("new");
        std::fs::write(&new, octets).and_then(|()| std::fs::rename(&new, path)).expect("a file");
    }

    #[test]
    fn bad_file_leaves_the_database_before_and_is_told_until_it_is_mended() {
        let directory = tempfile::tempdir().expect("a directory");
        let (files, path, snapshot) = files(directory.path());
        let told = || files.facts.warnings().get(STALE).cloned();

        files.adopt(&snapshot);
        assert_eq!(country(&files), "ZZ");
        assert!(told().is_some_and(|why| why.contains("c.mmdb")));

        replace(&path, &country_octets());
        files.look();
        assert_eq!((country(&files), told()), ("NL".to_owned(), None));

        replace(&path, b"no database");
        files.look();
        files.adopt(&snapshot);
        assert_eq!(country(&files), "NL");
        assert!(told().is_some());

        replace(&path, &country_octets());
        files.look();
        assert_eq!((country(&files), told()), ("NL".to_owned(), None));
    }

    #[test]
    fn database_of_another_document_is_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let (files, path, snapshot) = files(directory.path());
        replace(&path, &country_octets());
        files.adopt(&snapshot);
        assert_eq!(country(&files), "NL");
        let document = crate::config::parse("version = 1", "weir.toml").expect("a document");
        files.adopt(&super::super::testing::snapshot(document, 2));
        assert_eq!(country(&files), "ZZ");
        files.look();
        assert_eq!(country(&files), "ZZ");
    }
}
