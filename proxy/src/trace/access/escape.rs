//! Octets a peer chose, spelled so that a line stays one line and a terminal or a parser stays inert.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// As nginx escapes log variables: `"`, `\`, control octets and everything from 0x7F up as `\xHH`.
pub(super) fn text(out: &mut Vec<u8>, octets: &[u8]) {
    let mut rest = octets;
    while let Some(at) = rest.iter().position(|&b| needs_hex(b)) {
        let octet = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

const fn needs_hex(octet: u8) -> bool {
    octet < 0x20 || octet >= 0x7f || octet == b'"' || octet == b'\\'
}

/// The inside of a JSON string (RFC 8259 section 7): bad UTF-8 becomes U+FFFD, control characters, C1 and line
/// separators included, become `\uXXXX`.
pub(super) fn json(out: &mut Vec<u8>, octets: &[u8]) {
    for chunk in octets.utf8_chunks() {
        json_text(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn json_text(out: &mut Vec<u8>, text: &str) {
    let mut from = 0;
    for (at, character) in text.char_indices().filter(|&(_, c)| needs_escape(c)) {
        out.extend_from_slice(&text.as_bytes()[from..at]);
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            _ => unicode_escape(out, character),
        }
        from = at + character.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
}

const fn needs_escape(character: char) -> bool {
    matches!(character, '\0'..='\x1f' | '"' | '\\' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

fn unicode_escape(out: &mut Vec<u8>, character: char) {
    let code = character as u32;
    out.extend_from_slice(b"\\u");
    out.extend((0..4).rev().map(|nibble| HEX[(code >> (4 * nibble) & 15) as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_octets_become_a_json_string_that_reads_back() {
        let all: Vec<u8> = (0..=255).chain("é\u{2028}\u{85}<img>".bytes()).collect();
        let mut out = b"\"".to_vec();
        json(&mut out, &all);
        out.push(b'"');
        let back: String = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(back, String::from_utf8_lossy(&all));
        assert!(out.iter().all(|&b| b >= 0x20 && b != 0x7f));
    }

    #[test]
    fn text_holds_printable_ascii_only() {
        let mut out = Vec::new();
        text(&mut out, b"a\"b\\c\n\x1b[0m\xff");
        assert_eq!(out, br"a\x22b\x5Cc\x0A\x1B[0m\xFF");
    }
}
