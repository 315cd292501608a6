//! `hash_ketama`: the ring of nginx's `hash .. consistent`, point for point, so that both send a key to the same server.

/// Points per unit of weight, as in nginx.
const POINTS_PER_WEIGHT: u128 = 160;
/// Points of a ring.
const POINTS_MAX: u128 = 1 << 20;

/// Sorted points.
#[derive(Debug)]
pub struct Ring {
    points: Vec<(u32, u16)>,
}

impl Ring {
    /// The ring of `(name, weight)`, by index.
    pub(super) fn build(members: &[(String, u128)]) -> Self {
        let counts = counts(members);
        let mut points = Vec::with_capacity(counts.iter().sum());
        for (at, ((name, _), count)) in members.iter().zip(counts).enumerate() {
            points.extend(server_points(name, count).map(|hash| (hash, at as u16)));
        }
        // nginx keeps one of equal points; which one its sort leaves to chance, here it is the first member's.
        points.sort_unstable();
        points.dedup_by_key(|point| point.0);
        Self { points }
    }

    /// The member at the first point not below the key's hash that is admitted.
    pub(super) fn find(&self, key: &[u8], admits: impl Fn(usize) -> bool) -> Option<usize> {
        let hash = crc32fast::hash(key);
        let start = self.points.partition_point(|point| point.0 < hash);
        let (before, after) = self.points.split_at(start);
        // A stretch of one member's points is asked about once.
        let mut refused = None;
        after.iter().chain(before).map(|point| usize::from(point.1)).find(|&member| {
            if refused == Some(member) {
                return false;
            }
            refused = Some(member);
            admits(member)
        })
    }
}

/// Points by weight; scaled down alike, but never to nothing, where the ring would pass its size.
fn counts(members: &[(String, u128)]) -> Vec<usize> {
    let total: f64 = members.iter().map(|member| member.1 as f64).sum();
    let fits = total * POINTS_PER_WEIGHT as f64 <= POINTS_MAX as f64;
    let count = |weight: u128| {
        if fits { weight * POINTS_PER_WEIGHT } else { ((weight as f64 / total * POINTS_MAX as f64) as u128).max(1) }
    };
    members.iter().map(|member| count(member.1) as usize).collect()
}

/// Each point is the CRC of host, NUL, port and the point before it, little endian; before the first stands zero.
fn server_points(name: &str, count: usize) -> impl Iterator<Item = u32> {
    let mut base = crc32fast::Hasher::new();
    let (host, port) = split_port(name);
    base.update(host.as_bytes());
    base.update(&[0]);
    base.update(port.as_bytes());
    let mut previous = 0u32;
    (0..count).map(move |_| {
        let mut hasher = base.clone();
        hasher.update(&previous.to_le_bytes());
        previous = hasher.finalize();
        previous
    })
}

/// The port is what follows the last colon, if that is all digits.
fn split_port(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(members: &[(&str, u128)]) -> Ring {
        Ring::build(&members.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect::<Vec<_>>())
    }

    #[test]
    fn a_point_is_the_checksum_of_name_and_point_before() {
        let crc = |bytes: &[u8]| crc32fast::hash(bytes);
        let first = crc(b"10.0.0.1\x0080\0\0\0\0");
        let second = crc(&[b"10.0.0.1\x0080".as_slice(), &first.to_le_bytes()].concat());
        assert_eq!(server_points("10.0.0.1:80", 2).collect::<Vec<_>>(), [first, second]);
        assert_eq!(server_points("a.test", 1).next(), Some(crc(b"a.test\0\0\0\0\0")));
    }

    #[test]
    fn ring_agrees_with_a_linear_scan() {
        let (names, mut rng) = (["a:1", "b:2", "c:3", "d"], fastrand::Rng::with_seed(10));
        for _ in 0..300 {
            let weights: Vec<u128> = names.iter().map(|_| u128::from(rng.u32(1..4))).collect();
            let admitted: Vec<bool> = names.iter().map(|_| rng.bool()).collect();
            let members: Vec<_> = names.into_iter().zip(weights.iter().copied()).collect();
            let key = rng.u64(..).to_string();
            let from = crc32fast::hash(key.as_bytes());
            // Oracle: of all admitted points the one least far ahead of the key.
            let points = members.iter().enumerate().filter(|(at, _)| admitted[*at]).flat_map(|(at, (name, weight))| {
                server_points(name, *weight as usize * 160).map(move |point| (point.wrapping_sub(from), at))
            });
            let expected = points.min().map(|(_, at)| at);
            assert_eq!(ring(&members).find(key.as_bytes(), |at| admitted[at]), expected);
        }
    }

    #[test]
    fn an_ill_member_moves_only_its_own_keys() {
        let ring = ring(&[("a:1", 1), ("b:2", 1), ("c:3", 2)]);
        for key in 0..2_000u32 {
            let key = key.to_string();
            let well = ring.find(key.as_bytes(), |_| true).unwrap();
            let ill = ring.find(key.as_bytes(), |at| at != 1).unwrap();
            assert!(ill != 1 && (well == 1 || well == ill));
        }
    }

    #[test]
    fn a_ring_has_a_size() {
        let big = ring(&[("a:1", 999_983), ("b:2", 1)]);
        assert!(big.points.len() <= POINTS_MAX as usize + 2);
        assert!(big.find(b"x", |at| at == 1).is_some(), "the light one is there");
    }
}
