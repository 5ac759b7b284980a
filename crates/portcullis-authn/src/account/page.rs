//! What browsers are shown.
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::session::SessionInfo;
use crate::stored_key::KeyRecord;

/// Which page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageKind {
    /// An address and a password, to register: fields `email`, `password`.
    Register,
    /// The password that was chosen with the address, behind the link of a mail: `token`, `password`.
    Verify,
    /// An address and a password: `email`, `password`, `next`.
    LogIn,
    /// A button to log out.
    LogOut,
    /// The address of somebody who has forgotten the password: `email`.
    Reset,
    /// Another password, behind the link of a mail: `token`, `password`, and `keys` with the value `end`.
    ResetConfirm,
    /// Another password, of somebody who has logged in: `current`, `password`, and `keys` with the value `end`.
    Password,
    /// Another address, of somebody who has logged in: `current`, `email`.
    Email,
    /// A button, behind the link of a mail: `token`.
    EmailConfirm,
    /// Where else one is logged in; `name` of what is to be ended at `/sessions/end`.
    Sessions,
    /// Keys of programs: `label`, `days`, `current`; `id` and `current` at `/keys/rotate`, `id` at `/keys/end`.
    Keys,
    /// Nothing but what is said.
    Done,
}

impl PageKind {
    /// Where its form goes, as it follows where the endpoints are mounted: `/login`. With that before it: [`Page::action`].
    pub fn path(self) -> &'static str {
        match self {
            Self::Register => "/register",
            Self::Verify => "/verify",
            Self::LogIn => "/login",
            Self::LogOut => "/logout",
            Self::Reset => "/reset",
            Self::ResetConfirm => "/reset/confirm",
            Self::Password => "/password",
            Self::Email => "/email",
            Self::EmailConfirm => "/email/confirm",
            Self::Sessions => "/sessions",
            Self::Keys => "/keys",
            Self::Done => "",
        }
    }
    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Register => "Register",
            Self::Verify => "Confirm your address",
            Self::LogIn => "Log in",
            Self::LogOut => "Log out",
            Self::Reset => "Forgotten password",
            Self::ResetConfirm => "Choose a password",
            Self::Password => "Change your password",
            Self::Email => "Change your address",
            Self::EmailConfirm => "Confirm your new address",
            Self::Sessions => "Where you are logged in",
            Self::Keys => "Keys for programs",
            Self::Done => "Done",
        }
    }
}

/// A page to be shown. Every text of it may be of a client: escape it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<'a> {
    /// Which it is.
    pub kind: PageKind,
    /// What the service is called.
    pub service: &'a str,
    /// Where the endpoints are mounted: `/account`.
    pub mount: &'a str,
    /// What went wrong with what was sent.
    pub error: Option<&'a str>,
    /// What was done.
    pub message: Option<&'a str>,
    /// The address that was sent, to be sent again.
    pub email: &'a str,
    /// The token of a link, to be sent with the form.
    pub token: &'a str,
    /// Where to go after the log-in, to be sent with the form.
    pub next: &'a str,
    /// The name of a key that was sent, to be sent again.
    pub label: &'a str,
    /// Where the user is logged in.
    pub sessions: &'a [SessionInfo],
    /// The user's keys.
    pub keys: &'a [KeyRecord],
    /// A key that is shown this once.
    pub new_key: Option<&'a str>,
    /// Where a browser goes that has nothing more to do here.
    pub home: &'a str,
    /// The time now.
    pub now: SystemTime,
}

impl Page<'_> {
    /// Where its form goes: `/account/login`.
    pub fn action(&self) -> String {
        format!("{}{}", self.mount, self.kind.path())
    }
    /// A text as HTML has it, in quotes too.
    pub fn escape(text: &str) -> String {
        escape(text)
    }
}

/// Makes HTML of pages. They are answered with a `Content-Security-Policy` that allows no script, and no style but those of the page.
pub trait Pages: std::fmt::Debug + Send + Sync + 'static {
    /// A page, whole.
    fn html(&self, page: &Page<'_>) -> String;
}

/// Pages without ornament.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainPages;

/// Text in HTML, in quotes too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.5rem}label{display:block;margin:1rem 0 .25rem}.check input{width:auto}input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #767676;border-radius:4px}\
button{font:inherit;margin-top:1rem;padding:.5rem 1rem;border:1px solid #1a4f8b;border-radius:4px;background:#1a4f8b;color:#fff}\
td button{margin:0}td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top}td form{margin:0}\
.error{border-left:4px solid #b3261e;padding:.5rem .75rem;background:#fdecea}.message{border-left:4px solid #1e7a3c;padding:.5rem .75rem;background:#e9f6ee}\
code{word-break:break-all}nav{margin-top:2rem}a{color:#1a4f8b}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}input{color:#eee;background:#242424}.error{background:#3a1a18}.message{background:#16301f}a{color:#8ab8f0}}";

/// A field of a form.
fn field(name: &str, label: &str, kind: &str, complete: &str, value: &str) -> String {
    let (value, focus) = (escape(value), if name == "email" { " autofocus" } else { "" });
    format!(
        "<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" type=\"{kind}\" autocomplete=\"{complete}\" value=\"{value}\" required{focus}>"
    )
}

/// A text in a form that nobody sees.
fn hidden(name: &str, value: &str) -> String {
    let value = escape(value);
    if value.is_empty() {
        return String::new();
    }
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
}

/// Asked of whoever chooses another password: somebody else may have made keys.
const END_KEYS: &str = "<label class=\"check\"><input type=\"checkbox\" name=\"keys\" value=\"end\"> End my keys for programs too</label>";

fn current() -> String {
    field("current", "Your password", "password", "current-password", "")
}

fn form(page: &Page<'_>, fields: &str, button: &str) -> String {
    row_form(page, page.kind.path(), fields, button)
}

/// A form of its own.
fn row_form(page: &Page<'_>, path: &str, fields: &str, button: &str) -> String {
    let mount = escape(page.mount);
    format!(
        "<form method=\"post\" action=\"{mount}{path}\">{fields}<button>{button}</button></form>"
    )
}

/// How far off a time is, in the largest unit that there is a whole one of.
fn span(between: Duration) -> String {
    let seconds = between.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let found = units.iter().find(|(unit, _)| seconds >= *unit);
    match found.map(|(unit, name)| (seconds / unit, name)) {
        None => "a moment".to_owned(),
        Some((1, name)) => format!("1 {name}"),
        Some((count, name)) => format!("{count} {name}s"),
    }
}

fn ago(time: SystemTime, now: SystemTime) -> String {
    format!("{} ago", span(now.duration_since(time).unwrap_or_default()))
}

fn ahead(time: SystemTime, now: SystemTime) -> String {
    format!("for {}", span(time.duration_since(now).unwrap_or_default()))
}

fn sessions(page: &Page<'_>) -> String {
    let mut html = String::from("<table><tr><th>Browser<th>Since<th>Last used<th>");
    for session in page.sessions {
        let agent = escape(session.agent.as_deref().unwrap_or("unknown"));
        let (since, used) = (ago(session.created, page.now), ago(session.used, page.now));
        let end = if session.is_current {
            "this one".to_owned()
        } else {
            row_form(page, "/sessions/end", &hidden("name", &session.name), "End")
        };
        // Writing to a text cannot fail.
        _ = write!(html, "<tr><td>{agent}<td>{since}<td>{used}<td>{end}");
    }
    html.push_str("</table>");
    html + &row_form(page, "/sessions/end", &hidden("name", "others"), "End all others")
}

fn keys(page: &Page<'_>) -> String {
    let mut html = String::new();
    if let Some(key) = page.new_key {
        let key = escape(key);
        _ = write!(
            html,
            "<p>Keep this key now, it is not shown again:</p><p><code>{key}</code></p>"
        );
    }
    html.push_str("<table><tr><th>Key<th>Made<th>Last used<th>Good<th>");
    for key in page.keys {
        let name = escape(if key.label.is_empty() { &key.id } else { &key.label });
        let used = key.used.map_or_else(|| "never".to_owned(), |used| ago(used, page.now));
        let until =
            key.expires.map_or_else(|| "until you end it".to_owned(), |at| ahead(at, page.now));
        let end = row_form(page, "/keys/end", &hidden("id", &key.id), "End");
        let made = ago(key.created, page.now);
        _ = write!(html, "<tr><td>{name}<td>{made}<td>{used}<td>{until}<td>{end}");
    }
    html.push_str("</table><h2>Another key</h2>");
    let label = field("label", "What it is for", "text", "off", page.label);
    let days = "<label for=\"days\">For how many days it is good</label><input id=\"days\" name=\"days\" type=\"number\" min=\"1\" max=\"3650\" value=\"90\">";
    html + &form(page, &(label + days + &current()), "Make a key")
}

fn content(page: &Page<'_>) -> String {
    let email = field("email", "E-mail", "email", "username", page.email);
    let new = field("password", "New password", "password", "new-password", "");
    let token = hidden("token", page.token);
    match page.kind {
        PageKind::Register => {
            let password =
                field("password", "Password, 8 characters or more", "password", "new-password", "");
            form(page, &(email + &password), "Register")
        }
        PageKind::Verify => {
            let password = field(
                "password",
                "The password that you chose",
                "password",
                "current-password",
                "",
            );
            form(page, &(token + &password), "Confirm")
        }
        PageKind::LogIn => {
            let password = field("password", "Password", "password", "current-password", "");
            form(page, &(email + &password + &hidden("next", page.next)), "Log in")
        }
        PageKind::LogOut => form(page, "", "Log out"),
        PageKind::Reset => form(page, &email, "Send me a link"),
        PageKind::ResetConfirm => form(page, &(token + &new + END_KEYS), "Change"),
        PageKind::Password => form(page, &(current() + &new + END_KEYS), "Change"),
        PageKind::Email => {
            let email = field("email", "New e-mail", "email", "email", page.email);
            form(page, &(email + &current()), "Change")
        }
        PageKind::EmailConfirm => form(page, &token, "Confirm"),
        PageKind::Sessions => sessions(page),
        PageKind::Keys => keys(page),
        PageKind::Done => String::new(),
    }
}

fn links(page: &Page<'_>) -> &'static [(&'static str, &'static str)] {
    match page.kind {
        PageKind::LogIn => &[("/register", "Register"), ("/reset", "Forgotten password")],
        PageKind::Register | PageKind::Reset => &[("/login", "Log in")],
        PageKind::Verify => &[("/login", "Log in"), ("/register", "Another mail")],
        PageKind::ResetConfirm => &[("/login", "Log in"), ("/reset", "Another mail")],
        PageKind::Done | PageKind::LogOut | PageKind::EmailConfirm => &[],
        PageKind::Password | PageKind::Email | PageKind::Sessions | PageKind::Keys => &[
            ("/password", "Password"),
            ("/email", "Address"),
            ("/sessions", "Sessions"),
            ("/keys", "Keys"),
            ("/logout", "Log out"),
        ],
    }
}

impl Pages for PlainPages {
    fn html(&self, page: &Page<'_>) -> String {
        let (title, service) = (page.kind.title(), escape(page.service));
        let mut html = format!(
            "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title} - {service}</title><style>{STYLE}</style><main><h1>{title}</h1>"
        );
        // Writing to a text cannot fail.
        if let Some(error) = page.error {
            _ = write!(html, "<p class=\"error\" role=\"alert\">{}</p>", escape(error));
        }
        if let Some(message) = page.message {
            _ = write!(html, "<p class=\"message\" role=\"status\">{}</p>", escape(message));
        }
        html.push_str(&content(page));
        let mount = escape(page.mount);
        let links = links(page).iter();
        let links: Vec<_> =
            links.map(|(path, text)| format!("<a href=\"{mount}{path}\">{text}</a>")).collect();
        let home = escape(page.home);
        let home = format!("<a href=\"{home}\">{service}</a>");
        let links: Vec<_> = links.into_iter().chain([home]).collect();
        _ = write!(html, "<nav>{}</nav>", links.join(" · "));
        html.push_str("</main></html>");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::PageKind::*;
    use super::*;

    #[test]
    fn how_far_off_a_time_is() {
        let after = |seconds| span(Duration::from_secs(seconds));
        for (seconds, want) in [
            (0, "a moment"),
            (59, "a moment"),
            (60, "1 minute"),
            (7_199, "1 hour"),
            (7_200, "2 hours"),
            (86_400 * 45, "45 days"),
        ] {
            assert_eq!(after(seconds), want);
        }
    }

    #[test]
    fn what_a_client_sends_is_text() {
        let evil = "\"'><script>alert(1)</script>";
        let base = Page {
            kind: LogIn,
            service: evil,
            mount: "/account",
            error: Some(evil),
            message: Some(evil),
            email: evil,
            token: evil,
            next: evil,
            label: evil,
            sessions: &[],
            keys: &[],
            new_key: Some(evil),
            home: evil,
            now: SystemTime::UNIX_EPOCH,
        };
        for kind in [
            Register,
            Verify,
            LogIn,
            LogOut,
            Reset,
            ResetConfirm,
            Password,
            Email,
            EmailConfirm,
            Sessions,
            Keys,
            Done,
        ] {
            let html = PlainPages.html(&Page { kind, ..base.clone() });
            assert!(!html.contains("<script") && html.contains("&lt;script"), "{kind:?}: {html}");
        }
    }
}
