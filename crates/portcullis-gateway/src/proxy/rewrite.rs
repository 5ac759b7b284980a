//! Another path for the server than the client asked for.
use http::uri::PathAndQuery;
use portcullis_core::problem::kinds::{CONFIGURATION_INVALID, TARGET_INVALID};
use portcullis_core::{Context, Problem, Target, TargetRules, canonical_path};

/// What becomes of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Rewrite {
    #[default]
    Keep,
    Strip(Box<str>),
    Add(Box<str>),
    /// A template with the parameters of the route's own, such as `/v2/{rest}`.
    Template(Box<[Part]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Box<str>),
    Parameter(Box<str>),
}

impl Rewrite {
    pub(super) fn strip(prefix: &str) -> Result<Self, String> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        is_plain(prefix)?;
        Ok(Self::Strip(prefix.into()))
    }
    pub(super) fn add(prefix: &str) -> Result<Self, String> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        is_plain(prefix)?;
        Ok(Self::Add(prefix.into()))
    }
    pub(super) fn template(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}`: a path begins with `/`"));
        }
        if text.contains(['?', '#']) {
            return Err(format!("`{text}`: it is a path alone; the query passes as it is"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) =
                after.split_once('}').ok_or(format!("`{text}`: `{{` has no `}}`"))?;
            let name = name.trim_start_matches('*');
            if name.is_empty() {
                return Err(format!("`{text}`: a parameter has a name, as in `{{id}}`"));
            }
            parts.extend((!before.is_empty()).then(|| Part::Text(before.into())));
            parts.push(Part::Parameter(name.into()));
            rest = tail;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.into())));
        Ok(Self::Template(parts.into()))
    }

    /// What is wrong with it on a route with this template.
    pub(crate) fn fault(&self, template: &str) -> Option<String> {
        match self {
            Self::Keep | Self::Add(_) => None,
            Self::Strip(prefix) => {
                let fixed = template.split('{').next().unwrap_or_default();
                let begins = template == &**prefix
                    || fixed.strip_prefix(&**prefix).is_some_and(|rest| rest.starts_with('/'));
                (!begins).then(|| format!("the path `{template}` does not begin with `{prefix}/`, which is to be stripped"))
            }
            Self::Template(parts) => parts.iter().find_map(|part| match part {
                Part::Parameter(name) if !parameters(template).any(|known| known == &**name) => {
                    Some(format!("the path `{template}` has no parameter `{name}`"))
                }
                _ => None,
            }),
        }
    }

    /// The path and query for the server.
    pub(super) fn apply(
        &self,
        context: &Context,
        target: &Target,
    ) -> Result<PathAndQuery, Problem> {
        let path = match self {
            Self::Keep => return Ok(target.path_and_query().clone()),
            Self::Strip(prefix) => match target.path().strip_prefix(&**prefix) {
                Some("") => "/".to_owned(),
                Some(rest) if rest.starts_with('/') => rest.to_owned(),
                _ => {
                    let cause = format!("`{}` does not begin with `{prefix}/`", target.path());
                    return Err(Problem::new(CONFIGURATION_INVALID).cause(cause));
                }
            },
            Self::Add(prefix) => format!("{prefix}{}", target.path()),
            Self::Template(parts) => {
                let template = context.route_template().unwrap_or_default();
                let captured = capture(template, target.path());
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => &**text,
                        Part::Parameter(name) => {
                            let found = captured.iter().find(|(known, _)| *known == &**name);
                            found.map_or("", |(_, value)| *value)
                        }
                    })
                    .collect()
            }
        };
        // What comes out is read again, since it may say something that was not asked about.
        let rules =
            TargetRules::strict().allow_encoded_slash().allow_parameters().keep_empty_segments();
        let canonical = canonical_path(&path, &rules);
        if !canonical.is_ok_and(|canonical| canonical == path) {
            let cause = format!("the rewritten path `{path}` is not canonical");
            return Err(Problem::new(TARGET_INVALID)
                .detail("the path cannot be passed on")
                .cause(cause));
        }
        let text = target.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        PathAndQuery::try_from(text).map_err(|error| Problem::new(TARGET_INVALID).cause(error))
    }
}

fn is_plain(prefix: &str) -> Result<(), String> {
    let plain = prefix.starts_with('/')
        && canonical_path(prefix, &TargetRules::strict()).is_ok_and(|path| path == prefix);
    if plain {
        Ok(())
    } else {
        Err(format!("`{prefix}` is no prefix: it begins with `/`, and is in its plain spelling"))
    }
}

pub(crate) fn parameters(template: &str) -> impl Iterator<Item = &str> {
    let names = template.split('{').skip(1).filter_map(|part| part.split('}').next());
    names.map(|name| name.trim_start_matches('*'))
}

/// The parameters of a template, and what stands there in a path that it matches.
pub(crate) fn capture<'a>(template: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut captured = Vec::new();
    let (mut template, mut path) = (template, path);
    while let Some((before, after)) = template.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else { break };
        // A catch-all matches the bare prefix too, with its slash or without.
        let Some(rest) = path.strip_prefix(before) else { break };
        if let Some(name) = name.strip_prefix('*') {
            captured.push((name, rest));
            break;
        }
        let next = tail.split('{').next().unwrap_or_default();
        let stop = next.chars().next().unwrap_or('/');
        let end = rest.find(stop).or_else(|| rest.find('/')).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        captured.push((name, value));
        (template, path) = (tail, rest);
    }
    captured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_the_path() {
        for (template, path, want) in [
            ("/books/{id}", "/books/7", &[("id", "7")][..]),
            ("/books/{id}/pages/{page}", "/books/7/pages/12", &[("id", "7"), ("page", "12")]),
            ("/books/{*rest}", "/books/a/b", &[("rest", "a/b")]),
            ("/books/{*rest}", "/books/", &[("rest", "")]),
            ("/books/{*rest}", "/books", &[]),
            ("/{a}/{*b}", "/x/y/z", &[("a", "x"), ("b", "y/z")]),
            ("/plain", "/plain", &[]),
        ] {
            assert_eq!(capture(template, path), want, "{template} {path}");
        }
    }

    #[test]
    fn what_cannot_work_on_a_route_is_told() {
        let strip = Rewrite::strip("/api/").unwrap();
        assert_eq!(strip.fault("/api/{*rest}"), None);
        assert_eq!(strip.fault("/api"), None);
        assert!(strip.fault("/apis/{*rest}").unwrap().contains("does not begin with `/api/`"));
        assert!(strip.fault("/{*rest}").is_some());
        let template = Rewrite::template("/v2/{rest}").unwrap();
        assert_eq!(template.fault("/api/{*rest}"), None);
        assert!(template.fault("/api/{id}").unwrap().contains("no parameter `rest`"));
        for wrong in ["v2", "/v2/{", "/v2/{}"] {
            assert!(Rewrite::template(wrong).is_err(), "{wrong}");
        }
        for wrong in ["api", "/a/../b", "/a b"] {
            assert!(Rewrite::strip(wrong).is_err(), "{wrong}");
        }
    }
}
