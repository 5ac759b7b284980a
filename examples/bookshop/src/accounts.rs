//! Who has an account, and how they are known.
use portcullis::authn::{
    Accounts, ApiKey, ApiKeys, Attempts, AuthenticateLayer, Mailer, Sessions, StoredKeys,
};
use portcullis::authz::StoredRoles;
use portcullis::{BoxError, Clock};
use portcullis_sqlx::SqliteUsers;
use tokio::runtime::Handle;

use crate::roles::{self, DEMO_KEYS, Place};
use crate::store::Store;

/// The endpoints for accounts, the layer that knows whoever uses them, and what they may do.
#[derive(Debug)]
pub struct Front {
    pub(crate) accounts: Accounts,
    pub(crate) authenticate: AuthenticateLayer,
    pub(crate) users: SqliteUsers,
    pub(crate) roles: StoredRoles,
    pub(crate) clock: Clock,
}

impl Front {
    /// Accounts whose site is `base` (`https://localhost:3443`), with mails sent by `mailer`.
    ///
    /// # Errors
    /// The tables are not there, or `base` is no site.
    pub async fn new(
        store: &Store,
        base: &str,
        mailer: impl Mailer,
        clock: Clock,
    ) -> Result<Self, BoxError> {
        let stores = store.stores();
        // Whoever registers may order books; what else somebody may do they are given by a manager.
        let users = stores.users().await?.role_of_all("customer");
        let (keys, tokens) = (stores.keys().await?, stores.tokens().await?);
        let accounts = Accounts::builder(base, users.clone(), tokens, mailer)
            .service("The bookshop")
            .keys(keys.clone(), "bookshop")
            .attempts(Attempts::with_clock(clock.clone()))
            .mails(Accounts::mails_with_clock(clock.clone()))
            .build()?;
        accounts.start(&Handle::current());
        let sessions = Sessions::new(stores.sessions().await?).log_in_page("/account/login");
        sessions.start(&Handle::current());
        let demo = DEMO_KEYS.iter().fold(ApiKeys::new(), |keys, demo| {
            let key = ApiKey::new(demo.name, demo.key).plan(demo.plan);
            keys.key(match demo.place {
                Place::Shop => key.role(demo.role),
                Place::Branch(branch) => key.tenant(branch).role(demo.role),
                // What it may do above all branches is no matter of the key.
                Place::Everywhere => key,
            })
        });
        let keys = demo.stored(StoredKeys::new(keys).users(users.clone()));
        let authenticate = AuthenticateLayer::new().api_keys(keys).sessions(sessions);
        let roles = roles::open(store, clock.clone()).await?;
        Ok(Self { accounts, authenticate, users, roles, clock })
    }
    /// Who has which role.
    pub fn roles(&self) -> &StoredRoles {
        &self.roles
    }
}
