//! Who has an account, and how they are known.
use portcullis::authn::{
    Accounts, ApiKey, ApiKeys, Attempts, AuthenticateLayer, Mailer, Sessions, StoredKeys,
};
use portcullis::{BoxError, Clock};
use tokio::runtime::Handle;

use crate::stack::DEMO_KEYS;
use crate::store::Store;

/// The endpoints for accounts, and the layer that knows whoever uses them.
#[derive(Debug)]
pub struct Front {
    pub(crate) accounts: Accounts,
    pub(crate) authenticate: AuthenticateLayer,
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
        // Whoever registers may order books; what else somebody may do stands in their row.
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
        let demo = DEMO_KEYS.iter().fold(ApiKeys::new(), |keys, (name, key, role)| {
            keys.key(ApiKey::new(*name, *key).role(*role))
        });
        let keys = demo.stored(StoredKeys::new(keys).users(users));
        let authenticate = AuthenticateLayer::new().api_keys(keys).sessions(sessions);
        Ok(Self { accounts, authenticate, clock })
    }
}
