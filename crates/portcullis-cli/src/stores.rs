//! What an operator does with the stores of a file: tables, users, keys.
use std::fmt::Write;
use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use portcullis_authn::{
    Account, Email, KeyRecord, KeyStore, NewApiKey, PasswordRules, Passwords, Sessions,
};
use portcullis_config::{Gateway, OpenStore, Store};
use portcullis_core::{Clock, Identity, IdentityBuilder, IdentityKind, Secret};
use portcullis_sqlx::{ManagedUsers, Rights, SchemaError};
use tokio::time::timeout;

use crate::{Failure, File, print};

/// Which file, and which of its stores.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    #[command(flatten)]
    file: File,
    /// A name of `[stores]`. Default: for roles that of `[authorization]`; otherwise that of `[auth.api_key]` or `[auth.session]`, or the only one with `sql`.
    #[arg(long, value_name = "NAME", global = true)]
    store: Option<String>,
}

impl Which {
    /// The store that somebody has named.
    pub(crate) fn named(&self) -> Option<&str> {
        self.store.as_deref()
    }
    pub(crate) fn config(&self) -> &std::path::Path {
        &self.file.config
    }
}

/// What somebody has beside their name.
#[derive(Debug, clap::Args)]
pub(crate) struct RightsOf {
    /// A role; several may be named.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// The tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// The plan.
    #[arg(long)]
    plan: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Adds a user; the first line of standard input is the password. Not for an application whose passwords have a pepper.
    Add {
        /// The address.
        email: String,
        #[command(flatten)]
        rights: RightsOf,
    },
    /// Lists the users.
    List,
    /// Gives a user these roles, this tenant and plan, in place of those from before, and ends their sessions.
    Rights {
        /// The address.
        email: String,
        #[command(flatten)]
        rights: RightsOf,
    },
    /// Gives a user another password, which is the first line of standard input, and ends their sessions. Not for an application whose passwords have a pepper.
    Password {
        /// The address.
        email: String,
    },
    /// Ends a user's sessions, and lets nobody log in as them, nor use their keys.
    Disable {
        /// The address.
        email: String,
    },
    /// Lets a user log in again.
    Enable {
        /// The address.
        email: String,
    },
    /// Ends a user's sessions.
    LogOut {
        /// The address.
        email: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key and keeps its hash in the store; prints the key, for its caller alone.
    Add {
        /// Whose key it is, for logs and limits.
        id: String,
        #[command(flatten)]
        rights: RightsOf,
        /// What the key is for, for servers that ask; several may be named.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// For how many days it is good. Default: until somebody ends it.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: Option<u64>,
        #[command(flatten)]
        which: Which,
    },
    /// Lists the keys.
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Gives a key another text, and prints it; the old one is good for a day more.
    Rotate {
        /// Whose key it is.
        id: String,
        #[command(flatten)]
        which: Which,
    },
    /// Ends a key.
    End {
        /// Whose key it is.
        id: String,
        #[command(flatten)]
        which: Which,
    },
}

/// How long is waited at the start for what a store says of its tables.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The store that is meant, and all that the file has.
fn stores(which: &Which) -> Result<(Store, Vec<Store>), Failure> {
    let gateway = Gateway::read(&which.file.config)?;
    Ok((store(which, &gateway)?, gateway.stores().cloned().collect()))
}

pub(crate) fn store(which: &Which, gateway: &Gateway) -> Result<Store, Failure> {
    let found = match &which.store {
        Some(name) => gateway.stores().find(|store| store.name() == name.as_str()).cloned(),
        None => gateway.main_store().cloned(),
    };
    let names: Vec<_> = gateway.stores().map(|store| format!("`{}`", store.name())).collect();
    let hint = if let (Some(name), false) = (&which.store, names.is_empty()) {
        format!("there is no store `{name}`: the file has {}", names.join(", "))
    } else if names.is_empty() {
        "the file has no store: add `[stores.main]` with `sql = \"sqlite://portcullis.db\"`"
            .to_owned()
    } else {
        format!("say which one by `--store`: the file has {}", names.join(", "))
    };
    let found = found.ok_or(hint)?;
    if !found.has_tables() {
        return Err(format!(
            "store `{}` is Redis, which keeps neither users nor keys nor roles",
            found.name()
        )
        .into());
    }
    Ok(found)
}

pub(crate) async fn open(store: &Store) -> Result<OpenStore, Failure> {
    Ok(store.open().await.map_err(|error| said(store, &*error))?)
}

/// Makes the tables of every store, or prints them.
pub(crate) fn migrate(file: &File, only_print: bool) -> Result<(), Failure> {
    let gateway = Gateway::read(&file.config)?;
    let mut text = String::new();
    for store in gateway.stores() {
        let Some(schema) = store.schema() else { continue };
        if only_print {
            // Writing to a text cannot fail.
            _ = writeln!(text, "-- {}\n{schema};", store.name());
            continue;
        }
        let said = |error| format!("store `{}`: {error}", store.name());
        runtime()?.block_on(store.migrate()).map_err(said)?;
        _ = writeln!(text, "store `{}` has its tables", store.name());
    }
    if text.is_empty() {
        return Err("the file has no store with tables: add `[stores.main]` with `sql = \"sqlite://portcullis.db\"`".into());
    }
    print(&text)
}

/// Says at once what would keep the gateway from ever being ready: tables that are not those of this program, a file that is not there. A server that does not answer is waited for.
pub(crate) fn check(gateway: &Gateway) -> Result<(), Failure> {
    for store in gateway.stores().filter(|store| store.has_tables()) {
        let opened = async { timeout(PATIENCE, store.open()).await };
        let Ok(Err(error)) = runtime()?.block_on(opened) else { continue };
        let is_old = error
            .downcast_ref::<SchemaError>()
            .is_some_and(|error| !matches!(error, SchemaError::Database(_)));
        if is_old || is_no_file(&*error) {
            return Err(said(store, &*error).into());
        }
    }
    Ok(())
}

/// Whether there is no file of SQLite.
fn is_no_file(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("unable to open database file")
}

/// What is wrong with a store, and what may mend it.
fn said(store: &Store, error: &(dyn std::error::Error + 'static)) -> String {
    let text = format!("store `{}`: {error}", store.name());
    let is_old = text.contains("the tables of portcullis are of version");
    if is_old || is_no_file(error) {
        return text + "\n    hint: `portcullis migrate` makes the tables, and the file of SQLite";
    }
    text
}

/// The first line of standard input.
fn password() -> Result<Secret<String>, Failure> {
    if io::stdin().is_terminal() {
        return Err("the password is read from standard input, which is a terminal that would show it: `portcullis user .. < FILE`, or behind a pipe".into());
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok(Secret::new(password.to_owned()))
}

/// What is kept of a password that is taken.
async fn kept(email: &Email) -> Result<String, Failure> {
    let password = password()?;
    PasswordRules::new().check(password.expose(), &[email.as_str()])?;
    Ok(Passwords::new().hash(password).await?)
}

fn rights(of: RightsOf) -> Result<Rights, Failure> {
    if let Some(role) = of.roles.iter().find(|it| it.is_empty() || it.contains(char::is_whitespace))
    {
        return Err(format!("`{role}` is no role: a word without spaces").into());
    }
    let mut rights = Rights::of(of.roles);
    (rights.tenant, rights.plan) = (of.tenant, of.plan);
    Ok(rights)
}

pub(crate) fn email(text: &str) -> Result<Email, Failure> {
    Ok(Email::parse(text).ok_or_else(|| format!("`{text}` is no address"))?)
}

async fn known(users: &dyn ManagedUsers, text: &str) -> Result<Account, Failure> {
    let found = users.by_email(&email(text)?).await?;
    Ok(found.ok_or_else(|| format!("there is no user `{text}`"))?)
}

fn tell_users(all: &[Account]) -> String {
    let mut text = String::new();
    for account in all {
        let roles: Vec<_> = account.identity.roles().collect();
        let state = if account.is_disabled { "  disabled" } else { "" };
        let of = |name, value: Option<&str>| {
            value.map_or_else(String::new, |it| format!("  {name} {it}"))
        };
        let (tenant, plan) =
            (of("tenant", account.identity.tenant()), of("plan", account.identity.plan()));
        let roles = roles.join(",");
        _ = writeln!(
            text,
            "{}  {}  roles {roles}{tenant}{plan}{state}",
            account.email,
            account.id()
        );
    }
    text
}

/// Does what is to be done with users.
pub(crate) fn user(command: UserCommand, which: &Which) -> Result<(), Failure> {
    let (store, others) = stores(which)?;
    runtime()?.block_on(async {
        let users = open(&store).await?.users.ok_or("the store has no users")?;
        // Sessions and links may be anywhere: what is to end ends everywhere, or nobody is told that it has.
        let all = Everywhere::open(&others).await?;
        let told = match command {
            UserCommand::List => tell_users(&users.all().await?),
            UserCommand::Add { email: text, rights: of } => {
                let (email, rights) = (email(&text)?, rights(of)?);
                let made = users.add(&email, &kept(&email).await?).await?;
                let made = made.ok_or_else(|| format!("`{email}` has an account already"))?;
                users.set_rights(made.id(), &rights).await?;
                format!("{email} is {}\n", made.id())
            }
            UserCommand::Rights { email, rights: of } => {
                let rights = rights(of)?;
                let user = known(&*users, &email).await?;
                users.set_rights(user.id(), &rights).await?;
                all.end_sessions(&user).await?
            }
            UserCommand::Password { email } => {
                let user = known(&*users, &email).await?;
                let kept = kept(&user.email).await?;
                if !users.set_password(user.id(), user.kept(), &kept).await? {
                    return Err("the password has changed meanwhile: try again".into());
                }
                all.forget_links(&user).await?;
                all.end_sessions(&user).await?
            }
            UserCommand::Disable { email } => {
                let user = known(&*users, &email).await?;
                users.set_disabled(user.id(), true).await?;
                all.end_sessions(&user).await?
            }
            UserCommand::Enable { email } => {
                let user = known(&*users, &email).await?;
                users.set_disabled(user.id(), false).await?;
                String::new()
            }
            UserCommand::LogOut { email } => {
                let user = known(&*users, &email).await?;
                all.end_sessions(&user).await?
            }
        };
        print(&told)
    })
}

/// Every store of the file.
struct Everywhere(Vec<OpenStore>);

impl Everywhere {
    async fn open(stores: &[Store]) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for store in stores {
            all.push(open(store).await?);
        }
        Ok(Self(all))
    }
    async fn end_sessions(&self, user: &Account) -> Result<String, Failure> {
        let mut count = 0;
        for store in &self.0 {
            let sessions = Sessions::from_store(Arc::clone(&store.sessions));
            count += sessions.end_all(&user.identity).await?;
        }
        Ok(format!("{count} sessions have ended\n"))
    }
    async fn forget_links(&self, user: &Account) -> Result<(), Failure> {
        for store in &self.0 {
            store.tokens.forget(user.id()).await?;
        }
        Ok(())
    }
}

impl KeyCommand {
    fn which(&self) -> &Which {
        match self {
            Self::Add { which, .. }
            | Self::List { which }
            | Self::Rotate { which, .. }
            | Self::End { which, .. } => which,
        }
    }
}

fn tell_keys(all: &[KeyRecord], now: SystemTime) -> String {
    let mut text = String::new();
    let days = |until: Duration| format!("{} days", until.as_secs() / 86_400);
    for key in all {
        let roles: Vec<_> = key.identity.roles().collect();
        let owner =
            key.user.as_deref().map_or_else(String::new, |user| format!("  of user {user}"));
        let good = key.expires.map_or_else(String::new, |at| match at.duration_since(now) {
            Ok(left) => format!("  good for {}", days(left)),
            Err(_) => "  over".to_owned(),
        });
        let used = key.used.map_or_else(
            || "never used".to_owned(),
            |at| format!("used {} ago", days(now.duration_since(at).unwrap_or_default())),
        );
        _ = writeln!(
            text,
            "{}  {}  roles {}{owner}{good}  {used}",
            key.id,
            key.label,
            roles.join(",")
        );
    }
    text
}

/// Does what is to be done with keys.
pub(crate) fn key(command: KeyCommand, prefix: &str) -> Result<(), Failure> {
    let (store, _) = stores(command.which())?;
    runtime()?.block_on(async {
        let open = open(&store).await?;
        let keys: Arc<dyn KeyStore> = open.keys.clone().ok_or("the store has no keys")?;
        let now = Clock::system().wall();
        let none = |id: &str| format!("there is no key `{id}`");
        let told = match command {
            KeyCommand::List { .. } => tell_keys(&keys.list(None).await?, now),
            KeyCommand::Add { id, rights: of, scopes, days, .. } => {
                let made = NewApiKey::generate(prefix);
                let mut identity = Identity::builder(portcullis_authn::ApiKeys::ISSUER, id.as_str());
                identity = identity.kind(IdentityKind::Key).roles(of.roles).scopes(scopes);
                identity = of.tenant.into_iter().fold(identity, IdentityBuilder::tenant);
                identity = of.plan.into_iter().fold(identity, IdentityBuilder::plan);
                let mut record = KeyRecord::new(id.as_str(), made.digest(), identity.build(), now);
                let life = days.map(|days| Duration::from_hours(24).saturating_mul(u32::try_from(days).unwrap_or(u32::MAX)));
                record.expires = life.and_then(|life| now.checked_add(life));
                if !keys.add(record).await? {
                    return Err(format!("there is a key `{id}` already: `portcullis key rotate {id}` gives it another text").into());
                }
                format!("{}\n", made.key().expose())
            }
            KeyCommand::Rotate { id, .. } => {
                let record = keys.by_id(&id).await?.ok_or_else(|| none(&id))?;
                let made = NewApiKey::generate(prefix);
                let until = now.checked_add(KeyRecord::OVERLAP).unwrap_or(now);
                if !keys.rotate(&id, &record.digest, &made.digest(), until).await? {
                    return Err("the key has changed meanwhile: try again".into());
                }
                format!("{}\n", made.key().expose())
            }
            KeyCommand::End { id, .. } => {
                if !keys.end(&id).await? {
                    return Err(none(&id).into());
                }
                String::new()
            }
        };
        print(&told)
    })
}
