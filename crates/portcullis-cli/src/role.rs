//! What an operator does with the roles of a store.
use std::fmt::Write;

use clap::Subcommand;
use portcullis_authz::{Binding, RoleEdit, RoleModel, Roles, Scope};
use portcullis_config::Gateway;
use portcullis_core::{Identity, IdentityBuilder};

use crate::stores::{Which, email, open, runtime, store};
use crate::{Failure, print};

/// Who has a role, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Holder {
    /// The role.
    role: String,
    /// A user of the store, by their address.
    #[arg(long, value_name = "EMAIL", conflicts_with_all = ["issuer", "subject", "of_tenant"])]
    user: Option<String>,
    /// Who vouches for the caller: what stands in `iss` of tokens, or `api-key`.
    #[arg(long, requires = "subject")]
    issuer: Option<String>,
    /// The caller, as its issuer calls it.
    #[arg(long, requires = "issuer")]
    subject: Option<String>,
    /// The tenant that the caller belongs to.
    #[arg(long, value_name = "TENANT")]
    of_tenant: Option<String>,
    /// Only with what belongs to this tenant. Default: everywhere.
    #[arg(long, value_name = "TENANT", conflicts_with = "at")]
    in_tenant: Option<String>,
    /// Only with the object at this path, and with all below it.
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Lists the roles of file and store, and who has which.
    List,
    /// Adds a role to the store.
    Add {
        /// Its name.
        role: String,
        /// What it permits; several may be named.
        #[arg(long = "permit", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// A role whose permissions it has too; several may be named.
        #[arg(long = "inherit", value_name = "ROLE")]
        inherits: Vec<String>,
    },
    /// Takes a role out of the store, with all who have it.
    Delete {
        /// Its name.
        role: String,
    },
    /// Has a role of the store permit something more.
    Permit {
        /// The role.
        role: String,
        /// What it permits.
        permission: String,
    },
    /// Has a role of the store permit something no longer.
    Forbid {
        /// The role.
        role: String,
        /// What it permitted, as it was written.
        permission: String,
    },
    /// Gives somebody a role.
    Assign(Holder),
    /// Takes a role from somebody.
    Revoke(Holder),
}

/// Does what is to be done with roles. Replicas follow within seconds.
pub(crate) fn role(command: RoleCommand, which: &Which) -> Result<(), Failure> {
    let gateway = Gateway::read(which.config())?;
    let store = match (which.named(), gateway.roles_store()) {
        (None, Some(store)) => store.clone(),
        (None, None) => return Err("the file keeps no roles in a store: add `store = \"main\"` to `[authorization]`, or name one by `--store`".into()),
        (Some(_), _) => store(which, &gateway)?,
    };
    runtime()?.block_on(async {
        let open = open(&store).await?;
        let roles = open.roles.clone().ok_or("the store has no roles")?;
        let binding = async |holder: &Holder| -> Result<Binding, Failure> {
            let binding = match (&holder.user, &holder.issuer, &holder.subject) {
                (Some(user), ..) => {
                    let users = open.users.as_ref().ok_or("the store has no users")?;
                    let found = users.by_email(&email(user)?).await?;
                    let found = found.ok_or_else(|| format!("there is no user `{user}`"))?;
                    Binding::for_key(found.identity.key(), holder.role.as_str())
                }
                (None, Some(issuer), Some(subject)) => {
                    let who = Identity::builder(issuer.as_str(), subject.as_str());
                    let who = holder.of_tenant.iter().cloned().fold(who, IdentityBuilder::tenant);
                    Binding::for_key(who.build().key(), holder.role.as_str())
                }
                _ => return Err("say who: `--user EMAIL`, or `--issuer` and `--subject`".into()),
            };
            Ok(match (&holder.in_tenant, &holder.at) {
                (Some(tenant), _) => binding.within(Scope::Tenant(tenant.as_str().into())),
                (None, Some(path)) => binding.within(Scope::Path(path.as_str().into())),
                (None, None) => binding,
            })
        };
        let base = gateway.roles().model();
        let edits = match command {
            RoleCommand::List => return print(&list(base, &roles.load().await?.1)),
            RoleCommand::Add { role, permissions, inherits } => {
                let mut edits = vec![RoleEdit::add_role(role.as_str())];
                edits.extend(
                    permissions.iter().map(|it| RoleEdit::permit(role.as_str(), it.as_str())),
                );
                edits.extend(
                    inherits.iter().map(|it| RoleEdit::inherit(role.as_str(), it.as_str())),
                );
                edits
            }
            RoleCommand::Delete { role } => vec![RoleEdit::delete_role(role)],
            RoleCommand::Permit { role, permission } => vec![RoleEdit::permit(role, permission)],
            RoleCommand::Forbid { role, permission } => vec![RoleEdit::forbid(role, permission)],
            RoleCommand::Assign(holder) => vec![RoleEdit::Assign(binding(&holder).await?)],
            RoleCommand::Revoke(holder) => {
                let binding = binding(&holder).await?;
                let (_, known) = roles.load().await?;
                if !known.bindings().any(|known| *known == binding) {
                    return Err(format!("nobody has it so: {binding}").into());
                }
                vec![RoleEdit::Unassign(binding)]
            }
        };
        roles.change(base, &edits).await?;
        Ok(())
    })
}

fn list(base: &RoleModel, stored: &RoleModel) -> String {
    let mut text = String::new();
    let whole = base.with(stored);
    for (name, role) in whole.roles() {
        let names = |of: &std::collections::BTreeSet<std::sync::Arc<str>>| {
            of.iter().map(|it| &**it).collect::<Vec<_>>().join(" ")
        };
        let origin = if stored.roles().any(|(known, _)| known == name) { "store" } else { "file" };
        // Writing to a string never fails.
        _ = writeln!(
            text,
            "{name}  ({origin})  permits {}  inherits {}",
            names(&role.permissions),
            names(&role.inherits)
        );
    }
    for binding in stored.bindings() {
        // Names are what somebody has chosen.
        let (key, scope) = (binding.key().to_string(), binding.scope().to_string());
        let (key, scope) = (key.escape_debug(), scope.escape_debug());
        _ = writeln!(text, "{key}  has {}  {scope}", binding.role());
    }
    if let Err(error) = Roles::try_from(whole) {
        _ = writeln!(text, "what file and store say does not fit together: {error}");
    }
    text
}
