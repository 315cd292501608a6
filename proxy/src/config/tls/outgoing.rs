//! What targets over TLS trust and show, read from the files that the document names.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PEM_MAX, read};
use crate::config::raw::TargetTls;
use crate::tls::{Authority, Flaw, Outgoing, Own};

/// The settings of all targets of a document: what is alike is made once.
#[derive(Default)]
pub(in crate::config) struct Outgoings {
    system: RefCell<Option<Result<Authority, Flaw>>>,
    files: RefCell<HashMap<PathBuf, Result<Authority, Flaw>>>,
    made: RefCell<HashSet<Arc<Outgoing>>>,
}

impl Outgoings {
    /// Those of a target at `host`, of its files as they are. Blocks.
    pub(in crate::config) fn of(
        &self,
        raw: Option<&TargetTls>,
        host: &str,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Arc<Outgoing>, Flaw> {
        let name = raw.and_then(|raw| raw.server_name.as_deref()).unwrap_or(host);
        let own = match raw.map(|raw| (&raw.client_cert, &raw.client_key)) {
            Some((Some(chain), Some(key))) => Some((file("client_cert", chain)?, file("client_key", key)?)),
            _ => None,
        };
        let own = own.as_ref().map(|(chain, key)| Own { chain, key });
        let made = Arc::new(Outgoing::build(name, &self.authority(raw)?, own, alpn)?);
        let mut all = self.made.borrow_mut();
        if let Some(same) = all.get(&made) {
            return Ok(same.clone());
        }
        all.insert(made.clone());
        Ok(made)
    }

    fn authority(&self, raw: Option<&TargetTls>) -> Result<Authority, Flaw> {
        match raw {
            Some(raw) if !raw.verify => Ok(Authority::Nobody),
            Some(TargetTls { ca: Some(path), .. }) => self.listed(path),
            _ => self.system.borrow_mut().get_or_insert_with(Authority::of_system).clone(),
        }
    }

    fn listed(&self, path: &Path) -> Result<Authority, Flaw> {
        let mut files = self.files.borrow_mut();
        let read = || file("ca", path).and_then(|pem| Authority::of_file(&pem));
        files.entry(path.to_owned()).or_insert_with(read).clone()
    }
}

fn file(key: &'static str, path: &Path) -> Result<Vec<u8>, Flaw> {
    read(path, PEM_MAX).map_err(|why| Flaw { key, why: format!("= \"{}\": {why}", path.display()) })
}
