//! Accept-Encoding: which of our codings a client likes best (RFC 9110 section 12.5.3).

use crate::base::metric::Coding;

/// A weight in thousandths.
type Weight = u16;

/// The offered coding that the client weighs highest, the first of equals; none if it would rather have the content as
/// it is, or names none of them. `values` are those of all its Accept-Encoding lines.
pub(super) fn choose<'a>(values: impl Iterator<Item = &'a [u8]>, offered: &[Coding]) -> Option<Coding> {
    let wishes = Wishes::read(values);
    let (best, weight) = offered.iter().fold((None, 0), |(best, most), &coding| match wishes.weight(coding) {
        weight if weight > most => (Some(coding), weight),
        _ => (best, most),
    });
    // Not named, identity is acceptable, but less welcome than whatever is named.
    best.filter(|_| wishes.identity.or(wishes.any).unwrap_or(0) <= weight)
}

/// What the lines say, each name once.
#[derive(Default)]
struct Wishes {
    codings: [Option<Weight>; Coding::COUNT],
    identity: Option<Weight>,
    /// `*`: whatever is not named.
    any: Option<Weight>,
}

impl Wishes {
    fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut wishes = Self::default();
        for element in values.flat_map(|value| value.split(|&octet| octet == b',')) {
            if let Some((name, weight)) = weighed(element)
                && let Some(wish) = wishes.named(name)
            {
                // Whoever refuses a coding in one place refuses it.
                *wish = Some(wish.map_or(weight, |before| before.min(weight)));
            }
        }
        wishes
    }

    fn named(&mut self, name: &[u8]) -> Option<&mut Option<Weight>> {
        let is = |token: &str| name.eq_ignore_ascii_case(token.as_bytes());
        if is("*") {
            return Some(&mut self.any);
        }
        if is("identity") {
            return Some(&mut self.identity);
        }
        // RFC 9110 section 8.4.1.3: a recipient treats x-gzip as gzip.
        let coding = if is("x-gzip") { Some(Coding::Gzip) } else { None };
        let coding = coding.or_else(|| Coding::ALL.iter().copied().find(|coding| is(coding.token())))?;
        Some(&mut self.codings[coding as usize])
    }

    fn weight(&self, coding: Coding) -> Weight {
        self.codings[coding as usize].or(self.any).unwrap_or(0)
    }
}

/// A name and its weight; none if the element makes no sense.
fn weighed(element: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = element.split(|&octet| octet == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    match (parts.next(), parts.next()) {
        (None, _) => Some((name, 1000)),
        (Some([b'q' | b'Q', b'=', weight @ ..]), None) => Some((name, quality(weight)?)),
        _ => None,
    }
}

/// `qvalue` of RFC 9110 section 12.4.2: 0 to 1, at most three decimals.
fn quality(text: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match text {
        [whole] => (*whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let digits = decimals.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let mut digits = digits.map(|digit| digit.is_ascii_digit().then(|| Weight::from(digit - b'0')));
    let thousandths = digits.try_fold(0, |sum, digit| Some(sum * 10 + digit?))?;
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    fn chosen(lines: &[&str]) -> Option<Coding> {
        choose(lines.iter().map(|line| line.as_bytes()), &ALL)
    }

    #[test]
    fn weights_come_before_the_order_of_the_list() {
        assert_eq!(chosen(&["gzip, deflate, br, zstd"]), Some(Coding::Zstd));
        assert_eq!(chosen(&["gzip, br;q=0.9"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["gzip;q=0.5", "br;q=0.501"]), Some(Coding::Br));
        assert_eq!(chosen(&["GZip;Q=1.000"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["x-gzip"]), Some(Coding::Gzip));
        assert_eq!(choose([b"gzip, br, zstd".as_slice()].into_iter(), &[Coding::Br, Coding::Gzip]), Some(Coding::Br));
    }

    #[test]
    fn a_star_stands_for_what_is_not_named() {
        assert_eq!(chosen(&["*"]), Some(Coding::Zstd));
        assert_eq!(chosen(&["zstd;q=0, *"]), Some(Coding::Br));
        assert_eq!(chosen(&["*;q=0"]), None);
        assert_eq!(chosen(&["*;q=0, gzip;q=0.1"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["gzip;q=0.5, *;q=0.2"]), Some(Coding::Gzip));
    }

    #[test]
    fn identity_wins_only_where_it_is_preferred() {
        assert_eq!(chosen(&["identity"]), None);
        assert_eq!(chosen(&["identity;q=1, gzip;q=0.5"]), None);
        assert_eq!(chosen(&["identity;q=0.5, gzip;q=0.5"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["identity;q=0, gzip"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["identity;q=0"]), None);
        assert_eq!(chosen(&["identity;q=0, *;q=0.001"]), Some(Coding::Zstd));
    }

    #[test]
    fn nothing_said_is_nothing_coded() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[""]), None);
        assert_eq!(chosen(&["deflate, compress"]), None);
        assert_eq!(choose([b"gzip".as_slice()].into_iter(), &[]), None);
    }

    #[test]
    fn what_makes_no_sense_counts_for_nothing() {
        for line in [
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q=-1",
            "gzip;q=.5",
            "gzip;q=1;q=1",
            "gzip;x=1",
            "gzip;",
            ";q=1",
            "gzip;q=0.x",
            "gzip;q=1.",
            "\u{fffd}gzip",
            "gzip q=1",
            "gzip;q=nan",
            "gzip;;q=1",
        ] {
            // A point without decimals is within the grammar.
            let expected = if line == "gzip;q=1." { Some(Coding::Gzip) } else { None };
            assert_eq!(chosen(&[line]), expected, "{line}");
            assert!(chosen(&[line, "br"]).is_some(), "{line} leaves the rest alone");
        }
        assert_eq!(chosen(&[" ,, gzip \t;\t q=0.5 ,"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["gzip;q=0, gzip"]), None, "a refusal stays one");
    }

    #[test]
    fn a_long_line_is_read_once() {
        let line = format!("{}gzip;q=0.3", "br;q=0,".repeat(100_000));
        assert_eq!(chosen(&[&line]), Some(Coding::Gzip));
    }
}
