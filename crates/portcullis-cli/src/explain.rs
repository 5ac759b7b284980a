//! Who may call what, and why: without a request that goes anywhere.
use std::fmt::Write;
use std::fs;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use portcullis_authz::DecisionRecord;
use portcullis_config::{Explanation, Gateway};
use portcullis_core::{Body, Clock, Connection, Identity, IdentityBuilder, Note, Verdict};
use serde_json::{Value, json};

use crate::stores::runtime;
use crate::{Failure, File, print};

/// How the matrix is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct MatrixOf {
    #[command(flatten)]
    file: File,
    /// As JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As a table in Markdown.
    #[arg(long)]
    markdown: bool,
}

/// Whose request it is taken for, and what is in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    file: File,
    /// The method.
    method: Method,
    /// A path, or a whole address: `/orders/7`, `https://shop.example/orders/7`.
    url: Uri,
    /// A role that the caller has; several may be named. Without any of these the request's own credentials say who it is.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A scope that the caller has; several may be named.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Who the caller is, for roles that a store keeps.
    #[arg(long)]
    subject: Option<String>,
    /// Who vouches for the caller: what stands in `iss`, or `api-key`. Default: the one of the file, where there is one alone; otherwise one that the route takes.
    #[arg(long)]
    issuer: Option<String>,
    /// The caller's tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// The caller's assurance level: 1, 2 or 3.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    level: Option<u8>,
    /// The caller has just logged in.
    #[arg(long)]
    fresh: bool,
    /// A header of the request, as `name: value`; several may be named.
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Where the request comes from. Default: 127.0.0.1.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What is judged again.
#[derive(Debug, clap::Args)]
pub(crate) struct Replayed {
    #[command(flatten)]
    file: File,
    /// A decision log: an object of JSON a line, as the log of the gateway has them (`access_log = "json"`), or other lines between them.
    log: PathBuf,
    /// Exit code 0 also where more is allowed than was: it is known and wanted.
    #[arg(long)]
    pub(crate) ack: bool,
}

pub(crate) fn matrix(of: &MatrixOf) -> Result<(), Failure> {
    let gateway = Gateway::read(&of.file.config)?;
    if gateway.has_stored_roles() && !runtime()?.block_on(gateway.start_callers()) {
        return Err(
            "the store that keeps roles does not answer, and without it the matrix is not known"
                .into(),
        );
    }
    let matrix = gateway.matrix();
    print(&if of.json {
        format!("{:#}\n", matrix.to_json())
    } else if of.markdown {
        matrix.to_markdown()
    } else {
        matrix.to_string()
    })
}

pub(crate) fn explain(asked: &Asked) -> Result<(), Failure> {
    let gateway = Gateway::read(&asked.file.config)?;
    let request = asked.request()?;
    let explained = runtime()?.block_on(async {
        // Whoever cannot be asked is told of by the layer that asks.
        gateway.start_callers().await;
        gateway.explain(request, asked.caller(gateway.only_issuer())).await
    })?;
    print(&if asked.json { format!("{:#}\n", as_json(&explained)) } else { explained.to_string() })
}

impl Asked {
    fn request(&self) -> Result<Request<Body>, Failure> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let is_bare = self.url.scheme().is_none() && self.url.authority().is_some();
        if !path.starts_with('/') || is_bare {
            let url = &self.url;
            return Err(format!("`{url}` is no path: write `/orders`, or a whole address").into());
        }
        *request.uri_mut() = path.parse()?;
        let host = self.url.authority().map_or("explain.invalid", |host| host.as_str());
        request.headers_mut().insert(HOST, host.parse()?);
        for header in &self.headers {
            let wrong = || format!("`{header}` is no header: write `name: value`");
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
            let value = HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
            if name == HOST {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        let from = self.from.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        request.extensions_mut().insert(Connection::new(Some(SocketAddr::new(from, 0))));
        Ok(request)
    }
    /// Whom it is taken for, where somebody says it.
    fn caller(&self, only: Option<&str>) -> Option<(IdentityBuilder, bool)> {
        let is_said = !self.roles.is_empty()
            || !self.scopes.is_empty()
            || self.level.is_some()
            || self.fresh
            || [&self.subject, &self.issuer, &self.tenant].iter().any(|text| text.is_some());
        let issuer = self.issuer.as_deref().or(only).unwrap_or("explain");
        let subject = self.subject.as_deref().unwrap_or("explain");
        let caller = Identity::builder(issuer, subject)
            .roles(self.roles.iter().cloned())
            .scopes(self.scopes.iter().cloned());
        let caller = self.tenant.iter().cloned().fold(caller, IdentityBuilder::tenant);
        let caller = self.level.into_iter().fold(caller, IdentityBuilder::assurance);
        let now = self.fresh.then(|| Clock::system().wall());
        let caller = now.into_iter().fold(caller, IdentityBuilder::authenticated_at);
        is_said.then_some((caller, self.issuer.is_none() && only.is_none()))
    }
}

fn as_json(explained: &Explanation) -> Value {
    let notes = explained.notes().into_iter().map(|Note { stage, text, after, .. }| {
        json!({ "stage": stage, "says": text, "after_us": u64::try_from(after.as_micros()).unwrap_or(u64::MAX) })
    });
    let decision = explained.decision().map(|decision| {
        json!({
            "verdict": decision.verdict().as_str(),
            "rule": decision.rule().to_string(),
            "reason": decision.reason(),
        })
    });
    json!({
        "layers": notes.collect::<Vec<_>>(),
        "route": explained.route().map(|route| route.name().unwrap_or_else(|| route.template())),
        "identity": explained.identity().map(|identity| identity.key().to_string()),
        "decision": decision,
        "status": explained.answer().map(|status| status.as_u16()),
        "problem": explained.problem().map(|problem| problem.kind().slug()),
        "to": explained.to(),
    })
}

/// Judges again what was decided. Says whether more is allowed than was.
pub(crate) fn replay(of: &Replayed) -> Result<bool, Failure> {
    let gateway = Gateway::read(&of.file.config)?;
    let file = fs::File::open(&of.log).map_err(|error| format!("{}: {error}", of.log.display()))?;
    let (mut widened, mut narrowed, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let (mut same, mut objects, mut unread, mut unrouted) = (0_u64, 0_u64, 0_u64, 0_u64);
    let runtime = runtime()?;
    if gateway.has_stored_roles() && !runtime.block_on(gateway.start_callers()) {
        return Err(
            "the store that keeps roles does not answer, and without it nothing can be judged"
                .into(),
        );
    }
    for line in std::io::BufReader::new(file).split(b'\n') {
        let line = line?;
        let value: Option<Value> = serde_json::from_slice(&line).ok();
        let Some(record) = value.as_ref().and_then(DecisionRecord::from_json) else {
            unread += u64::from(!line.trim_ascii().is_empty());
            continue;
        };
        if record.object.is_some() {
            objects += 1;
            continue;
        }
        let now = runtime.block_on(gateway.replay(&record))?;
        let what = |now: &str| {
            let who = record.subject.as_deref().or(record.issuer.as_deref()).unwrap_or("nobody");
            let roles = record.roles.join(",");
            format!(
                "{} {} by {} (roles {}): {now}; before, {}",
                record.method,
                record.path.escape_debug(),
                who.escape_debug(),
                roles.escape_debug(),
                record.verdict
            )
        };
        match now {
            None => {
                unrouted += 1;
                // It is answered with 404 or 405: nobody gets there.
                if record.verdict == Verdict::Allow {
                    narrowed.push(what("no route"));
                }
            }
            Some(now) if now == record.verdict => same += 1,
            Some(Verdict::Allow) => widened.push(what("allow")),
            Some(now) if record.verdict == Verdict::Allow => narrowed.push(what(now.as_str())),
            Some(now) => other.push(what(now.as_str())),
        }
    }
    let mut text = String::new();
    for (kind, mut lines) in
        [("widened", widened.clone()), ("narrowed", narrowed), ("changed", other)]
    {
        lines.sort();
        lines.dedup();
        for line in lines {
            // Writing to a string never fails.
            _ = writeln!(text, "{kind}: {line}");
        }
    }
    _ = writeln!(
        text,
        "{same} the same; {objects} about objects, {unrouted} without a route, and {unread} lines that are no decisions were not judged"
    );
    print(&text)?;
    if same == 0 && objects == 0 && unrouted == 0 && text.lines().count() == 1 {
        return Err(format!("{}: there is no decision in it", of.log.display()).into());
    }
    Ok(!widened.is_empty())
}
