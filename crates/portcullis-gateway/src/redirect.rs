//! An endpoint that sends clients elsewhere.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use http::header::LOCATION;
use http::{HeaderValue, Request, Response, StatusCode};
use portcullis_core::problem::kinds::TARGET_INVALID;
use portcullis_core::{Body, Context, Problem, Target};
use tower_service::Service;

use crate::proxy::{capture, parameters};

/// An endpoint that sends clients elsewhere. Cheap to clone.
///
/// In its address `{host}`, `{path}` and `{query}` stand for what was asked for: `https://{host}{path}{query}`. `{query}` has its
/// question mark, and is empty without a query. The parameters of the route's template may stand in the path: `/new/{rest}`.
///
/// ```
/// use portcullis_core::Routes;
/// use portcullis_gateway::Redirect;
/// let routes = Routes::builder()
///     .get("/old/{*rest}", Redirect::permanent("https://new.example{path}{query}")).public()
///     .build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    status: StatusCode,
    to: Arc<str>,
}

impl Redirect {
    /// For now, with the same method (307).
    pub fn temporary(to: impl Into<Arc<str>>) -> Self {
        Self { status: StatusCode::TEMPORARY_REDIRECT, to: to.into() }
    }
    /// For good, with the same method (308).
    pub fn permanent(to: impl Into<Arc<str>>) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, to: to.into() }
    }
    /// With this status, where it is a redirection.
    ///
    /// # Errors
    /// That it is none of 301, 302, 303, 307, 308.
    pub fn with_status(self, status: u16) -> Result<Self, String> {
        match (status, StatusCode::from_u16(status)) {
            (301 | 302 | 303 | 307 | 308, Ok(status)) => Ok(Self { status, ..self }),
            _ => Err(format!("{status} is no redirection: say 301, 302, 303, 307 or 308")),
        }
    }

    /// What cannot work about its address at a route with this template.
    ///
    /// # Errors
    /// What, and how to mend it.
    pub fn check(&self, template: &str) -> Result<(), String> {
        let path = self.to.find("://").map_or(0, |scheme| scheme + 3);
        let path = self.to.get(path..).and_then(|rest| rest.find('/')).map(|slash| path + slash);
        let mut plain = self.to.to_string();
        for name in parameters(template) {
            let name = format!("{{{name}}}");
            let is_in_path = path.zip(self.to.find(&name)).is_none_or(|(path, at)| path < at);
            if self.to.contains(&name) && (path.is_none() || !is_in_path) {
                return Err(format!("`{name}` may stand in the path alone: a client chooses it"));
            }
            plain = plain.replace(&name, "");
        }
        for name in ["{host}", "{path}", "{query}"] {
            plain = plain.replace(name, "");
        }
        if let Some((_, name)) = plain.split_once('{')
            && let Some((name, _)) = name.split_once('}')
        {
            return Err(format!(
                "`{{{name}}}` is neither `{{host}}`, `{{path}}`, `{{query}}` nor a parameter of `{template}`"
            ));
        }
        if self.to.is_empty()
            || plain.contains(['{', '}'])
            || HeaderValue::try_from(plain.trim()).is_err()
        {
            return Err(format!(
                "`{}` is no address: write `https://{{host}}{{path}}{{query}}`, or a path",
                self.to.escape_debug()
            ));
        }
        Ok(())
    }
    fn location(&self, template: &str, target: Option<&Target>) -> Option<HeaderValue> {
        let (host, path, query) = target
            .map_or(("", "/", None), |target| (target.authority(), target.path(), target.query()));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        // In one go, so that what a client sent is never taken for a name.
        let captured = capture(template, path);
        let (mut to, mut rest) = (String::new(), &*self.to);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}')?;
            to.push_str(before);
            to.push_str(match name {
                "host" => host,
                "path" => path,
                "query" => &query,
                name => {
                    captured.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
                }
            });
            rest = tail;
        }
        to.push_str(rest);
        // Two slashes in front would be read as a host.
        if to.starts_with("//") && !self.to.starts_with("//") {
            return None;
        }
        HeaderValue::try_from(to).ok()
    }
}

impl<B> Service<Request<B>> for Redirect {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let context = Context::of(&mut request);
        let Some(location) =
            self.location(context.route_template().unwrap_or_default(), context.target())
        else {
            return ready(Ok(Problem::new(TARGET_INVALID).respond(&context)));
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        ready(Ok(response))
    }
}
