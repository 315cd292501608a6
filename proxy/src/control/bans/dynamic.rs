//! The bans that the API made: no clock, no file. One for each CIDR.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::bans::Clock;
use crate::policy::ban::{Ban, DYNAMIC_MAX, Origin, Table};

/// One of them. Times are unix seconds, which outlive the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::control) struct Own {
    pub(in crate::control) cidr: IpNet,
    pub(in crate::control) reason: Arc<str>,
    pub(in crate::control) made: u64,
    pub(in crate::control) expires: Option<u64>,
}

/// All of them, by address.
#[derive(Clone, Default, Debug)]
pub(super) struct Dynamic(BTreeMap<IpNet, Own>);

/// There are as many as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::control) struct Full;

impl Dynamic {
    /// Adds one, or puts it in the place of the one of the same CIDR.
    pub(super) fn put(&mut self, own: Own) -> Result<(), Full> {
        if self.0.len() >= DYNAMIC_MAX && !self.0.contains_key(&own.cidr) {
            return Err(Full);
        }
        self.0.insert(own.cidr, own);
        Ok(())
    }

    pub(super) fn remove(&mut self, cidr: IpNet) -> Option<Own> {
        self.0.remove(&cidr)
    }

    /// Drops those whose time is over. Whether there were any.
    pub(super) fn expire(&mut self, unix_s: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|_, own| own.expires.is_none_or(|expires| unix_s < expires));
        self.0.len() < before
    }

    pub(super) fn get(&self, cidr: IpNet) -> Option<&Own> {
        self.0.get(&cidr)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Own> {
        self.0.values()
    }

    pub(super) fn table(&self, clock: Clock) -> Table {
        let ban = |own: &Own| Ban {
            rule: own.cidr.to_string().into(),
            reason: Arc::clone(&own.reason),
            expires: own.expires.map(|unix_s| clock.at(unix_s)),
            origin: Origin::Api,
        };
        let bans = self.0.values().map(ban).collect();
        Table::build(bans, self.0.keys().copied().zip(0..))
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let kept = Kept { version: VERSION, bans: self.0.values().map(Row::of).collect() };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(super) fn from_json(octets: &[u8]) -> Result<Self, String> {
        let kept: Kept = serde_json::from_slice(octets).map_err(|error| error.to_string())?;
        if kept.version != VERSION {
            return Err(format!("version {} is not known here", kept.version));
        }
        let own = kept.bans.into_iter().take(DYNAMIC_MAX).map(|row| row.own().map(|own| (own.cidr, own)));
        own.collect::<Result<_, _>>().map(Self)
    }
}

const VERSION: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    bans: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    cidr: String,
    reason: String,
    made: u64,
    expires: Option<u64>,
}

impl Row {
    fn of(own: &Own) -> Self {
        let Own { cidr, reason, made, expires } = own;
        Self { cidr: cidr.to_string(), reason: reason.to_string(), made: *made, expires: *expires }
    }

    fn own(self) -> Result<Own, String> {
        let cidr = self.cidr.parse().map_err(|_| format!("\"{}\" is not a CIDR", self.cidr))?;
        Ok(Own { cidr, reason: self.reason.into(), made: self.made, expires: self.expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(cidr: &str, expires: Option<u64>) -> Own {
        Own { cidr: cidr.parse().expect("a CIDR"), reason: "scans".into(), made: 100, expires }
    }

    #[test]
    fn one_ban_for_each_cidr_and_no_more_than_fit() {
        let mut dynamic = Dynamic::default();
        for n in 0..u32::try_from(DYNAMIC_MAX).expect("small") {
            let cidr = IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
            assert_eq!(dynamic.put(Own { cidr, ..own("::1/128", None) }), Ok(()));
        }
        assert_eq!(dynamic.put(own("192.0.2.1/32", None)), Err(Full));
        assert_eq!(dynamic.put(own("10.0.0.0/32", Some(7))), Ok(()), "what is there may change");
        assert_eq!(dynamic.get("10.0.0.0/32".parse().expect("a CIDR")).and_then(|own| own.expires), Some(7));
        assert!(dynamic.remove("10.0.0.1/32".parse().expect("a CIDR")).is_some());
        assert_eq!(dynamic.put(own("192.0.2.1/32", None)), Ok(()));
    }

    #[test]
    fn what_is_written_is_read_and_expires() {
        let mut dynamic = Dynamic::default();
        for one in [own("192.0.2.0/24", Some(200)), own("2001:db8::/32", None), own("10.0.0.0/8", Some(300))] {
            dynamic.put(one).expect("room");
        }
        let mut read = Dynamic::from_json(&dynamic.to_json()).expect("readable");
        assert!(read.iter().eq(dynamic.iter()));
        assert!(!read.expire(199) && read.expire(200) && !read.expire(299));
        assert_eq!(read.iter().count(), 2);
        for wrong in [
            "",
            "[]",
            "{\"version\":2,\"bans\":[]}",
            "{\"version\":1,\"bans\":[{\"cidr\":\"x\",\"reason\":\"\",\"made\":1}]}",
        ] {
            assert!(Dynamic::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
