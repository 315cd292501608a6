//! The first message of a client, read before a session exists: what it asks for decides which one that is.
//!
//! Only what that needs is looked at. Whatever is malformed is left to the session to refuse.

/// What a client asks for (RFC 8446 section 4.1.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hello {
    /// The host name, in lower case, without a final dot (RFC 6066 section 3).
    pub sni: Option<Box<str>>,
}

/// How far the message has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// More octets are needed.
    Partial,
    /// It is whole.
    Hello(Hello),
    /// It is none.
    Malformed,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// A plaintext record's longest fragment.
const FRAGMENT_MAX: usize = 1 << 14;
/// The longest hello that is waited for.
const MESSAGE_MAX: usize = 1 << 16;

/// Reads the records that a connection begins with.
pub fn read(received: &[u8]) -> Read {
    match message(received) {
        Ok(Some(body)) => hello(&body).map_or(Read::Malformed, Read::Hello),
        Ok(None) => Read::Partial,
        Err(NotOne) => Read::Malformed,
    }
}

struct NotOne;

/// The body of the first handshake message, from as many records as it takes.
fn message(received: &[u8]) -> Result<Option<Vec<u8>>, NotOne> {
    let (mut whole, mut rest) = (Vec::new(), received);
    loop {
        if let [kind, high, middle, low, body @ ..] = &whole[..] {
            let length = usize::from(*high) * 65536 + usize::from(*middle) * 256 + usize::from(*low);
            if *kind != CLIENT_HELLO || length > MESSAGE_MAX {
                return Err(NotOne);
            }
            if let Some(body) = body.get(..length) {
                return Ok(Some(body.to_vec()));
            }
        }
        match fragment(&mut rest)? {
            Some(octets) => whole.extend_from_slice(octets),
            None => return Ok(None),
        }
    }
}

/// The next record's fragment, once it is whole.
fn fragment<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, NotOne> {
    let octets = *rest;
    if octets.first().is_some_and(|&kind| kind != HANDSHAKE) || octets.get(1).is_some_and(|&major| major != 3) {
        return Err(NotOne);
    }
    let Some((&[_, _, _, high, low], after)) = octets.split_first_chunk::<5>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length == 0 || length > FRAGMENT_MAX {
        return Err(NotOne);
    }
    let Some((fragment, after)) = after.split_at_checked(length) else { return Ok(None) };
    *rest = after;
    Ok(Some(fragment))
}

fn hello(mut body: &[u8]) -> Option<Hello> {
    take(&mut body, 2 + 32)?;
    vector(&mut body, 1)?;
    vector(&mut body, 2)?;
    vector(&mut body, 1)?;
    let mut found = Hello::default();
    if body.is_empty() {
        return Some(found);
    }
    let mut extensions = vector(&mut body, 2)?;
    while !extensions.is_empty() {
        let kind = number(take(&mut extensions, 2)?);
        let value = vector(&mut extensions, 2)?;
        if kind == usize::from(SERVER_NAME) {
            found.sni = host_name(value)?;
        }
    }
    Some(found)
}

fn host_name(mut value: &[u8]) -> Option<Option<Box<str>>> {
    let mut names = vector(&mut value, 2)?;
    while !names.is_empty() {
        let kind = take(&mut names, 1)?[0];
        let name = vector(&mut names, 2)?;
        if kind == HOST_NAME {
            let name = std::str::from_utf8(name).ok()?;
            let name = name.strip_suffix('.').unwrap_or(name);
            return Some(Some(name.to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

/// A vector whose length stands before it in `width` octets.
fn vector<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = number(take(rest, width)?);
    take(rest, length)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(octets: &[u8]) -> usize {
    octets.iter().fold(0, |number, &octet| number << 8 | usize::from(octet))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixed(width: usize, octets: &[u8]) -> Vec<u8> {
        let length = octets.len().to_be_bytes();
        [&length[length.len() - width..], octets].concat()
    }

    fn records(name: Option<&[u8]>, size: usize) -> Vec<u8> {
        let names = name.map(|name| [&[HOST_NAME][..], &prefixed(2, name)].concat());
        let sni = names.map(|names| [&[0, 0][..], &prefixed(2, &prefixed(2, &names))].concat()).unwrap_or_default();
        let other = [&[0, 43][..], &prefixed(2, &[2, 3, 4])].concat();
        let extensions = prefixed(2, &[other, sni].concat());
        let body = [&[3; 34][..], &prefixed(1, &[7; 32]), &prefixed(2, &[0x13, 1]), &[1, 0], &extensions].concat();
        let message = [&[CLIENT_HELLO][..], &prefixed(3, &body)].concat();
        message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &prefixed(2, part)].concat()).collect()
    }

    #[test]
    fn name_is_read_from_any_number_of_records_once_all_are_there() {
        for size in [1, 2, 3, 7, 50, 4096] {
            let octets = records(Some(b"WWW.Example.com."), size);
            for end in 0..octets.len() {
                assert_eq!(read(&octets[..end]), Read::Partial, "{end} of {} in {size}", octets.len());
            }
            assert_eq!(read(&octets), Read::Hello(Hello { sni: Some("www.example.com".into()) }));
        }
        assert_eq!(read(&records(None, 4096)), Read::Hello(Hello::default()));
    }

    #[test]
    fn what_is_no_hello_is_told_apart_early() {
        assert_eq!(read(b"G"), Read::Malformed);
        assert_eq!(read(&[HANDSHAKE, 2]), Read::Malformed);
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 0]), Read::Malformed);
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 4, 2, 0, 0, 9]), Read::Malformed);
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 4, 1, 1, 0, 1]), Read::Malformed);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..150) {
            let mut hello = records(Some(b"a.test"), 4096);
            let at = at.min(hello.len());
            hello.splice(at.., octets.clone());
            read(&hello);
            read(&octets);
        }
    }
}
