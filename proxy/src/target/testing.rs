//! What the tests below share: group models from a document's text, requests, a clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::balance::Ask;
use super::cells::EndpointId;
use super::choose::{Choice, Mode};
use super::groups::{Context, Groups, compile};
use super::key::Keys;
use super::live::{Live, RouteLive};
use crate::base::Instant;
use crate::config::{Problems, parse};

pub(super) const START: Instant = Instant::from_nanos(1_000_000_000_000);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A document around the keys of one route.
pub(super) fn compiled(route: &str) -> Result<Arc<Groups>, String> {
    let text = format!(
        "[[listener]]\nname = \"L\"\nbind = \"127.0.0.1:0\"\n[[route]]\nid = 10\nlistener = \"L\"\npath_prefix = \"/api\"\n{route}"
    );
    let document = parse(&text, "weir.toml").map_err(|problems| problems.to_string())?;
    let mut problems = Problems::new();
    let context = Context {
        template: &|name| (name == "page").then(|| b"from the template".as_slice().into()),
        secret: &|_| Ok(b"a key of 16 octets".to_vec()),
        tls: &|secure| {
            let authority = crate::tls::Authority::Nobody;
            crate::tls::Outgoing::build(secure.host, &authority, None, secure.alpn).map(Arc::new)
        },
        generated_key: b"generated at the start",
    };
    let groups = compile(&document.routes[0], &context, &mut problems);
    groups.ok_or_else(|| problems.to_string())
}

/// A route that has to compile.
pub(super) fn groups(route: &str) -> Arc<Groups> {
    compiled(route).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Targets a, b, c, ... at 127.0.0.1, .2, .3, ... with these weights, after a route's own keys.
pub(super) fn weighted(keys: &str, weights: &[u32]) -> Arc<Groups> {
    let target = |(at, weight): (usize, &u32)| {
        let name = char::from(b'a' + at as u8);
        format!("[[route.target]]\nname = \"{name}\"\nurl = \"http://127.0.0.{}:80\"\nweight = {weight}\n", at + 1)
    };
    let targets: String = weights.iter().enumerate().map(target).collect();
    groups(&format!("{keys}\n{targets}"))
}

/// The first table of one route.
pub(super) fn live(groups: &Arc<Groups>) -> Live {
    Live::initial(std::slice::from_ref(groups), 1, None, START)
}

/// The endpoint of a target.
pub(super) fn id(live: &Live, target: usize, endpoint: usize) -> EndpointId {
    route(live).targets()[target].endpoints[endpoint].cells.id()
}

/// The only route.
pub(super) fn route(live: &Live) -> &Arc<RouteLive> {
    live.route(0).expect("one route")
}

/// A request.
#[derive(Default)]
pub(super) struct Request {
    pub(super) uri: String,
    pub(super) headers: HashMap<&'static str, String>,
    pub(super) cookies: HashMap<String, Vec<Vec<u8>>>,
}

impl Keys for Request {
    fn client_ip(&self) -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    fn path(&self) -> &[u8] {
        self.uri.split('?').next().unwrap_or_default().as_bytes()
    }

    fn uri(&self) -> &[u8] {
        self.uri.as_bytes()
    }

    fn host(&self) -> &[u8] {
        b"app.example.com"
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(String::as_bytes)
    }

    fn cookie(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.cookies.get(name)?.get(nth).map(Vec::as_slice)
    }

    fn query(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

pub(super) const FIRST: Choice = Choice { group: 0, mode: Mode::LowestUsable };

/// An attempt's wishes at `now`, in the first group.
pub(super) fn ask(keys: &Request, now: Instant) -> Ask<'_> {
    Ask { keys, choice: FIRST, now, unix: 1_000, exclude: &[], idle: &|_| false }
}
