//! What the document says about listeners and routes, before it is checked: fields are named as the keys.

/// What a listener says about routing.
#[derive(Clone, Debug, Default)]
pub struct ListenerSpec {
    /// Unique name; routes refer to it.
    pub name: String,
    /// Host patterns served here; none: all.
    pub hostnames: Vec<String>,
    /// `*.` in `hostnames` stands for one label only.
    pub one_label: bool,
    /// TCP ports bound, as far as they are known from the document; lint follows redirects to them.
    pub ports: Vec<u16>,
}

/// One `[[route]]`.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Unique, below 2^31; absent: highest + 1, in document order.
    pub id: Option<u64>,
    /// Absent: `route-<id>`.
    pub name: Option<String>,
    /// Names of listeners, 1 to 16.
    pub listener: Vec<String>,
    /// Lower first.
    pub priority: i32,
    /// Off: never matches, but `explain` names it.
    pub enabled: bool,
    /// Answers only where no other matched.
    pub is_default: bool,
    /// Host patterns, up to 64.
    pub host: Vec<String>,
    /// `*.` in `host` stands for one label only (`host_wildcard = "one"`).
    pub one_label: bool,
    /// A pattern over the host, in place of `host`.
    pub host_regex: Option<String>,
    /// By segment: `/api` matches `/api` and `/api/x`, not `/apix`; `/api/` is a plain prefix.
    pub path_prefix: Option<String>,
    /// The whole path.
    pub path_exact: Option<String>,
    /// Unanchored.
    pub path_regex: Option<String>,
    /// By octets.
    pub path_prefix_raw: Option<String>,
    /// Exact tokens; none: all.
    pub method: Vec<String>,
    /// Addresses, CIDRs or `unix`; none: all.
    pub client: Vec<String>,
    /// All must hold.
    pub header: Vec<FieldSpec>,
    /// All must hold.
    pub query: Vec<FieldSpec>,
    /// `allow_encoded_separators` in place of `strict`.
    pub allow_encoded_separators: bool,
    /// `redirect` in place of `forward`.
    pub action: Action,
    /// `[route.redirect]`.
    pub redirect: Option<RedirectSpec>,
    /// `[route.rewrite]`.
    pub rewrite: RewriteSpec,
    /// `[route.request_headers]`.
    pub request_headers: EditsSpec,
    /// `[route.response_headers]`.
    pub response_headers: EditsSpec,
    /// Whether the route has `[[route.target]]`s, enabled or not.
    pub has_targets: bool,
    /// Templates that the route's static targets name.
    pub templates: Vec<String>,
}

impl Default for RouteSpec {
    fn default() -> Self {
        Self {
            id: None,
            name: None,
            listener: Vec::new(),
            priority: 100,
            enabled: true,
            is_default: false,
            host: Vec::new(),
            one_label: false,
            host_regex: None,
            path_prefix: None,
            path_exact: None,
            path_regex: None,
            path_prefix_raw: None,
            method: Vec::new(),
            client: Vec::new(),
            header: Vec::new(),
            query: Vec::new(),
            allow_encoded_separators: false,
            action: Action::Forward,
            redirect: None,
            rewrite: RewriteSpec::default(),
            request_headers: EditsSpec::default(),
            response_headers: EditsSpec::default(),
            has_targets: false,
            templates: Vec::new(),
        }
    }
}

/// What a route does with what it matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Action {
    /// Send it to a target.
    #[default]
    Forward,
    /// Answer with a Location.
    Redirect,
}

/// One entry of `header` or `query`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSpec {
    /// Field or parameter name.
    pub name: String,
    /// equals, prefix, suffix, contains, regex or present.
    pub op: String,
    /// Absent for present only.
    pub value: Option<String>,
    /// Negates the whole.
    pub not: bool,
}

/// `[route.redirect]`.
#[derive(Clone, Debug)]
pub struct RedirectSpec {
    /// same_host_path, external_origin_keep_path, absolute_url or scheme.
    pub mode: String,
    /// What `mode` says.
    pub target: String,
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// Append what follows the prefix.
    pub preserve_path: bool,
    /// Append the query.
    pub preserve_query: bool,
}

impl Default for RedirectSpec {
    fn default() -> Self {
        Self { mode: String::new(), target: String::new(), status: 302, preserve_path: true, preserve_query: true }
    }
}

/// `[route.rewrite]`.
#[derive(Clone, Debug, Default)]
pub struct RewriteSpec {
    /// Drop the matched prefix.
    pub strip_prefix: bool,
    /// Put this in its place.
    pub replace_prefix: Option<String>,
    /// Put this before the path.
    pub add_prefix: Option<String>,
    /// Replace what this matches of the route path.
    pub regex: Option<String>,
    /// By this; `$1` names a group.
    pub replacement: Option<String>,
    /// target (also if absent), preserve or set:NAME.
    pub host: Option<String>,
}

/// `[route.request_headers]`, `[route.response_headers]`, `[route.target.request_headers]`: done in the order of the
/// fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditsSpec {
    /// Names to drop.
    pub remove: Vec<String>,
    /// Name and the value in place of all present.
    pub set: Vec<(String, String)>,
    /// Name and one value more.
    pub add: Vec<(String, String)>,
    /// Name and the value if none is present.
    pub default: Vec<(String, String)>,
    /// Responses: error pages too.
    pub always: bool,
}
