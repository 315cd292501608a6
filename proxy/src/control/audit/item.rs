//! A finding as it is kept and shown: Neuwerk's fields, and weir's own beside them.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::id::RequestId;
use crate::policy::RuleId;
use crate::policy::finding::{Action, Clients, Finding, Key, Kind, Requests};

/// Of findings among all names (RFC 9562 section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0a_0d3b_5c1e_4f6f_9a55_7765_6972_0002);

/// One finding.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Item {
    /// The same on every node and after every restart.
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) action: Action,
    pub(super) policy_id: Uuid,
    pub(super) rule: Box<str>,
    pub(super) listener: Box<str>,
    pub(super) host: Box<str>,
    pub(super) sni: Box<str>,
    pub(super) fqdn: Box<str>,
    pub(super) dst_ip: Option<IpAddr>,
    pub(super) dst_port: Option<u16>,
    pub(super) proto: Option<u8>,
    pub(super) query_type: Option<u16>,
    pub(super) source: Option<IpAddr>,
    pub(super) reason: Box<str>,
    pub(super) status: u16,
    pub(super) first_seen: u64,
    pub(super) last_seen: u64,
    pub(super) count: u64,
    pub(super) clients: Clients,
    pub(super) requests: Requests,
}

/// The id of all findings of this key.
pub(super) fn id_of(key: &Key) -> Uuid {
    let names = (key.table, &key.rule, &key.listener, name(&key.host), name(&key.sni), name(&key.fqdn));
    let numbers = (key.dst_ip, key.dst_port, key.proto, key.query_type, key.source);
    let text = serde_json::to_vec(&(key.kind.token(), key.action.word(), names, numbers)).unwrap_or_default();
    Uuid::new_v5(&NAMESPACE, &text)
}

/// Names of hosts in the one way in which they are compared.
fn name(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

impl Item {
    /// What a worker has seen.
    pub(super) fn of(finding: Finding) -> Self {
        let id = id_of(&finding.key);
        let Finding { key, reason, status, count, seen, clients, requests } = finding;
        Self {
            id,
            kind: key.kind,
            action: key.action,
            policy_id: RuleId::of(key.table, &key.rule).uuid(),
            host: name(&key.host).into(),
            sni: name(&key.sni).into(),
            fqdn: name(&key.fqdn).into(),
            rule: key.rule,
            listener: key.listener,
            dst_ip: key.dst_ip,
            dst_port: key.dst_port,
            proto: key.proto,
            query_type: key.query_type,
            source: key.source,
            reason: reason.into(),
            status,
            first_seen: seen.0,
            last_seen: seen.1,
            count,
            clients,
            requests,
        }
    }

    /// Later ones of the same.
    pub(super) fn add(&mut self, later: Self) {
        self.first_seen = self.first_seen.min(later.first_seen);
        self.last_seen = self.last_seen.max(later.last_seen);
        self.count = self.count.saturating_add(later.count);
        (self.reason, self.status) = (later.reason, later.status);
        later.clients.iter().for_each(|(client, times)| self.clients.add(client, times));
        later.requests.iter().for_each(|request| self.requests.add(request));
    }
}

/// An item as JSON: of answers and of lines on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct Row<'a> {
    id: String,
    finding_type: Cow<'a, str>,
    action: Cow<'a, str>,
    policy_id: String,
    rule: Cow<'a, str>,
    source_group: Cow<'a, str>,
    hostname: Option<Cow<'a, str>>,
    dst_ip: Option<IpAddr>,
    dst_port: Option<u16>,
    proto: Option<u8>,
    fqdn: Option<Cow<'a, str>>,
    sni: Option<Cow<'a, str>>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    query_type: Option<u16>,
    src_ip: Option<IpAddr>,
    reason: Cow<'a, str>,
    status: Option<u16>,
    first_seen: u64,
    last_seen: u64,
    count: u64,
    top_clients: Vec<Client>,
    request_ids: Vec<String>,
    node_ids: Vec<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct Client {
    ip: IpAddr,
    /// At least so many.
    count: u64,
}

impl<'a> Row<'a> {
    /// An item of this node.
    pub(super) fn of(item: &'a Item, node_id: &'a str) -> Self {
        let named = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text));
        Self {
            id: item.id.to_string(),
            finding_type: item.kind.token().into(),
            action: item.action.word().into(),
            policy_id: item.policy_id.to_string(),
            rule: (&*item.rule).into(),
            source_group: (&*item.listener).into(),
            hostname: named(&item.host),
            dst_ip: item.dst_ip,
            dst_port: item.dst_port,
            proto: item.proto,
            fqdn: named(&item.fqdn),
            sni: named(&item.sni),
            icmp_type: None,
            icmp_code: None,
            query_type: item.query_type,
            src_ip: item.source,
            reason: (&*item.reason).into(),
            status: Some(item.status).filter(|status| *status != 0),
            first_seen: item.first_seen,
            last_seen: item.last_seen,
            count: item.count,
            top_clients: item.clients.iter().map(|(ip, count)| Client { ip, count }).collect(),
            request_ids: item.requests.iter().map(|id| id.to_string()).collect(),
            node_ids: vec![node_id.into()],
        }
    }

    /// The item of a line; none if it is of a kind that is not known here.
    pub(super) fn item(self) -> Option<Item> {
        let unnamed = |text: Option<Cow<'_, str>>| text.unwrap_or_default().into();
        let mut clients = Clients::default();
        self.top_clients.iter().for_each(|client| clients.add(client.ip, client.count));
        let mut requests = Requests::default();
        let ids = self.request_ids.iter().filter_map(|id| Uuid::parse_str(id).ok());
        ids.for_each(|id| requests.add(RequestId(id.as_u128())));
        Some(Item {
            id: Uuid::parse_str(&self.id).ok()?,
            kind: *Kind::ALL.iter().find(|kind| kind.token() == self.finding_type)?,
            action: *[Action::Enforced, Action::WouldDeny].iter().find(|action| action.word() == self.action)?,
            policy_id: Uuid::parse_str(&self.policy_id).ok()?,
            rule: self.rule.into(),
            listener: self.source_group.into(),
            host: unnamed(self.hostname),
            sni: unnamed(self.sni),
            fqdn: unnamed(self.fqdn),
            dst_ip: self.dst_ip,
            dst_port: self.dst_port,
            proto: self.proto,
            query_type: self.query_type,
            source: self.src_ip,
            reason: self.reason.into(),
            status: self.status.unwrap_or(0),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            count: self.count,
            clients,
            requests,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::Reason;
    use crate::policy::finding::Denial;

    /// So many bad requests for a host at a time.
    pub(in crate::control::audit) fn finding(host: &str, times: u64, unix_s: u64) -> Finding {
        let one = Denial::new(Kind::BadRequest, "http", "obs_fold", Reason::ObsFold);
        let (client, request) = (Some([192, 0, 2, 1].into()), Some(RequestId(u128::from(unix_s) << 80 | 7)));
        Finding::of(&Denial { host, listener: "web", times, client, request, ..one }, unix_s)
    }

    pub(in crate::control::audit) fn item(host: &str, times: u64, unix_s: u64) -> Item {
        Item::of(finding(host, times, unix_s))
    }

    #[test]
    fn an_item_survives_its_line() {
        let mut item = item("a.test", 3, 1_000);
        item.add(self::item("a.test", 4, 2_000));
        assert_eq!((item.count, item.first_seen, item.last_seen), (7, 1_000, 2_000));
        let line = serde_json::to_string(&Row::of(&item, "n1")).expect("JSON");
        let row: Row<'_> = serde_json::from_str(&line).expect("a row");
        assert_eq!(row.item(), Some(item));
    }

    #[test]
    fn a_row_has_every_field_that_neuwerk_has() {
        let row = serde_json::to_value(Row::of(&item("A.test.", 3, 1_000), "n1")).expect("JSON");
        let expected = serde_json::json!({
            "finding_type": "bad_request", "source_group": "web", "hostname": "a.test", "dst_ip": null,
            "dst_port": null, "proto": 6, "fqdn": null, "sni": null, "icmp_type": null, "icmp_code": null,
            "query_type": null, "first_seen": 1_000, "last_seen": 1_000, "count": 3, "node_ids": ["n1"],
            "action": "enforced", "rule": "obs_fold", "reason": "obs_fold", "status": 400,
            "top_clients": [{ "ip": "192.0.2.1", "count": 3 }],
        });
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&row[key], value, "{key}");
        }
        assert_eq!(row["policy_id"], RuleId::of("http", "obs_fold").to_string());
    }

    #[test]
    fn ids_are_those_of_keys_and_of_nothing_else() {
        let id = |host| id_of(&finding(host, 1, 1).key);
        assert_eq!(id("a.test"), id("A.TEST."));
        assert_ne!(id("a.test"), id("b.test"));
        assert_eq!(id_of(&finding("a.test", 1, 1).key), id_of(&finding("a.test", 9, 9).key));
        // Other versions and other nodes give the same.
        assert_eq!(id("a.test").to_string(), "ffb858f0-e973-5c46-960f-72bf38cffae5");
    }

    #[test]
    fn a_kind_of_another_version_is_left_out() {
        let item = item("a.test", 1, 1);
        let line = serde_json::to_string(&Row::of(&item, "n1")).expect("JSON").replace("bad_request", "later");
        assert_eq!(serde_json::from_str::<Row<'_>>(&line).expect("a row").item(), None);
    }
}
