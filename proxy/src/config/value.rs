//! Values of keys that are more than a number or a text: addresses, statuses, keys of balancing, secrets, edits.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::format::{Format, FromText, Node, wrong_type};
use super::problem::Code;
use super::reader::{Reader, Spot};

mod destination;
mod host;
mod key_part;
mod matching;
mod moment;
mod peer;
mod word;

pub use super::number::Ceiling;
pub use destination::Destination;
pub use host::HostPattern;
pub(crate) use host::authority;
pub use key_part::KeyPart;
pub use matching::{Expression, Matching};
pub(crate) use matching::{Named, Tree};
pub use moment::Moment;
pub use peer::PeerNet;
pub use word::*;

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Bind {
    /// An address and port; port 0: the kernel's choice.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// Octets a socket file's path may have: `sun_path` without its final NUL (unix(7)).
const UNIX_PATH_MAX: usize = 107;

impl FromText for Bind {
    const KIND: &'static str = "an address and port such as \"0.0.0.0:80\", or \"unix:/path\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| format!("must be {}", Self::KIND));
        };
        match Path::new(path).is_absolute() && path.len() <= UNIX_PATH_MAX && !path.contains('\0') {
            true => Ok(Self::Unix(path.into())),
            false => Err(format!("must have an absolute path of at most {UNIX_PATH_MAX} octets after \"unix:\"")),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address, or none.
pub struct AddressOrNone;

impl Format for AddressOrNone {
    type Out = Option<SocketAddr>;

    fn kind() -> String {
        format!("{}, or \"\" for none", SocketAddr::KIND)
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        match node.as_str() {
            Some("") => Some(None),
            _ => SocketAddr::read(node, spot, reader).map(Some),
        }
    }
}

/// The path of a Unix socket, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketPath(pub Option<PathBuf>);

impl FromText for SocketPath {
    const KIND: &'static str = "the absolute path of a socket, or \"\" for none";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self(None)),
            _ if Path::new(text).is_absolute() && text.len() <= UNIX_PATH_MAX && !text.contains('\0') => {
                Ok(Self(Some(text.into())))
            }
            _ => Err(format!("must be an absolute path of at most {UNIX_PATH_MAX} octets, or \"\"")),
        }
    }
}

/// Statuses from one to another: `404`, `5xx`, `200-399`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StatusRange {
    /// First.
    pub low: u16,
    /// Last.
    pub high: u16,
}

impl StatusRange {
    /// Whether it holds `status`.
    pub fn contains(self, status: u16) -> bool {
        self.all().contains(&status)
    }

    /// The statuses it holds.
    pub fn all(self) -> RangeInclusive<u16> {
        self.low..=self.high
    }
}

impl FromText for StatusRange {
    const KIND: &'static str = "a status such as \"404\", a class such as \"5xx\" or a range such as \"200-399\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let status =
            |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status) && text.len() == 3);
        let class =
            || text.strip_suffix("xx").and_then(|class| status(&format!("{class}00"))).map(|low| (low, low + 99));
        let range = || text.split_once('-').and_then(|(low, high)| Some((status(low)?, status(high)?)));
        let found = status(text).map(|one| (one, one)).or_else(class).or_else(range);
        match found.filter(|(low, high)| low <= high) {
            Some((low, high)) => Ok(Self { low, high }),
            None => Err(format!("must be {}", Self::KIND)),
        }
    }
}

/// What of a request chooses the same endpoint, or the same side of a split, again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The request's path.
    Path,
    /// The path and the query.
    Uri,
    /// The host.
    Host,
    /// A header field's value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// A query key's value.
    Query(String),
}

impl FromText for HashKey {
    const KIND: &'static str = "client_ip, path, uri, host, header:NAME, cookie:NAME or query:NAME";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            None if text == "client_ip" => Self::ClientIp,
            None if text == "path" => Self::Path,
            None if text == "uri" => Self::Uri,
            None if text == "host" => Self::Host,
            Some(("header", name)) if is_token(name) => Self::Header(name.to_ascii_lowercase()),
            Some(("cookie", name)) if is_token(name) => Self::Cookie(name.to_owned()),
            Some(("query", name)) if !name.is_empty() => Self::Query(name.to_owned()),
            _ => return Err(format!("must be {}", Self::KIND)),
        })
    }
}

/// What chooses the side of a split.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SplitKey {
    /// Chance, for each request anew.
    Random,
    /// The client's address, a header's or a cookie's value.
    Of(HashKey),
}

impl FromText for SplitKey {
    const KIND: &'static str = "random, client_ip, cookie:NAME or header:NAME";

    fn from_text(text: &str) -> Result<Self, String> {
        match HashKey::from_text(text) {
            _ if text == "random" => Ok(Self::Random),
            Ok(key @ (HashKey::ClientIp | HashKey::Cookie(_) | HashKey::Header(_))) => Ok(Self::Of(key)),
            _ => Err(format!("must be {}", Self::KIND)),
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The Host that an upstream sees.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum UpstreamHost {
    /// The target's authority.
    Target,
    /// The request's own.
    Preserve,
    /// This one.
    Set(String),
}

impl FromText for UpstreamHost {
    const KIND: &'static str = "target, preserve or set:NAME";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "target" => Ok(Self::Target),
            "preserve" => Ok(Self::Preserve),
            _ => match text.strip_prefix("set:").filter(|name| !name.is_empty()) {
                Some(name) => Ok(Self::Set(name.to_owned())),
                None => Err(format!("must be {}", Self::KIND)),
            },
        }
    }
}

/// Where a secret is kept; the document never holds one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Secret {
    /// In a file, without its final line break.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl Format for Secret {
    type Out = Self;

    fn kind() -> String {
        "a secret's place: {file = \"/path\"} or {env = \"NAME\"}".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self> {
        if node.as_str().is_some() {
            // The value is not repeated: messages reach logs.
            reader.report(
                spot,
                Code::SecretInline,
                "holds a secret itself; it must be {file = \"/path\"} or {env = \"NAME\"}",
            );
            return None;
        }
        let Some(table) = node.as_table() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        let place = |key: &str| table.get(key).and_then(|item| item.as_str()).filter(|text| !text.is_empty());
        match (table.len(), place("file"), place("env")) {
            (1, Some(file), None) => Some(Self::File(file.into())),
            (1, None, Some(name)) => Some(Self::Env(name.to_owned())),
            _ => {
                reader.report(spot, Code::Invalid, &format!("must be {}", Self::kind()));
                None
            }
        }
    }
}

/// A name server's address.
pub struct NameServer;

impl Format for NameServer {
    type Out = SocketAddr;

    fn kind() -> String {
        "a name server such as \"192.0.2.53\" or \"192.0.2.53:53\"".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<SocketAddr> {
        let Some(text) = node.as_str() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        let bare = || text.parse::<std::net::IpAddr>().ok().map(|address| SocketAddr::new(address, 53));
        let server = text.parse().ok().or_else(bare);
        if server.is_none() {
            reader.report(spot, Code::Invalid, &format!("= {} must be {}", node.written(reader.text()), Self::kind()));
        }
        server
    }
}

/// A hostname, or all below one; lower case, without a final dot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum NamePattern {
    /// This one.
    Exact(String),
    /// Every name below this one.
    Below(String),
}

impl FromText for NamePattern {
    const KIND: &'static str = "a hostname such as \"api.example.com\" or \"*.example.com\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match (is_hostname(&name), below) {
            (true, false) => Ok(Self::Exact(name)),
            (true, true) => Ok(Self::Below(name)),
            (false, _) => Err(format!("must be {}", Self::KIND)),
        }
    }
}

/// Letters, digits, `-` and `_` in labels of 1 to 63 octets, 253 in all (RFC 1123 section 2.1, RFC 1035 section 2.3.4).
fn is_hostname(name: &str) -> bool {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.len() <= 253 && name.split('.').all(|label| matches!(label.len(), 1..=63) && label.bytes().all(in_label))
}

/// A header field's value, or several: a line each.
pub struct FieldValues;

impl Format for FieldValues {
    type Out = Vec<String>;

    fn kind() -> String {
        "a string, or a list of strings for several lines".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Vec<String>> {
        super::format::OneOrList::<super::text::Text>::read(node, spot, reader)
    }
}
