//! The table of routes, and how a request finds its own.
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::matching::{Asked, Condition, HostPattern, RouteMatch};
use super::{Access, Route, RouteOptions, Rule};
use crate::target::{TargetRules, canonical_path};
use crate::{ConfigError, ConfigErrors};

/// A frozen table of routes. One table is one identity: a decision about a route of one table says nothing about the
/// same path in another.
///
/// Which route a request gets does not depend on the order in which they were added:
///
/// 1. a route for the very host wins over one for all hosts below a name (the longer name first), and that over one for every
///    host; where none for a host answers the request, the next less exact one is asked;
/// 2. a static segment wins over a parameter or a catch-all, and a longer template over a catch-all that begins further up. In one
///    and the same place there is a parameter or a catch-all, not both;
/// 3. a route that names the method wins over one for every method. HEAD is answered by GET;
/// 4. more conditions (header, query, client) win over fewer. Two routes with as many that both hold are taken in the order in which
///    they were added.
///
/// Routes between which nothing of this decides are an error.
pub struct RouteTable {
    pub(super) entries: Vec<Entry>,
    exact: HashMap<Box<str>, Paths>,
    below: HashMap<Box<str>, Paths>,
    any: Paths,
    errors: ConfigErrors,
}

type Paths = matchit::Router<Endpoints>;

pub(super) struct Entry {
    pub(super) name: Option<Arc<str>>,
    pub(super) template: Arc<str>,
    pub(super) methods: Methods,
    pub(super) matching: RouteMatch,
    pub(super) access: Access,
    pub(super) options: RouteOptions,
}

/// The methods of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Methods {
    /// Every method.
    Any,
    /// These methods, and HEAD where GET is among them.
    These(Vec<Method>),
}

impl Methods {
    /// Whether a route with these methods answers `method`.
    pub fn include(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => {
                these.contains(method) || (method == Method::HEAD && these.contains(&Method::GET))
            }
        }
    }
}

impl From<Method> for Methods {
    fn from(method: Method) -> Self {
        Self::These(vec![method])
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::These(methods) => {
                let names: Vec<_> = methods.iter().map(Method::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// The routes that share a host and a path template, the one that is asked first in front.
#[derive(Debug, Default)]
struct Endpoints {
    candidates: Vec<Candidate>,
    allow: Option<HeaderValue>,
}

/// A route, for one of its methods.
#[derive(Clone, Debug)]
struct Candidate {
    /// None is every method.
    method: Option<Method>,
    conditions: Arc<[Condition]>,
    index: usize,
}

impl Candidate {
    fn is_for(&self, method: &Method) -> bool {
        self.method.as_ref().is_none_or(|own| own == method)
    }
    fn is_like(&self, other: &Self) -> bool {
        self.method == other.method && self.conditions == other.conditions
    }
}

/// What a path and a method lead to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Route(usize),
    /// No route answers OPTIONS here by itself; these methods are allowed.
    Options(&'a HeaderValue),
    MethodNotAllowed(&'a HeaderValue),
    Nothing,
}

/// Where a catch-all begins to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatchAll {
    /// `/books/{*rest}` also matches `/books/` and `/books`.
    Bare,
    /// `/books/{*rest}` needs something behind the slash, as in axum.
    NotEmpty,
}

/// Collects the routes of a [`RouteTable`].
///
/// Applications use [`Routes`](super::Routes) or the guarded router of `portcullis-axum`, which pair each route with
/// its endpoint.
#[derive(Debug)]
pub struct TableBuilder {
    catch_all: CatchAll,
    table: RouteTable,
    hosts: Vec<HostDraft>,
    places: HashMap<Option<HostPattern>, usize>,
    names: HashSet<Arc<str>>,
}

/// The routes of one host, or of every host.
#[derive(Debug)]
struct HostDraft {
    host: Option<HostPattern>,
    templates: Vec<(String, Endpoints)>,
    places: HashMap<String, usize>,
    /// What the catch-alls match beside their template.
    bare: Vec<(String, Vec<Candidate>)>,
}

impl TableBuilder {
    /// No routes yet.
    pub fn new(catch_all: CatchAll) -> Self {
        let table = RouteTable {
            entries: Vec::new(),
            exact: HashMap::new(),
            below: HashMap::new(),
            any: Paths::new(),
            errors: ConfigErrors::default(),
        };
        let (hosts, places, names) = (Vec::new(), HashMap::new(), HashSet::new());
        Self { catch_all, table, hosts, places, names }
    }

    /// Adds a route. What is wrong with it is told when the table is checked.
    pub fn add<G>(&mut self, template: &str, methods: impl Into<Methods>, rule: Rule<G>) {
        self.add_all(&[template], template, methods.into(), rule);
    }
    /// Adds a route for requests that also have what `matching` asks for.
    pub fn add_matching<G>(
        &mut self,
        template: &str,
        methods: Methods,
        matching: RouteMatch,
        rule: Rule<G>,
    ) {
        self.add_entry(&[template], template, methods, matching, rule);
    }
    /// Adds a route that is called `template` and matches every one of `patterns`.
    pub fn add_all<G>(
        &mut self,
        patterns: &[&str],
        template: &str,
        methods: Methods,
        rule: Rule<G>,
    ) {
        self.add_entry(patterns, template, methods, RouteMatch::default(), rule);
    }

    fn add_entry<G>(
        &mut self,
        patterns: &[&str],
        template: &str,
        methods: Methods,
        matching: RouteMatch,
        rule: Rule<G>,
    ) {
        let index = self.table.entries.len();
        let candidates = candidates(&methods, &matching, index);
        let mut hosts: Vec<_> = matching.hosts.iter().map(Some).collect();
        if hosts.is_empty() {
            hosts.push(None);
        }
        let added = patterns.iter().try_for_each(|pattern| {
            check_template(pattern)?;
            hosts.iter().try_for_each(|host| self.insert(*host, pattern, &candidates))
        });
        if let Err(message) = added {
            // One mistake, however many patterns have it.
            let place = format!("route `{methods} {template}`");
            self.table.errors.push(ConfigError::new(place, message));
        }
        let Rule { access, options, .. } = rule;
        self.table.entries.push(Entry {
            name: None,
            template: template.into(),
            methods,
            matching,
            access,
            options,
        });
    }

    /// Adds an error of the caller's own.
    pub fn error(&mut self, error: ConfigError) {
        self.table.errors.push(error);
    }

    /// Gives the route that was added last a name.
    pub fn name_last(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        if !self.names.insert(Arc::clone(&name)) {
            self.table
                .errors
                .push(ConfigError::new(format!("route `{name}`"), "the name stands twice"));
        }
        if let Some(entry) = self.table.entries.last_mut() {
            entry.name = Some(name);
        }
    }
    pub(super) fn last_options(&mut self) -> Option<&mut RouteOptions> {
        self.table.entries.last_mut().map(|entry| &mut entry.options)
    }
    pub(super) fn options_of_last(&self) -> Option<&RouteOptions> {
        self.table.entries.last().map(|entry| &entry.options)
    }

    fn insert(
        &mut self,
        host: Option<&HostPattern>,
        pattern: &str,
        candidates: &[Candidate],
    ) -> Result<(), String> {
        let bare = self.catch_all == CatchAll::Bare;
        let draft = self.host(host);
        draft.endpoints(pattern).add(candidates).map_err(|taken| {
            let method = taken.method.as_ref().map_or("*", Method::as_str);
            let host = host.map(|host| format!(" at {host}")).unwrap_or_default();
            format!("`{method} {pattern}`{host} has a route already; remove one of the two")
        })?;
        if bare && let Some((prefix, _)) = pattern.split_once("/{*") {
            let bare = [format!("{prefix}/"), prefix.to_owned()];
            let bare = bare.into_iter().filter(|pattern| !pattern.is_empty());
            draft.bare.extend(bare.map(|pattern| (pattern, candidates.to_vec())));
        }
        Ok(())
    }

    fn host(&mut self, host: Option<&HostPattern>) -> &mut HostDraft {
        let at = *self.places.entry(host.cloned()).or_insert_with(|| {
            self.hosts.push(HostDraft {
                host: host.cloned(),
                templates: Vec::new(),
                places: HashMap::new(),
                bare: Vec::new(),
            });
            self.hosts.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or added just now")]
        &mut self.hosts[at]
    }

    /// Freezes the table. What is wrong with it stands in [`RouteTable::errors`], and a request that meets such a table
    /// is refused.
    pub fn build(mut self) -> Arc<RouteTable> {
        for draft in std::mem::take(&mut self.hosts) {
            let host = draft.host.clone();
            let paths = draft.build(&mut self.table.errors);
            match host {
                None => self.table.any = paths,
                Some(HostPattern::Exact(name)) => _ = self.table.exact.insert(name, paths),
                Some(HostPattern::Below(name)) => _ = self.table.below.insert(name, paths),
            }
        }
        Arc::new(self.table)
    }
}

/// What a route is to a request, for each of its methods.
fn candidates(methods: &Methods, matching: &RouteMatch, index: usize) -> Vec<Candidate> {
    let conditions: Arc<[Condition]> = matching.conditions.iter().cloned().collect();
    let of = |method| Candidate { method, conditions: Arc::clone(&conditions), index };
    match methods {
        Methods::Any => vec![of(None)],
        Methods::These(methods) => methods.iter().cloned().map(|method| of(Some(method))).collect(),
    }
}

impl HostDraft {
    fn endpoints(&mut self, pattern: &str) -> &mut Endpoints {
        let at = self.places.get(pattern).copied().unwrap_or_else(|| {
            self.templates.push((pattern.to_owned(), Endpoints::default()));
            self.places.insert(pattern.to_owned(), self.templates.len() - 1);
            self.templates.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or added just now")]
        &mut self.templates[at].1
    }

    fn build(mut self, errors: &mut ConfigErrors) -> Paths {
        // A route that names the bare prefix itself wins over the catch-all that also matches it.
        for (pattern, candidates) in std::mem::take(&mut self.bare) {
            self.endpoints(&pattern).add_missing(candidates);
        }
        let mut paths = Paths::new();
        for (pattern, mut endpoints) in self.templates {
            endpoints.finish();
            if let Err(error) = paths.insert(&pattern, endpoints) {
                let message = match error {
                    matchit::InsertError::Conflict { with } => {
                        format!(
                            "it matches the same paths as `{with}`: parameters in one place have one name, and stand beside no catch-all"
                        )
                    }
                    other => other.to_string(),
                };
                errors.push(ConfigError::new(format!("route `{pattern}`"), message));
            }
        }
        paths
    }
}

impl Endpoints {
    fn add(&mut self, candidates: &[Candidate]) -> Result<(), Candidate> {
        for candidate in candidates {
            if self.candidates.iter().any(|known| known.is_like(candidate)) {
                return Err(candidate.clone());
            }
            self.candidates.push(candidate.clone());
        }
        Ok(())
    }
    /// Adds what no other route answers.
    fn add_missing(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates {
            if !self.candidates.iter().any(|known| known.is_like(&candidate)) {
                self.candidates.push(candidate);
            }
        }
    }
    /// Lets GET answer HEAD, puts first what is asked first, and writes down what is allowed.
    fn finish(&mut self) {
        let is = |candidate: &Candidate, method| candidate.method.as_ref() == Some(method);
        let heads = self.candidates.iter().filter(|candidate| is(candidate, &Method::GET)).cloned();
        let heads: Vec<_> =
            heads.map(|get| Candidate { method: Some(Method::HEAD), ..get }).collect();
        self.add_missing(heads);
        self.candidates.sort_by_key(|candidate| {
            (candidate.method.is_none(), Reverse(candidate.conditions.len()))
        });
        let methods = self.candidates.iter().filter_map(|candidate| candidate.method.as_ref());
        let mut names: Vec<_> = methods.map(Method::as_str).collect();
        names.push("OPTIONS");
        names.sort_unstable();
        names.dedup();
        self.allow = HeaderValue::try_from(names.join(", ")).ok();
    }

    fn find(&self, asked: &Asked<'_>) -> Found<'_> {
        static NO_METHOD: HeaderValue = HeaderValue::from_static("");
        let mut has_method = false;
        for candidate in &self.candidates {
            if candidate.is_for(asked.method) {
                if asked.meets(&candidate.conditions) {
                    return Found::Route(candidate.index);
                }
                has_method = true;
            }
        }
        let allow = self.allow.as_ref().unwrap_or(&NO_METHOD);
        match asked.method {
            // Some route would, of another request.
            _ if has_method => Found::Nothing,
            &Method::OPTIONS => Found::Options(allow),
            _ => Found::MethodNotAllowed(allow),
        }
    }
}

impl RouteTable {
    /// The paths of whatever may answer this host, the most exact first.
    fn paths<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Paths> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        let above = (!self.below.is_empty())
            .then(|| std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.')));
        let below = above.into_iter().flatten().filter_map(|(_, name)| self.below.get(name));
        exact.into_iter().chain(below).chain(Some(&self.any))
    }

    pub(crate) fn find(&self, asked: &Asked<'_>) -> Found<'_> {
        let mut found = Found::Nothing;
        for paths in self.paths(asked.host()) {
            let Ok(matchit::Match { value: endpoints, .. }) = paths.at(asked.path) else {
                continue;
            };
            match endpoints.find(asked) {
                route @ Found::Route(_) => return route,
                Found::Nothing => {}
                other if matches!(found, Found::Nothing) => found = other,
                _ => {}
            }
        }
        found
    }
    /// The methods that some route answers at `path` of `host`, as a value for `Allow`.
    pub(super) fn allowed(&self, host: &str, path: &str) -> Option<&HeaderValue> {
        self.paths(host).find_map(|paths| paths.at(path).ok())?.value.allow.as_ref()
    }
    /// The routes, in the order in which they were added.
    pub fn routes(self: &Arc<Self>) -> impl ExactSizeIterator<Item = Route> {
        let table = Arc::clone(self);
        (0..self.entries.len()).map(move |index| Route::new(Arc::clone(&table), index))
    }
    /// The route at `index`.
    pub fn route(self: &Arc<Self>, index: usize) -> Option<Route> {
        (index < self.entries.len()).then(|| Route::new(Arc::clone(self), index))
    }
    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// What is wrong with the table.
    pub fn errors(&self) -> &ConfigErrors {
        &self.errors
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines =
            self.entries.iter().map(|e| format!("{} {} ({})", e.methods, e.template, e.access));
        f.debug_list().entries(lines).finish()
    }
}

/// A template must be able to match: its fixed parts are canonical, and a star stands only in `{*name}`.
fn check_template(template: &str) -> Result<(), String> {
    if !template.starts_with('/') {
        return Err("a template begins with `/`".to_owned());
    }
    let mut fixed = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((parameter, tail)) = after.split_once('}') else {
            return Err("`{` has no `}`".to_owned());
        };
        if parameter.trim_start_matches('*').is_empty() || parameter.contains(['/', '{']) {
            return Err(format!(
                "`{{{parameter}}}` is no parameter: write `{{name}}` or `{{*name}}`"
            ));
        }
        fixed.push_str(before);
        fixed.push('x');
        rest = tail;
    }
    fixed.push_str(rest);
    if fixed.split('/').any(|segment| segment.contains('*') || segment.starts_with(':')) {
        return Err("`*` and `:` match only themselves: write `{*rest}` or `{name}`".to_owned());
    }
    match canonical_path(&fixed, &TargetRules::strict().allow_encoded_slash().allow_parameters()) {
        Ok(canonical) if canonical == fixed => Ok(()),
        Ok(canonical) => Err(format!(
            "the template can match no request, since paths are normalised first (`{canonical}`)"
        )),
        Err(error) => Err(format!("the template can match no request: {error}")),
    }
}
