//! People who have an account from the beginning, so that there is something to see.
use portcullis::authn::{Email, Passwords, Users};
use portcullis::authz::{Binding, RoleEdit};
use portcullis::{BoxError, Secret};
use portcullis_sqlx::{ManagedUsers, Rights};

use crate::accounts::Front;

/// The password of them all.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Their addresses, their branches, and the roles that they have there.
pub(crate) const PEOPLE: [(&str, &str, Option<&str>); 4] = [
    ("mona@leeds.example", "leeds", Some("manager")),
    ("lena@leeds.example", "leeds", None),
    ("yara@york.example", "york", Some("manager")),
    ("yuri@york.example", "york", None),
];

impl Front {
    /// Gives the demo people an account each, unless they have one.
    ///
    /// # Errors
    /// The database cannot answer.
    pub async fn with_demo_people(self) -> Result<Self, BoxError> {
        let passwords = Passwords::new();
        for (email, branch, role) in PEOPLE {
            let email = Email::parse(email).ok_or("the address of a demo account is none")?;
            if self.users.by_email(&email).await?.is_some() {
                continue;
            }
            let kept = passwords.hash(Secret::new(PASSWORD.to_owned())).await?;
            let Some(account) = self.users.add(&email, &kept).await? else { continue };
            let mut rights = Rights::default();
            rights.tenant = Some(branch.to_owned());
            rights.plan = Some("trade".to_owned());
            self.users.set_rights(account.id(), &rights).await?;
            let identity = account.identity.to_builder().tenant(branch).build();
            if let Some(role) = role {
                let binding = Binding::for_key(identity.key(), role).in_tenant(branch);
                self.roles.change(&[RoleEdit::Assign(binding)]).await?;
            }
        }
        Ok(self)
    }
}
