//! What is read from databases of a few networks.

#[expect(unreachable_pub, reason = "the end-to-end tests write databases with it too")]
#[path = "../../../../tests/src/mmdb.rs"]
mod mmdb;

use std::net::IpAddr;

use self::mmdb::{Data, country, database};
use super::*;

/// Countries of a few networks, as octets.
pub(crate) fn country_octets() -> Vec<u8> {
    let registered = Data::Map(vec![("registered_country", Data::Map(vec![("iso_code", Data::Text("SE"))]))]);
    let other = Data::Map(vec![("city", Data::Text("x"))]);
    let networks = [
        ("192.0.2.0/24", country("NL")),
        ("2001:db8::/32", country("DE")),
        ("198.51.100.0/25", registered),
        ("198.51.100.128/25", other),
        ("10.0.0.0/8", country("bad")),
    ];
    database("GeoLite2-Country", &networks)
}

pub(crate) fn countries() -> Database {
    Database::from_source(country_octets()).unwrap()
}

pub(crate) fn networks() -> Database {
    let number = Data::Map(vec![("autonomous_system_number", Data::U32(64_500))]);
    Database::from_source(database("GeoLite2-ASN", &[("192.0.2.0/24", number)])).unwrap()
}

#[test]
fn addresses_are_found_in_their_networks() {
    let geoip = GeoIp { countries: Some(countries().into()), networks: Some(networks().into()) };
    for (address, country, asn) in [
        ("192.0.2.0", "NL", 64_500),
        ("192.0.2.255", "NL", 64_500),
        ("192.0.3.0", "ZZ", 0),
        ("2001:db8:1::", "DE", 0),
        ("2001:db9::", "ZZ", 0),
        ("198.51.100.1", "SE", 0),
        ("198.51.100.129", "ZZ", 0),
        ("10.0.0.1", "ZZ", 0),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!((geoip.country(address).as_str(), geoip.asn(address)), (country, asn), "{address}");
    }
    let none = GeoIp::default();
    assert_eq!((none.country([192, 0, 2, 1].into()), none.asn([192, 0, 2, 1].into())), (Country::UNKNOWN, 0));
}

#[test]
fn octets_that_are_cut_or_changed_answer_or_are_refused_but_never_panic() {
    let octets = country_octets();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..4000 {
        let mut octets = octets.clone();
        match round % 2 {
            0 => octets.truncate(random.usize(..octets.len())),
            _ => (0..random.usize(1..8)).for_each(|_| {
                let at = random.usize(..octets.len());
                octets[at] = random.u8(..);
            }),
        }
        if let Ok(database) = Database::from_source(octets) {
            let geoip = GeoIp { countries: Some(database.into()), networks: None };
            for _ in 0..20 {
                geoip.country(IpAddr::from(random.u32(..).to_be_bytes()));
                geoip.country(IpAddr::from(random.u128(..).to_be_bytes()));
            }
            geoip.country([192, 0, 2, 1].into());
        }
    }
}
