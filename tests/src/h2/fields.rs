//! Fields of messages, and a message as one side of a stream carried it.

use super::hpack;
use crate::message::Fields;

/// The fields of a GET.
pub fn get(path: &str) -> Vec<(&str, &str)> {
    asking("GET", path)
}

/// The fields of a POST.
pub fn post(path: &str) -> Vec<(&str, &str)> {
    asking("POST", path)
}

fn asking<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
}

/// What one side of a stream has carried so far.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The head: the fields of its first block that is not interim.
    pub fields: Fields,
    /// The heads of interim responses before it.
    pub interim: Vec<Fields>,
    /// What DATA held, without padding.
    pub body: Vec<u8>,
    /// The fields of the block after DATA.
    pub trailers: Fields,
    /// Whether END_STREAM has come.
    pub ended: bool,
    /// The code of an RST_STREAM.
    pub reset: Option<u32>,
}

impl Message {
    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    /// Whether its head is here.
    pub fn has_head(&self) -> bool {
        !self.fields.0.is_empty()
    }

    /// `:status`; 0 without one.
    pub fn status(&self) -> u16 {
        self.fields.first(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Takes a block in: an interim head, the head, or trailers.
    pub(super) fn block(&mut self, fields: Vec<hpack::Field>) -> Result<(), String> {
        let fields = checked(fields)?;
        let interim = fields.first(":status").is_some_and(|status| status.starts_with('1'));
        match (self.has_head(), interim) {
            (false, true) => self.interim.push(fields),
            (false, false) => self.fields = fields,
            (true, _) if fields.0.iter().any(|(name, _)| name.starts_with(':')) => {
                return Err(format!("pseudo-header fields in trailers: {fields:?}"));
            }
            (true, _) => self.trailers = fields,
        }
        Ok(())
    }
}

/// Fields that follow RFC 9113 8.2 and 8.3: lower case, no connection's own, pseudo-headers first.
fn checked(fields: Vec<hpack::Field>) -> Result<Fields, String> {
    const FORBIDDEN: [&str; 5] = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];
    let text = |octets| String::from_utf8(octets).map_err(|e| format!("a field that is no text: {e}"));
    let (mut read, mut regular) = (Fields::default(), false);
    for (name, value) in fields {
        let (name, value) = (text(name)?, text(value)?);
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        let bare = name.strip_prefix(':');
        if !is_name(bare.unwrap_or(&name)) || name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("field name {name:?}"));
        }
        if FORBIDDEN.contains(&name.as_str()) || (name == "te" && value != "trailers") {
            return Err(format!("a field of connections: {name}: {value}"));
        }
        if bare.is_some() && regular {
            return Err(format!("{name} after regular fields"));
        }
        if value.contains(['\0', '\r', '\n']) || value.trim_matches([' ', '\t']) != value {
            return Err(format!("the value of {name}: {value:?}"));
        }
        regular |= bare.is_none();
        read.0.push((name, value));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Message, String> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let mut message = Message::default();
        message.block(fields.collect()).map(|()| message)
    }

    #[test]
    fn a_head_is_read_and_a_broken_one_is_not() {
        assert_eq!(read(&[(":status", "200"), ("a", "b")]).map(|message| message.status()), Ok(200));
        for broken in [("A", "b"), ("connection", "close"), ("te", "gzip"), ("a", " b"), ("a:b", "c")] {
            assert!(read(&[(":status", "200"), broken]).is_err(), "{broken:?}");
        }
        assert!(read(&[("a", "b"), (":status", "200")]).is_err());
    }
}
