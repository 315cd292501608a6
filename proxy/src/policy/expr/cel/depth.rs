//! How deep an expression nests, told from its octets alone, before anything recursive reads it.
//!
//! A level is a bracket, an operator that applies to what an operator made (`a.b.c`, `!!a`, `1 + 2 + 3`), or a further
//! `? :`. Terms of `&&` and `||` stand beside each other: the parser balances them. The count is never below what the
//! parser's tree has.

use super::Fault;

/// Levels that an expression may have.
pub(super) const DEPTH_MAX: usize = 32;

/// Refuses an expression that nests too deep, at the octet that is one level too deep.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let octets = text.as_bytes();
    let mut levels = vec![Level::default()];
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        let length = token_length(&octets[at..]);
        let token = &octets[at..at + length];
        match octet {
            b'(' | b'[' | b'{' => {
                let base = depth(&levels) + 1;
                levels.push(Level { base, ..Level::default() });
            }
            b')' | b']' | b'}' => {
                if levels.len() > 1 {
                    levels.pop();
                }
                // What `a[0][0]` indexes is what an index made.
                operator(&mut levels, usize::from(octet == b']'));
            }
            b',' => {
                levels.last_mut().into_iter().for_each(|level| *level = Level { base: level.base, ..Level::default() })
            }
            b'?' => {
                levels.last_mut().into_iter().for_each(|level| level.choices += 1);
                term(&mut levels);
            }
            b':' => term(&mut levels),
            _ if token == b"&&" || token == b"||" => term(&mut levels),
            b'.' | b'!' | b'-' | b'+' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' if !token.starts_with(b"//") => {
                operator(&mut levels, 1);
            }
            _ if token == b"in" => operator(&mut levels, 1),
            _ => {}
        }
        if depth(&levels) > DEPTH_MAX {
            return Err(Fault::new(at, format!("nests more than {DEPTH_MAX} levels deep")));
        }
        at += length;
    }
    Ok(())
}

/// What stands between two brackets.
#[derive(Default)]
struct Level {
    /// Levels around it.
    base: usize,
    choices: usize,
    /// Operators since the last term began.
    operators: usize,
}

fn depth(levels: &[Level]) -> usize {
    levels.last().map_or(0, |level| level.base + level.choices + level.operators)
}

fn operator(levels: &mut [Level], count: usize) {
    levels.last_mut().into_iter().for_each(|level| level.operators += count);
}

fn term(levels: &mut [Level]) {
    levels.last_mut().into_iter().for_each(|level| level.operators = 0);
}

/// Octets of the token that begins `rest`: strings, comments and words whole, anything else as the operators have it.
fn token_length(rest: &[u8]) -> usize {
    let word = rest.iter().take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'_').count();
    let prefix = if rest[..word].iter().all(|octet| b"rRbB".contains(octet)) { word } else { 0 };
    if let Some(quote) = rest.get(prefix).filter(|octet| matches!(octet, b'\'' | b'"')) {
        let raw = rest[..prefix].iter().any(|octet| b"rR".contains(octet));
        return prefix + string_length(&rest[prefix..], *quote, raw);
    }
    if word > 0 {
        return word;
    }
    if rest.starts_with(b"//") {
        return memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }
    let pairs: [&[u8]; 6] = [b"&&", b"||", b"==", b"!=", b"<=", b">="];
    if pairs.iter().any(|pair| rest.starts_with(pair)) { 2 } else { 1 }
}

fn string_length(rest: &[u8], quote: u8, raw: bool) -> usize {
    let triple = [quote; 3];
    let closing = if rest.starts_with(&triple) { &triple[..] } else { &triple[..1] };
    let mut at = closing.len();
    while at < rest.len() && !rest[at..].starts_with(closing) {
        at += if rest[at] == b'\\' && !raw { 2 } else { 1 };
    }
    (at + closing.len()).min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(text: &str) -> Option<usize> {
        check(text).err().map(|fault| fault.offset)
    }

    #[test]
    fn level_after_the_last_allowed_one_is_told() {
        let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
        assert_eq!(offset(&nested(DEPTH_MAX)), None);
        assert_eq!(offset(&nested(DEPTH_MAX + 1)), Some(DEPTH_MAX));
        for part in ["!", "-", "(", "[", "{"] {
            assert_eq!(offset(&part.repeat(4096)), Some(DEPTH_MAX), "{part}");
        }
        for part in ["a.", "a+", "a<", "a in ", "a?b:", "a?", "f(", "a[0]", "a[", "[a]", "(a).", "!(", "{a:", "-1-"] {
            let at = offset(&part.repeat(4096 / part.len()));
            assert!(at.is_some_and(|at| at < 60 * part.len()), "{part}: {at:?}");
        }
    }

    #[test]
    fn terms_beside_each_other_are_not_deep() {
        let long = vec!["host.contains('a' ) && !(path == \"/(((\" || port in [1, 2])"; 60].join(" || ");
        assert_eq!(offset(&long), None);
        let strings = ["'('", "\"[[\\\"(\"", "'''((' ((('''", "r'\\'", "b\"(\"", "// (((((\ntrue"];
        for string in strings {
            assert_eq!(offset(&vec![string; 100].join(" || ")), None, "{string}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_measured(text in "[-!a().'\"\\\\?:,&|<in /\n\\[\\]{}\u{e9}]{0,200}") {
            let _ = check(&text);
        }
    }
}
