//! One generation of the configuration in its compiled form: immutable, built whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use super::raw::{ErrorPages, Http2, Limits, Retry, Timeouts};
use super::tls::Outgoings;
use super::value::{AccessLogFormat, AccessLogOutput, Forwarded, Secret, StatusRange};
use super::{Document, Problems};
use crate::files::{LogSettings, Output};
use crate::policy::identity::{Proxies, Trust};
use crate::policy::limit::{self, Limit};
use crate::policy::rule::RulesBuilder;
use crate::respond::{Page, Pages};
use crate::route::{self, Edits};
use crate::target::Groups;
use crate::target::groups::{self, Context};
use crate::trace::Format;

/// Everything that a request needs to know of the configuration.
pub struct Snapshot {
    /// Grows by one with each accepted document; the first is 1.
    pub generation: u64,
    /// The document behind it.
    pub document: Arc<Document>,
    /// Whose word on the client counts, as the files were when this was built.
    pub trust: Arc<Trust>,
    /// Routes by listener.
    pub table: route::Table,
    /// Listeners, in the document's order.
    pub listeners: Vec<ListenerPlan>,
    /// Routes, in the document's order: what [`route::Route::position`] names.
    pub routes: Vec<RoutePlan>,
    /// Rate limits, in the order in which they are charged.
    pub rate_limits: crate::policy::Rules<Limit>,
    /// The group models of forwarding routes, by slot.
    pub groups: Vec<Arc<Groups>>,
    /// Whom the document bans, as its files were when it was built.
    pub bans: super::bans::Listed,
    /// Access logs, in the document's order.
    pub access_logs: Vec<LogPlan>,
    /// What listeners show and ask over TLS, as the files were when this was built.
    pub tls: super::tls::Shown,
}

/// One access log.
pub struct LogPlan {
    /// How its lines look.
    pub format: Format,
    /// Where they go.
    pub settings: LogSettings,
}

/// What holds at a listener, before a route is known.
pub struct ListenerPlan {
    /// Its name.
    pub name: Arc<str>,
    /// What holds for requests that met no route.
    pub rules: Rules,
    /// The header that carries the request's id.
    pub request_id_header: Box<str>,
    /// Manners of HTTP/2.
    pub http2: Http2,
    /// Whether HTTP/2 may be spoken without TLS.
    pub h2c: bool,
    /// Peers that must announce whose connection they bring.
    pub proxies: Proxies,
}

/// What holds for a route.
pub struct RoutePlan {
    /// Its name, for logs and metrics.
    pub name: Arc<str>,
    /// Its place in [`route::Table::routes`].
    pub rank: usize,
    /// Its place in [`Snapshot::groups`] and in the live table; none for a redirect.
    pub slot: Option<usize>,
    /// Edits of the request's header by each target, after the route's own.
    pub target_edits: Vec<Edits>,
    /// What holds from it on, by the position of the listener.
    rules: Vec<(usize, Rules)>,
}

/// Limits, times and manners that listeners and routes narrow.
pub struct Rules {
    /// Bounds of requests.
    pub limits: Limits,
    /// Bounds of time.
    pub timeouts: Timeouts,
    /// Further tries.
    pub retry: Retry,
    /// Error pages.
    pub pages: Arc<Pages>,
    /// Upstream statuses whose bodies are replaced by the page.
    pub intercept: Vec<StatusRange>,
    /// How the upstream learns who the client is.
    pub forwarded: Forwarded,
    /// Whether WebSocket upgrades are forwarded.
    pub websocket: bool,
}

/// What building a snapshot needs beside the document.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Signs sticky cookies of routes without keys of their own; made once per process.
    pub sticky_key: &'a [u8],
    /// Tables of rate limits: those of earlier generations are taken over.
    pub limits: &'a limit::Tables,
    /// What the TLS of listeners keeps over configurations.
    pub tls: &'a super::tls::Kept,
}

impl Snapshot {
    /// Compiles a document. Everything that is wrong with it goes to `problems`, warnings included; with an error among
    /// them there is no snapshot.
    pub fn build(
        document: Document,
        generation: u64,
        environment: Environment<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let trust = super::cidrs::trust(&document, problems).map(Arc::new);
        let table = route::Table::build(&document, problems);
        let mut pages = PageFiles::default();
        let listeners = document.listeners.iter().map(|listener| ListenerPlan {
            name: listener.name.as_str().into(),
            rules: rules(&document, listener, None, &mut pages, problems),
            request_id_header: listener.request_id_header.as_str().into(),
            http2: Http2::resolve(&document, listener),
            h2c: listener.h2c,
            proxies: Proxies::new(&listener.proxy_protocol_from),
        });
        let listeners = listeners.collect();
        let mut slots = Vec::new();
        let compiler = TargetCompiler::new(&document, environment);
        let mut ranks = vec![0; document.routes.len()];
        table.routes().iter().enumerate().for_each(|(rank, route)| ranks[route.position] = rank);
        let routes = document.routes.iter().zip(ranks).map(|(raw, rank)| {
            let targets = (raw.action == super::value::Action::Forward).then(|| compiler.compile(raw, problems));
            let targets = targets.flatten();
            let slot = targets.as_ref().map(|_| slots.len());
            let target_edits = targets.iter().flat_map(|groups| &groups.targets).map(|target| {
                let own = raw.targets.iter().find(|raw| *raw.name == *target.name);
                let own = own.and_then(|raw| raw.request_headers.as_ref());
                own.map(|raw| Edits::compile(&raw.edits(), problems)).unwrap_or_default()
            });
            let target_edits = target_edits.collect();
            slots.extend(targets);
            let named = document.listeners.iter().enumerate().filter(|(_, one)| raw.listener.contains(&one.name));
            let rules = named.map(|(at, one)| (at, rules(&document, one, Some(raw), &mut pages, problems)));
            RoutePlan { name: raw.name.as_str().into(), rank, slot, target_edits, rules: rules.collect() }
        });
        let routes = routes.collect();
        table.warn(&document, problems);
        let logs = document.access_logs.iter().filter_map(|raw| log(raw, problems));
        let access_logs = logs.collect();
        let bans = super::bans::Listed::read(&document, problems);
        let rate_limits = rate_limits(&document, environment.limits, problems);
        let tls = super::tls::Shown::read(&document, environment.tls, problems);
        if problems.is_fatal() {
            return None;
        }
        let (document, trust, groups, tls) = (Arc::new(document), trust?, slots, tls?);
        Some(Self {
            generation,
            document,
            trust,
            table,
            listeners,
            routes,
            rate_limits,
            groups,
            bans,
            access_logs,
            tls,
        })
    }
}

impl RoutePlan {
    /// What holds for requests that came in by `listener`, by position.
    pub fn rules(&self, listener: usize) -> Option<&Rules> {
        self.rules.iter().find(|(at, _)| *at == listener).map(|(_, rules)| rules)
    }
}

fn rules(
    document: &Document,
    listener: &super::raw::Listener,
    route: Option<&super::raw::Route>,
    files: &mut PageFiles,
    problems: &mut Problems,
) -> Rules {
    let has_pages =
        |route: &&super::raw::Route| !route.error_pages.pages.is_empty() || route.error_pages.intercept.is_some();
    let own = route.filter(has_pages);
    let pages = ErrorPages::resolve(document, own);
    Rules {
        limits: Limits::resolve(document, listener, route),
        timeouts: Timeouts::resolve(document, listener, route),
        retry: Retry::resolve(document, route),
        intercept: pages.intercept.clone().unwrap_or_default(),
        pages: files.pages(&pages, own.is_none(), problems),
        forwarded: route.map_or(listener.forwarded, |route| route.forwarded(listener)),
        websocket: route.map_or(listener.websocket, |route| route.websocket(listener)),
    }
}

/// Page files, each read once however many routes show it; most routes share the global pages.
#[derive(Default)]
struct PageFiles {
    files: HashMap<std::path::PathBuf, Option<Arc<Page>>>,
    global: Option<Arc<Pages>>,
}

impl PageFiles {
    fn pages(&mut self, pages: &ErrorPages, global: bool, problems: &mut Problems) -> Arc<Pages> {
        if !global {
            return Arc::new(self.load(pages, problems));
        }
        if self.global.is_none() {
            self.global = Some(Arc::new(self.load(pages, problems)));
        }
        self.global.clone().unwrap_or_default()
    }

    fn load(&mut self, pages: &ErrorPages, problems: &mut Problems) -> Pages {
        let mut loaded = Pages::default();
        // Wide ranges first, so that a single status has the last word.
        let mut wide_first: Vec<_> = pages.pages.iter().collect();
        wide_first.sort_by_key(|(range, _)| std::cmp::Reverse(range.high - range.low));
        for (range, path) in wide_first {
            let page = self.files.entry(path.clone()).or_insert_with(|| {
                let read = std::fs::read(path).map_err(|error| error.to_string());
                let page = read.and_then(|octets| Page::parse(&octets).map_err(|error| error.to_string()));
                let refused = |why: &String| problems.push(pages.at.problem("", format!("{}: {why}", path.display())));
                page.inspect_err(refused).ok().map(Arc::new)
            });
            if let Some(page) = page {
                range.all().for_each(|status| loaded.set(status, page.clone()));
            }
        }
        loaded
    }
}

/// Tables are made for enabled rules only, and only if nothing is wrong that would make them useless.
fn rate_limits(document: &Document, tables: &limit::Tables, problems: &mut Problems) -> crate::policy::Rules<Limit> {
    let context = crate::policy::Context::of(document);
    let mut rules = RulesBuilder::new("rate_limit", &context);
    let bodies = bodies(document);
    for raw in &document.rate_limits {
        let wanted = raw.enabled && !problems.is_fatal();
        let limit = wanted.then(|| Limit::build(raw, tables, &|name| bodies.get(name).cloned()));
        rules.push(&raw.rule(), limit, problems);
    }
    rules.build()
}

/// Bodies that answers share, by name.
fn bodies(document: &Document) -> HashMap<&str, Arc<[u8]>> {
    document.templates.iter().map(|template| (template.name.as_str(), template.body.as_bytes().into())).collect()
}

/// What all routes' targets share.
struct TargetCompiler<'a> {
    templates: HashMap<&'a str, Arc<[u8]>>,
    environment: Environment<'a>,
    outgoings: Outgoings,
}

impl<'a> TargetCompiler<'a> {
    fn new(document: &'a Document, environment: Environment<'a>) -> Self {
        Self { templates: bodies(document), environment, outgoings: Outgoings::default() }
    }

    fn compile(&self, route: &super::raw::Route, problems: &mut Problems) -> Option<Arc<Groups>> {
        let context = Context {
            template: &|name| self.templates.get(name).cloned(),
            secret: &secret,
            tls: &|secure| self.outgoings.of(secure.raw, secure.host, secure.alpn),
            generated_key: self.environment.sticky_key,
        };
        groups::compile(route, &context, problems)
    }
}

fn log(raw: &super::raw::AccessLog, problems: &mut Problems) -> Option<LogPlan> {
    let format = match raw.format {
        AccessLogFormat::Json => Format::Json,
        AccessLogFormat::Combined => Format::Combined,
        AccessLogFormat::Template => {
            let parsed = Format::template(raw.template.as_deref().unwrap_or_default());
            parsed.map_err(|error| problems.push(raw.at.problem("template", error.to_string()))).ok()?
        }
    };
    let output = match (&raw.output, &raw.path) {
        (AccessLogOutput::File, Some(path)) => Output::File(path.clone()),
        _ => Output::Stdout,
    };
    let buffer = usize::try_from(raw.buffer).unwrap_or(usize::MAX);
    let settings = LogSettings { name: raw.name.clone(), output, buffer, flush: raw.flush };
    Some(LogPlan { format, settings })
}

/// What a reference to a secret stands for.
fn secret(reference: &Secret) -> Result<Vec<u8>, String> {
    match reference {
        Secret::File(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
        Secret::Env(name) => std::env::var_os(name)
            .map(|value| value.into_encoded_bytes())
            .ok_or_else(|| format!("the environment has no {name}")),
    }
}
