//! Who has which role, and a page on which managers change it: for browsers a form, for programs JSON.
use std::collections::BTreeSet;
use std::fmt::Write;

use axum::extract::{Form, FromRef, FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json, RequestPartsExt};
use portcullis::authn::{Account, Page, Users};
use portcullis::authz::kinds::{AUTHORIZATION_UNAVAILABLE, PERMISSION_DENIED};
use portcullis::authz::{
    Binding, Columns, Resource, RoleEdit, RoleError, RoleStoreError, Roles, Scope, StoredRoles,
};
use portcullis::axum::{Authorized, Problem, RequestContext, Valid};
use portcullis::problem::kinds::INTERNAL_ERROR;
use portcullis::{BoxError, Context, Format, ProblemKind};
use portcullis_sqlx::{ManagedUsers, SqliteUsers};
use serde::{Deserialize, Serialize};

use crate::roles::may_give;

const PERSON_UNKNOWN: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/person-unknown",
    StatusCode::NOT_FOUND,
    "You manage nobody of this name",
);
const ROLE_UNKNOWN: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/role-unknown",
    StatusCode::UNPROCESSABLE_ENTITY,
    "The shop has no such role",
);
const ROLE_TOO_MUCH: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/role-too-much",
    StatusCode::FORBIDDEN,
    "The role permits more than you may do",
);
const ROLES_APART: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/roles-apart",
    StatusCode::CONFLICT,
    "Nobody may have these roles together",
);

/// What may be done here.
const ASSIGN: &str = "roles:assign";

/// Somebody who works in a branch.
#[derive(Serialize)]
struct Person {
    /// Their number, which never changes.
    user: String,
    email: String,
    branch: String,
    /// What they have been given in their branch.
    roles: BTreeSet<String>,
}

/// What is to be changed.
#[derive(Deserialize)]
pub(crate) struct Change {
    #[serde(default)]
    user: String,
    #[serde(default)]
    role: String,
}

/// A [`Change`], by a form or by JSON.
pub(crate) struct Sent(Change);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        type ByForm = Valid<Form<Change>>;
        type ByJson = Valid<Json<Change>>;
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_form = kind.is_some_and(|it| it.starts_with(b"application/x-www-form-urlencoded"));
        if is_form {
            let Valid(Form(change)) =
                <ByForm as FromRequest<S>>::from_request(request, state).await?;
            return Ok(Self(change));
        }
        let Valid(Json(change)) = <ByJson as FromRequest<S>>::from_request(request, state).await?;
        Ok(Self(change))
    }
}

/// The office of somebody who may assign roles.
pub(crate) struct Office {
    users: SqliteUsers,
    stored: StoredRoles,
    authorized: Authorized,
    context: Context,
}

/// What the office needs of the shop.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) users: SqliteUsers,
    pub(crate) roles: StoredRoles,
}

impl<S> FromRequestParts<S> for Office
where
    S: Send + Sync,
    Files: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let authorized = parts.extract::<Authorized>().await?;
        let RequestContext(context) = parts.extract().await?;
        let Files { users, roles } = Files::from_ref(state);
        Ok(Self { users, stored: roles, authorized, context })
    }
}

fn failed(error: impl Into<BoxError>) -> Problem {
    Problem::new(INTERNAL_ERROR).cause(error)
}

impl Office {
    /// Whoever works in a branch, as an object that roles are given to.
    fn resource(account: &Account, branch: &str) -> Resource {
        Resource::new("user", account.id()).tenant(branch)
    }
    /// Whom the caller manages.
    async fn people(&self) -> Result<Vec<Person>, Problem> {
        let filter = self.authorized.filter(ASSIGN, Columns::new().tenant("tenant"))?;
        let (all, roles) = (self.users.all().await.map_err(failed)?, self.stored.current());
        let people = all.into_iter().filter_map(|account| {
            let branch = account.identity.tenant()?;
            filter.matches(&Self::resource(&account, branch)).then(|| Person {
                user: account.id().to_owned(),
                email: account.email.as_str().to_owned(),
                branch: branch.to_owned(),
                roles: given(&roles, &account, branch),
            })
        });
        Ok(people.collect())
    }
    /// Whether the caller may give this role in a branch, and take it away.
    fn may_give(&self, role: &str, branch: &str) -> bool {
        let (authorizer, who) = (self.authorized.authorizer(), self.authorized.identity());
        may_give(authorizer, who, role, branch)
    }
    /// Gives a role or takes it away, and says so.
    async fn change(&self, change: &Change, is_given: bool) -> Result<String, Problem> {
        let unknown = || Problem::new(PERSON_UNKNOWN);
        let account = self.users.by_id(&change.user).await.map_err(failed)?.ok_or_else(unknown)?;
        // Whoever works in no branch has no role but that of their account.
        let branch = account.identity.tenant().ok_or_else(unknown)?;
        match self.authorized.check(ASSIGN, &Self::resource(&account, branch)) {
            // Somebody of another branch is nobody here.
            Err(problem) if problem.kind() == PERMISSION_DENIED => return Err(unknown()),
            checked => checked?,
        }
        let (role, email) = (change.role.as_str(), account.email.as_str());
        if !self.stored.current().names().any(|name| name == role) {
            let detail = if role.is_empty() {
                "choose one".to_owned()
            } else {
                format!("no role is called `{role}`")
            };
            return Err(Problem::new(ROLE_UNKNOWN).detail(detail));
        }
        if !self.may_give(role, branch) {
            let detail = format!("you cannot give `{role}` in {branch}, nor take it away");
            return Err(Problem::new(ROLE_TOO_MUCH).detail(detail));
        }
        let binding = Binding::for_key(account.identity.key(), role).in_tenant(branch);
        let (edit, said) = if is_given {
            (RoleEdit::Assign(binding), format!("{email} is {role} in {branch} now."))
        } else {
            (RoleEdit::Unassign(binding), format!("{email} is not {role} in {branch} any longer."))
        };
        self.stored.change(&[edit]).await.map(|()| said).map_err(|error| refused(error, email))
    }
    /// What is shown after something was done, or was not.
    async fn answer(self, done: Result<String, Problem>) -> Result<Response, Problem> {
        let is_page = self.context.dialect().format() == Format::Html;
        let (said, problem) = match done {
            Ok(said) if is_page => (said, None),
            Ok(said) => return Ok(Json(serde_json::json!({ "done": said })).into_response()),
            Err(problem) if is_page && !problem.status().is_server_error() => {
                // The page says it; logs and metrics find it in the context, and layers further out in the answer.
                self.context.set_problem(problem.clone().into_inner());
                let (title, detail) = (problem.kind().title(), problem.detail_text());
                let said = detail.map_or_else(|| title.to_owned(), |it| format!("{title}: {it}"));
                (said, Some(problem))
            }
            Err(problem) => return Err(problem),
        };
        let people = self.people().await?;
        let Some(problem) = problem else {
            return Ok(self.page(&people, Said::Done(&said)).into_response());
        };
        let page = self.page(&people, Said::Wrong(&said));
        Ok((problem.status(), Extension(problem.into_inner()), page).into_response())
    }
    fn page(&self, people: &[Person], said: Said<'_>) -> impl IntoResponse + use<> {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        let header = (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        (
            [header],
            Html(html(people, said, &self.stored.current(), |role, branch| {
                self.may_give(role, branch)
            })),
        )
    }
}

/// The roles that somebody has been given in their branch.
fn given(roles: &Roles, account: &Account, branch: &str) -> BTreeSet<String> {
    let key = account.identity.key();
    let own = roles.model().bindings().filter(|binding| binding.key() == key);
    let here = own.filter(|it| matches!(it.scope(), Scope::Tenant(tenant) if **tenant == *branch));
    here.map(|binding| binding.role().to_owned()).collect()
}

/// Why a change was refused, for people.
fn refused(error: RoleStoreError, email: &str) -> Problem {
    match error {
        RoleStoreError::Refused(RoleError::Separated { separation, roles, .. }) => {
            let roles = roles.join(" and ");
            let detail = format!("`{separation}` keeps {roles} apart, and {email} would have both");
            Problem::new(ROLES_APART).detail(detail)
        }
        RoleStoreError::Refused(RoleError::Unknown(role)) => {
            Problem::new(ROLE_UNKNOWN).detail(format!("no role is called `{role}`"))
        }
        error => Problem::new(AUTHORIZATION_UNAVAILABLE).cause(error),
    }
}

pub(crate) async fn show(office: Office) -> Result<Response, Problem> {
    let people = office.people().await?;
    if office.context.dialect().format() == Format::Html {
        return Ok(office.page(&people, Said::Nothing).into_response());
    }
    Ok(Json(people).into_response())
}

pub(crate) async fn assign(office: Office, Sent(change): Sent) -> Result<Response, Problem> {
    let done = office.change(&change, true).await;
    office.answer(done).await
}

pub(crate) async fn revoke(office: Office, Sent(change): Sent) -> Result<Response, Problem> {
    let done = office.change(&change, false).await;
    office.answer(done).await
}

/// What stands above the page.
#[derive(Clone, Copy)]
enum Said<'a> {
    Nothing,
    Done(&'a str),
    Wrong(&'a str),
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}nav{margin-bottom:2rem}a{color:#1a4f8b}\
table{width:100%;border-collapse:collapse}caption{text-align:left;padding-bottom:.5rem;color:#555}th,td{text-align:left;vertical-align:top;padding:.6rem .75rem .6rem 0;border-bottom:1px solid #ddd}th{font-weight:600}\
ul{list-style:none;margin:0;padding:0}li{display:flex;align-items:center;justify-content:space-between;gap:1rem;padding:.1rem 0}li form{margin:0}\
label{display:block;margin:1rem 0 .25rem}select,button{font:inherit;padding:.45rem .75rem;border-radius:4px}select{width:100%;border:1px solid #767676;color:inherit;background:#fff}\
button{border:1px solid #1a4f8b;background:#1a4f8b;color:#fff;cursor:pointer}.give button{margin-top:1.25rem}li button{padding:.1rem .6rem;background:none;color:#1a4f8b}\
.error,.message{padding:.5rem .75rem;border-left:4px solid #1e7a3c;background:#e9f6ee}.error{border-color:#b3261e;background:#fdecea}.none{color:#666}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a,li button{color:#8ab8f0}li button{border-color:#8ab8f0}select{background:#242424}th,td{border-color:#3a3a3a}caption,.none{color:#aaa}.message{background:#16301f}.error{background:#3a1a18}}";

/// The page: whom the caller manages, a button at each role that they can take away, and one form to give a role.
fn html(
    people: &[Person],
    said: Said<'_>,
    roles: &Roles,
    may_give: impl Fn(&str, &str) -> bool,
) -> String {
    let escape = Page::escape;
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Roles - The bookshop</title><style>{STYLE}</style>\
         <nav><a href=\"/\">The bookshop</a></nav><main><h1>Who does what</h1>"
    );
    // Writing to a text cannot fail.
    _ = match said {
        Said::Nothing => Ok(()),
        Said::Done(text) => {
            write!(html, "<p class=\"message\" role=\"status\">{}</p>", escape(text))
        }
        Said::Wrong(text) => {
            write!(html, "<p class=\"error\" role=\"alert\">{}</p>", escape(text))
        }
    };
    html.push_str(
        "<table><caption>The people whom you manage, and the roles that they have been given in their branch</caption>\
         <thead><tr><th scope=\"col\">Person<th scope=\"col\">Branch<th scope=\"col\">Roles</thead><tbody>",
    );
    for person in people {
        let (user, email, branch) =
            (escape(&person.user), escape(&person.email), escape(&person.branch));
        _ = write!(html, "<tr><th scope=\"row\">{email}<td>{branch}<td>");
        if person.roles.is_empty() {
            html.push_str("<span class=\"none\">none</span>");
            continue;
        }
        html.push_str("<ul>");
        for role in &person.roles {
            _ = write!(html, "<li>{}", escape(role));
            if may_give(role, &person.branch) {
                let role = escape(role);
                _ = write!(
                    html,
                    "<form method=\"post\" action=\"/admin/roles/revoke\"><input type=\"hidden\" name=\"user\" value=\"{user}\"><input type=\"hidden\" name=\"role\" value=\"{role}\"><button aria-label=\"Take away {role} from {email}\">Take away</button></form>"
                );
            }
        }
        html.push_str("</ul>");
    }
    html.push_str("</tbody></table>");
    let branches: BTreeSet<_> = people.iter().map(|person| person.branch.as_str()).collect();
    let can = |role: &&str| branches.iter().any(|branch| may_give(role, branch));
    let people = people.iter().map(|person| {
        let (user, email, branch) =
            (escape(&person.user), escape(&person.email), escape(&person.branch));
        format!("<option value=\"{user}\">{email}, {branch}</option>")
    });
    let roles = roles.names().filter(can).map(|role| {
        let role = escape(role);
        format!("<option value=\"{role}\">{role}</option>")
    });
    _ = write!(
        html,
        "<h2>Give a role</h2><form class=\"give\" method=\"post\" action=\"/admin/roles\">\
         <label for=\"user\">To whom</label><select id=\"user\" name=\"user\" required><option value=\"\">Choose a person</option>{}</select>\
         <label for=\"role\">Which role</label><select id=\"role\" name=\"role\" required><option value=\"\">Choose a role</option>{}</select>\
         <button>Give</button></form></main></html>",
        people.collect::<String>(),
        roles.collect::<String>(),
    );
    html
}
