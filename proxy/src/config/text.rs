//! Texts: plain ones, names, paths, and those a default is made up for.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::format::{Format, FromText, Node, wrong_type};
use super::number::within;
use super::reader::{Reader, Spot};

/// A text; a row's bounds are those of its length in octets.
pub struct Text;

impl Format for Text {
    type Out = String;

    fn kind() -> String {
        "a string".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<String> {
        let Some(text) = node.as_str() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        if let Some(range) = spot.key.range.filter(|range| !range.contains(text.len() as i128)) {
            let message = format!("is {} octets long; allowed: {}", text.len(), range.words());
            reader.report(spot, super::Code::OutOfRange, &message);
            return None;
        }
        Some(text.to_owned())
    }
}

/// A name that other parts of the document and the API use.
pub struct Name;

const NAME_KIND: &str = "a name: a letter or digit, then up to 63 letters, digits, `.`, `_`, `-`";

impl Format for Name {
    type Out = String;

    fn kind() -> String {
        NAME_KIND.to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<String> {
        let Some(text) = node.as_str() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        if is_name(text) {
            return Some(text.to_owned());
        }
        let message = format!("= {} must be {NAME_KIND}", node.written(reader.text()));
        reader.report(spot, super::Code::Invalid, &message);
        None
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A format with the words for its absence, and the value it then has.
macro_rules! made_up {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty), $words:literal, $absent:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl Format for $name {
            type Out = <$inner as Format>::Out;
            const RANGE: Option<super::table::Range> = <$inner as Format>::RANGE;
            const ABSENT: Option<&'static str> = Some($words);

            fn kind() -> String {
                <$inner as Format>::kind()
            }

            fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
                <$inner as Format>::read(node, spot, reader)
            }

            fn absent(spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
                let absent: fn(Spot<'_>, &mut Reader) -> Self::Out = $absent;
                Some(absent(spot, reader))
            }
        }
    )+};
}

made_up! {
    /// A route's id; absent, the highest so far and one.
    RouteId(u32), "the highest id and 1, in document order", |_, reader| reader.take_route_id();
    /// A route's name; filled in when its id is known.
    RouteName(Name), "`route-ID`", |_, _| String::new();
    /// A target's name.
    TargetName(Name), "`target-N`, N from 1 in document order", |spot, _| format!("target-{}", spot.at.index() + 1);
    /// A target's place in its route.
    TargetPosition(i32), "its index in the document, from 0", |spot, _| i32::try_from(spot.at.index()).unwrap_or(i32::MAX);
}

impl FromText for PathBuf {
    const KIND: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.is_empty() || text.contains('\0') {
            true => Err("is not a path".to_owned()),
            false => Ok(Self::from(text)),
        }
    }
}

impl FromText for SocketAddr {
    const KIND: &'static str = "an address and port such as \"127.0.0.1:9900\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("must be {}", Self::KIND))
    }
}

impl FromText for IpNet {
    const KIND: &'static str = "an address or CIDR such as \"10.0.0.0/8\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let address = || text.parse::<IpAddr>().map(Self::from);
        text.parse::<Self>().or_else(|_| address()).map_err(|_| format!("must be {}", Self::KIND))
    }
}

/// A file's permission bits as a string of octal digits.
pub struct Mode;

impl Format for Mode {
    type Out = u32;

    fn kind() -> String {
        "octal permissions such as \"0660\"".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<u32> {
        let Some(text) = node.as_str() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        if mode.is_none() {
            reader.report(
                spot,
                super::Code::Invalid,
                &format!("= {} must be {}", node.written(reader.text()), Self::kind()),
            );
        }
        mode
    }
}

/// A status of a fixed set.
pub struct RedirectStatus;

impl Format for RedirectStatus {
    type Out = u16;

    fn kind() -> String {
        "301, 302, 307 or 308".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<u16> {
        let Some(n) = node.as_integer() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        if !matches!(n, 301 | 302 | 307 | 308) {
            let message = format!("= {n} is out of range; allowed: {}", Self::kind());
            reader.report(spot, super::Code::OutOfRange, &message);
            return None;
        }
        u16::try_from(within(n.into(), node, spot, reader)?).ok()
    }
}
