//! The config under test: one listener `web`, management, a JSON access log, one worker; the rest is the suite's.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::dir::Dir;
use crate::ports::Port;
use crate::tls::Identity;
use crate::weir::Weir;

/// A config in the making, with the directory and the ports that it reserves.
pub struct Config {
    pub(crate) dir: Dir,
    web: Port,
    pub(crate) management: Port,
    pub(crate) descriptors_max: Option<u64>,
    pub(crate) under: Vec<String>,
    address: IpAddr,
    top: String,
    keys: String,
    listener: String,
    tls: String,
    tables: String,
    workers: u32,
    upgrade_socket: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// Nothing but the listener, management and the log.
    pub fn new() -> Self {
        Self {
            dir: Dir::new(),
            web: Port::reserve(),
            management: Port::reserve(),
            descriptors_max: None,
            under: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            top: String::new(),
            keys: String::new(),
            listener: String::new(),
            tls: String::new(),
            tables: String::new(),
            workers: 1,
            upgrade_socket: None,
        }
    }

    /// One route for every path, to one origin.
    pub fn forwarding(url: impl AsRef<str>) -> Self {
        Self::new().route(1, "path_prefix = \"/\"", &[url.as_ref()])
    }

    /// Bare keys before the first table.
    pub fn top(mut self, toml: &str) -> Self {
        let _ = writeln!(self.top, "{toml}");
        self
    }

    /// Keys of the listener, or its tables (`[listener.limits]`).
    pub fn listener(mut self, toml: &str) -> Self {
        let _ = writeln!(self.listener, "{toml}");
        self
    }

    /// Lets listener `web` speak HTTP/2 to who begins with its preface.
    pub fn h2c(mut self) -> Self {
        let _ = writeln!(self.keys, "h2c = true");
        self
    }

    /// Lets listener `web` speak TLS with these certificates, which stand in the test's directory as `tls/N.crt` and
    /// `tls/N.key`.
    pub fn secured(self, identities: &[&Identity]) -> Self {
        self.secured_with(identities, "")
    }

    /// The same with keys of its own in `[listener.tls]`.
    pub fn secured_with(mut self, identities: &[&Identity], keys: &str) -> Self {
        let entries: Vec<_> =
            identities.iter().enumerate().map(|(n, identity)| self.certificate(n, identity)).collect();
        let _ = writeln!(self.keys, "protocol = \"https\"");
        let _ = writeln!(self.tls, "[listener.tls]\ncertificates = [{}]\n{keys}", entries.join(", "));
        self
    }

    /// Writes a certificate and its key, and says what `certificates` holds for it.
    fn certificate(&self, number: usize, identity: &Identity) -> String {
        let cert = self.dir.write(&format!("tls/{number}.crt"), identity.certificate_pem());
        let key = self.dir.write(&format!("tls/{number}.key"), identity.key_pem());
        format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
    }

    /// Writes a file into the test's directory, and says where it stands.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        self.dir.write(name, content).display().to_string()
    }

    /// Leaves the kernel half out: loading it takes memory for a moment, which is not a test's subject.
    pub fn without_kernel(self) -> Self {
        self.tables("[kernel]\nmode = \"off\"\nflow = false\nsteer = \"off\"")
    }

    /// Lets one client have as many connections as it likes.
    pub fn without_client_bounds(self) -> Self {
        self.tables("[connections]\nper_client_max = 0\nhandshaking_per_client_max = 0")
    }

    /// Tables of the document.
    pub fn tables(mut self, toml: &str) -> Self {
        let _ = writeln!(self.tables, "{toml}");
        self
    }

    /// The same with some of its tables replaced.
    #[track_caller]
    pub fn replaced(mut self, from: &str, to: &str) -> Self {
        assert!(self.tables.contains(from), "no {from:?}");
        self.tables = self.tables.replace(from, to);
        self
    }

    /// A route of listener `web` with its keys and the URLs of its targets.
    pub fn route(mut self, id: u32, keys: &str, targets: &[&str]) -> Self {
        let _ = writeln!(self.tables, "[[route]]\nid = {id}\nlistener = \"web\"\n{keys}");
        for url in targets {
            let _ = writeln!(self.tables, "[[route.target]]\nurl = \"{url}\"");
        }
        self
    }

    /// Tables of the last route, or of its last target.
    pub fn with(self, toml: &str) -> Self {
        self.tables(toml)
    }

    /// Writes `to` where `from` stands in the document's tables.
    #[track_caller]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.tables.contains(from), "{from} is not in {}", self.tables);
        self.tables = self.tables.replace(from, to);
        self
    }

    /// How many workers.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Where the next process finds it, if not in the test's directory.
    pub fn upgrade_socket(mut self, path: impl Into<String>) -> Self {
        self.upgrade_socket = Some(path.into());
        self
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.join(name)
    }

    /// The limit of open descriptors that the process starts with.
    pub fn descriptors_max(mut self, descriptors_max: u64) -> Self {
        self.descriptors_max = Some(descriptors_max);
        self
    }

    /// The address of listener `web`, where it is not 127.0.0.1.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// A command that starts the binary, such as `setpriv` with its options; one called later starts those before.
    pub fn under<S: AsRef<str>>(mut self, command: &[S]) -> Self {
        let command = command.iter().map(|word| word.as_ref().to_owned());
        self.under = command.chain(std::mem::take(&mut self.under)).collect();
        self
    }

    /// Where listener `web` is.
    pub(crate) fn web(&self) -> SocketAddr {
        (self.address, self.web.number()).into()
    }

    /// The document.
    pub fn text(&self) -> String {
        let Self { top, keys, listener, tls, tables, workers, .. } = self;
        let (web, management) = (self.web(), self.management.address());
        let log = self.dir.join("access.log");
        let upgrade = self.upgrade_socket.clone();
        let upgrade = upgrade.unwrap_or_else(|| self.dir.join("upgrade.sock").to_string_lossy().into_owned());
        format!(
            "version = 1\nworkers = {workers}\nupgrade_socket = \"{upgrade}\"\n{top}\n\
             [management]\nlisten = [\"{management}\"]\n\n\
             [[access_log]]\nname = \"test\"\nformat = \"json\"\noutput = \"file\"\npath = \"{}\"\nflush = \"10ms\"\n\n\
             [[listener]]\nname = \"web\"\nbind = \"{web}\"\n{keys}{listener}\n{tls}\n{tables}",
            log.display()
        )
    }

    /// Starts weir with it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Weir {
        let weir = self.launch();
        weir.wait_ready();
        weir
    }

    /// Starts weir with it, and does not wait.
    #[track_caller]
    pub fn launch(self) -> Weir {
        Weir::launch(self)
    }
}
