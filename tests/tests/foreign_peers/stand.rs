//! weir with TLS and HTTP/2 towards the peers, and files behind it.

use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::tls::Authority;
use weir_tests::{Config, Weir};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The two ways in which HTTP/2 is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    PriorKnowledge,
    Agreed,
}

pub(crate) const BOTH: [Begun; 2] = [Begun::PriorKnowledge, Begun::Agreed];

/// A running weir and the authority that its peers trust.
pub(crate) struct Stand {
    pub(crate) weir: Weir,
    begun: Begun,
    dir: Dir,
}

impl Stand {
    pub(crate) fn new(begun: Begun, config: Config) -> Self {
        let (authority, dir) = (Authority::new(), Dir::new());
        dir.write("ca.pem", authority.pem());
        let config = match begun {
            Begun::PriorKnowledge => config.h2c(),
            Begun::Agreed => {
                // Who dials an address names nobody.
                let identity = authority.certify(&["weir.test", "localhost", "127.0.0.1"]);
                config.secured_with(&[&identity], "default_certificate = \"weir.test\"")
            }
        };
        Self { weir: config.start(), begun, dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        match self.begun {
            Begun::PriorKnowledge => self.weir.url(path),
            Begun::Agreed => self.weir.url(path).replace("http://", "https://"),
        }
    }

    /// Where it listens, by a name that its certificate has.
    pub(crate) fn named(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.weir.web().port())
    }

    /// Where the authority's certificate stands.
    pub(crate) fn authority(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }
}

/// Octets that show where they belong.
pub(crate) fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}
