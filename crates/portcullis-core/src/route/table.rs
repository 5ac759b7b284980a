//! The table of routes, and how a request finds its own.
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::{Access, Route, RouteOptions, Rule};
use crate::target::{TargetRules, canonical_path};
use crate::{ConfigError, ConfigErrors};

/// A frozen table of routes. One table is one identity: a decision about a route of one table says nothing about the
/// same path in another.
///
/// A static segment wins over a parameter or a catch-all, and a longer template over a catch-all that begins further up,
/// whatever the order in which routes are added. In one and the same place there is a parameter or a catch-all, not both.
/// HEAD is answered by GET.
pub struct RouteTable {
    pub(super) entries: Vec<Entry>,
    paths: matchit::Router<Endpoints>,
    errors: ConfigErrors,
}

pub(super) struct Entry {
    pub(super) name: Option<Arc<str>>,
    pub(super) template: Arc<str>,
    pub(super) methods: Methods,
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

/// The routes that share a path template.
#[derive(Debug, Default)]
struct Endpoints {
    by_method: Vec<(Method, usize)>,
    any: Option<usize>,
    allow: Option<HeaderValue>,
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
    templates: Vec<(String, Endpoints)>,
    /// What the catch-alls match beside their template: pattern, methods, route.
    bare: Vec<(String, Methods, usize)>,
}

impl TableBuilder {
    /// No routes yet.
    pub fn new(catch_all: CatchAll) -> Self {
        let table = RouteTable {
            entries: Vec::new(),
            paths: matchit::Router::new(),
            errors: ConfigErrors::default(),
        };
        Self { catch_all, table, templates: Vec::new(), bare: Vec::new() }
    }

    /// Adds a route. What is wrong with it is told when the table is checked.
    pub fn add<G>(&mut self, template: &str, methods: impl Into<Methods>, rule: Rule<G>) {
        self.add_all(&[template], template, methods.into(), rule);
    }

    /// Adds a route that is called `template` and matches every one of `patterns`.
    pub fn add_all<G>(
        &mut self,
        patterns: &[&str],
        template: &str,
        methods: Methods,
        rule: Rule<G>,
    ) {
        let index = self.table.entries.len();
        let place = format!("route `{methods} {template}`");
        for pattern in patterns {
            let added =
                check_template(pattern).and_then(|()| self.insert(pattern, &methods, index));
            if let Err(message) = added {
                // One mistake, however many patterns have it.
                self.table.errors.push(ConfigError::new(&place, message));
                break;
            }
        }
        let Rule { access, options, .. } = rule;
        self.table.entries.push(Entry {
            name: None,
            template: template.into(),
            methods,
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
        if self.table.entries.iter().any(|entry| entry.name.as_deref() == Some(name)) {
            self.table
                .errors
                .push(ConfigError::new(format!("route `{name}`"), "the name stands twice"));
        }
        if let Some(entry) = self.table.entries.last_mut() {
            entry.name = Some(name.into());
        }
    }
    pub(super) fn last_options(&mut self) -> Option<&mut RouteOptions> {
        self.table.entries.last_mut().map(|entry| &mut entry.options)
    }
    pub(super) fn options_of_last(&self) -> Option<&RouteOptions> {
        self.table.entries.last().map(|entry| &entry.options)
    }

    fn insert(&mut self, pattern: &str, methods: &Methods, index: usize) -> Result<(), String> {
        let added = self.endpoints(pattern).add(methods, index);
        added.map_err(|method| {
            format!("`{method} {pattern}` has a route already; remove one of the two")
        })?;
        if self.catch_all == CatchAll::Bare
            && let Some((prefix, _)) = pattern.split_once("/{*")
        {
            let bare = [format!("{prefix}/"), prefix.to_owned()];
            let bare = bare.into_iter().filter(|pattern| !pattern.is_empty());
            self.bare.extend(bare.map(|pattern| (pattern, methods.clone(), index)));
        }
        Ok(())
    }

    fn endpoints(&mut self, pattern: &str) -> &mut Endpoints {
        let at = self.templates.iter().position(|(known, _)| known == pattern);
        let at = at.unwrap_or_else(|| {
            self.templates.push((pattern.to_owned(), Endpoints::default()));
            self.templates.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or added just now")]
        &mut self.templates[at].1
    }

    /// Freezes the table. What is wrong with it stands in [`RouteTable::errors`], and a request that meets such a table
    /// is refused.
    pub fn build(mut self) -> Arc<RouteTable> {
        // A route that names the bare prefix itself wins over the catch-all that also matches it.
        for (pattern, methods, index) in std::mem::take(&mut self.bare) {
            self.endpoints(&pattern).add_missing(&methods, index);
        }
        let Self { mut table, templates, .. } = self;
        for (pattern, mut endpoints) in templates {
            endpoints.finish();
            if let Err(error) = table.paths.insert(&pattern, endpoints) {
                let message = match error {
                    matchit::InsertError::Conflict { with } => {
                        format!(
                            "it matches the same paths as `{with}`: parameters in one place have one name, and stand beside no catch-all"
                        )
                    }
                    other => other.to_string(),
                };
                table.errors.push(ConfigError::new(format!("route `{pattern}`"), message));
            }
        }
        Arc::new(table)
    }
}

impl Endpoints {
    fn add(&mut self, methods: &Methods, index: usize) -> Result<(), Method> {
        let Methods::These(methods) = methods else {
            return if self.any.replace(index).is_none() {
                Ok(())
            } else {
                Err(Method::from_bytes(b"*").unwrap_or_default())
            };
        };
        for method in methods {
            if self.by_method.iter().any(|(known, _)| known == method) {
                return Err(method.clone());
            }
            self.by_method.push((method.clone(), index));
        }
        Ok(())
    }
    /// Adds what no other route answers.
    fn add_missing(&mut self, methods: &Methods, index: usize) {
        match methods {
            Methods::Any => _ = self.any.get_or_insert(index),
            Methods::These(methods) => {
                for method in methods {
                    if !self.by_method.iter().any(|(known, _)| known == method) {
                        self.by_method.push((method.clone(), index));
                    }
                }
            }
        }
    }
    /// Lets GET answer HEAD, and writes down what is allowed.
    fn finish(&mut self) {
        let find = |wanted: &Method| {
            self.by_method.iter().find(|(method, _)| method == wanted).map(|(_, index)| *index)
        };
        if let (Some(get), None) = (find(&Method::GET), find(&Method::HEAD)) {
            self.by_method.push((Method::HEAD, get));
        }
        let mut names: Vec<_> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        if !names.contains(&"OPTIONS") {
            names.push("OPTIONS");
        }
        names.sort_unstable();
        self.allow = HeaderValue::try_from(names.join(", ")).ok();
    }
}

impl RouteTable {
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        const NOTHING: HeaderValue = HeaderValue::from_static("");
        static NO_METHOD: HeaderValue = NOTHING;
        let Ok(matchit::Match { value: endpoints, .. }) = self.paths.at(path) else {
            return Found::Nothing;
        };
        let by_method =
            endpoints.by_method.iter().find(|(known, _)| known == method).map(|(_, index)| *index);
        match by_method.or(endpoints.any) {
            Some(index) => Found::Route(index),
            None if method == Method::OPTIONS => {
                Found::Options(endpoints.allow.as_ref().unwrap_or(&NO_METHOD))
            }
            None => Found::MethodNotAllowed(endpoints.allow.as_ref().unwrap_or(&NO_METHOD)),
        }
    }
    /// The methods that some route answers at `path`, as a value for `Allow`.
    pub(super) fn allowed(&self, path: &str) -> Option<&HeaderValue> {
        self.paths.at(path).ok()?.value.allow.as_ref()
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
