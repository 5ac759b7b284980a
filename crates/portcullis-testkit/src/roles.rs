//! What every store of roles must do, and a check that it does.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_authz::{Binding, RoleEdit, RoleError, RoleModel, RoleStore, RoleStoreError};

use crate::fail::{done, fail, same};

/// How many ask at once.
const MANY: usize = 50;

/// Checks that a store of roles does what [`RoleStore`] says, also where many change it at once. The store is empty, nobody else changes it meanwhile, and it is
/// left empty.
///
/// # Panics
/// Where it does something else.
pub async fn role_store_contract(store: Arc<dyn RoleStore>) {
    let check = Check { store };
    check.does_each_change_as_a_model_does().await;
    check.does_all_or_nothing().await;
    check.looks_at_what_a_program_knows().await;
    check.keeps_a_text_as_it_is_or_refuses_it().await;
    check.keeps_many().await;
    check.loses_no_change().await;
    check.keeps_roles_apart_when_many_assign().await;
    check.never_has_a_circle().await;
    check.hands_out_what_was_there_at_one_moment().await;
    same("what is left", check.load().await.1, RoleModel::default());
}

struct Check {
    store: Arc<dyn RoleStore>,
}

fn none() -> RoleModel {
    RoleModel::default()
}

fn assign(subject: &str, role: &str) -> RoleEdit {
    RoleEdit::Assign(Binding::of("contract", None, subject, role))
}

fn unassign(subject: &str, role: &str) -> RoleEdit {
    RoleEdit::Unassign(Binding::of("contract", None, subject, role))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("role-{at}")).collect()
}

/// What a store says of a change, as a model says it.
fn said<T>(result: Result<T, RoleStoreError>) -> Result<T, RoleError> {
    match result {
        Ok(value) => Ok(value),
        Err(RoleStoreError::Refused(error)) => Err(error),
        Err(error) => fail(format!("a change: {error}")),
    }
}

impl Check {
    async fn load(&self) -> (u64, RoleModel) {
        done("load", self.store.load().await)
    }
    async fn version(&self) -> u64 {
        done("version", self.store.version().await)
    }
    async fn change(&self, edits: &[RoleEdit]) -> Result<u64, RoleError> {
        said(self.store.change(&none(), edits).await)
    }
    async fn make(&self, edits: &[RoleEdit]) -> u64 {
        done("a change", self.change(edits).await)
    }
    async fn delete(&self, roles: impl IntoIterator<Item = impl AsRef<str>>) {
        let edits = roles.into_iter().map(|role| RoleEdit::delete_role(role.as_ref()));
        self.make(&edits.collect::<Vec<_>>()).await;
    }
    /// All of these at once, and what each heard.
    async fn at_once(
        &self,
        edit: impl Fn(usize) -> RoleEdit,
    ) -> Vec<(RoleEdit, Result<u64, RoleError>)> {
        let tasks = (0..MANY).map(|at| {
            let (store, edit) = (Arc::clone(&self.store), edit(at));
            tokio::spawn(async move {
                let said = said(store.change(&none(), std::slice::from_ref(&edit)).await);
                (edit, said)
            })
        });
        let mut all = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            all.push(done("a task", task.await));
        }
        all
    }

    async fn does_each_change_as_a_model_does(&self) {
        let mut model = none();
        for edit in every_edit() {
            let (before, was) = (self.version().await, model.clone());
            let want = model.apply(&edit);
            let got = self.change(std::slice::from_ref(&edit)).await;
            same(&format!("{edit:?}"), got.clone().map(drop), want);
            let (version, kept) = self.load().await;
            same(&format!("what is kept after {edit:?}"), &kept, &model);
            same("the number that goes with it", version, self.version().await);
            if let Ok(number) = got {
                same("the number that is handed out", number, version);
            }
            if was != model && version == before {
                fail(format!("the number is the same after {edit:?}"));
            }
            if was == model && version != before {
                fail(format!("the number is another one, and nothing has changed by {edit:?}"));
            }
        }
        same("what the changes have left", model, none());
    }
    async fn does_all_or_nothing(&self) {
        let all = [
            RoleEdit::add_role("clerk"),
            RoleEdit::permit("clerk", "orders:*"),
            assign("ada", "clerk"),
            assign("bob", "clerk"),
        ];
        self.make(&all).await;
        let before = self.load().await;
        for refused in [
            assign("ada", "nobody-knows"),
            RoleEdit::add_role("clerk"),
            RoleEdit::permit("clerk", "**"),
            RoleEdit::inherit("clerk", "clerk"),
        ] {
            let edits = [
                RoleEdit::add_role("auditor"),
                RoleEdit::separate_statically("till", ["auditor", "clerk"], 2),
                unassign("ada", "clerk"),
                assign("cleo", "clerk"),
                refused.clone(),
                assign("dora", "clerk"),
            ];
            if self.change(&edits).await.is_ok() {
                fail(format!("a list with {refused:?} in it was made"));
            }
            same("nothing of a list is made", self.load().await, before.clone());
        }
        // Each is checked with those before it.
        let edits = [unassign("ada", "clerk"), RoleEdit::delete_role("clerk")];
        self.make(&edits).await;
        same("all of a list is made", self.load().await.1, none());
        let version = self.version().await;
        same("no change", self.make(&[]).await, version);
    }
    async fn looks_at_what_a_program_knows(&self) {
        let mut base = none();
        for edit in [
            RoleEdit::add_role("reader"),
            RoleEdit::add_role("requester"),
            RoleEdit::add_role("approver"),
            RoleEdit::separate_statically("invoices", ["requester", "approver"], 2),
            assign("ada", "requester"),
        ] {
            done("a model", base.apply(&edit));
        }
        let mut model = none();
        for edit in [
            RoleEdit::add_role("reader"),
            RoleEdit::delete_role("reader"),
            RoleEdit::permit("reader", "books:read"),
            assign("bob", "reader"),
            // Whoever has one role by what the program knows.
            assign("ada", "approver"),
            assign("bob", "approver"),
            assign("bob", "requester"),
            RoleEdit::add_role("boss"),
            RoleEdit::inherit("boss", "approver"),
            assign("ada", "boss"),
            RoleEdit::inherit("reader", "requester"),
            RoleEdit::inherit("requester", "reader"),
            RoleEdit::inherit("reader", "boss"),
            RoleEdit::delete_role("boss"),
            RoleEdit::delete_role("reader"),
            RoleEdit::Unseparate("invoices".into()),
        ] {
            let want = model.apply_above(&base, &edit);
            let got = said(self.store.change(&base, std::slice::from_ref(&edit)).await);
            same(&format!("{edit:?}, above others"), got.map(drop), want);
            same(&format!("what is kept after {edit:?}"), &self.load().await.1, &model);
        }
        let left: Vec<_> = model.bindings().cloned().map(RoleEdit::Unassign).collect();
        done("a change", self.store.change(&base, &left).await);
        let left: Vec<_> = model.roles().map(|(name, _)| RoleEdit::delete_role(name)).collect();
        done("a change", self.store.change(&base, &left).await);
    }
    async fn keeps_a_text_as_it_is_or_refuses_it(&self) {
        self.make(&[RoleEdit::add_role("clerk")]).await;
        let long = "\u{1f600}".repeat(40_000);
        let of =
            |issuer: &str, tenant, subject: &str| Binding::of(issuer, tenant, subject, "clerk");
        let separate = |name: &str| RoleEdit::separate_dynamically(name, ["clerk", "auditor"], 2);
        self.make(&[RoleEdit::add_role("auditor")]).await;
        for odd in ["a\0b", "\0", &long] {
            for edit in [
                RoleEdit::Assign(of("contract", None, odd)),
                RoleEdit::Assign(of(odd, None, "ada")),
                RoleEdit::Assign(of("contract", Some(odd), "ada")),
                RoleEdit::Assign(of("contract", None, "ada").in_tenant(odd)),
                RoleEdit::Assign(of("contract", None, "ada").at(format!("/{odd}"))),
                RoleEdit::add_role(odd),
                RoleEdit::permit("clerk", odd),
                RoleEdit::inherit("clerk", odd),
                separate(odd),
            ] {
                let (version, before) = self.load().await;
                let mut model = before.clone();
                let applied = model.apply(&edit);
                match self.change(std::slice::from_ref(&edit)).await {
                    Ok(_) => {
                        same("a text of which a model thinks something", applied, Ok(()));
                        same("a text that was taken", self.load().await.1 == model, true);
                    }
                    Err(error) => {
                        let is_clear =
                            matches!(error, RoleError::Malformed(_)) || applied == Err(error);
                        same("why a text was refused", is_clear, true);
                        same("what stays", self.load().await == (version, before), true);
                    }
                }
                // It is taken away; or it was never there, which is no trouble to ask for.
                if let RoleEdit::Assign(binding) = edit {
                    let edit = RoleEdit::Unassign(binding);
                    let want = self.load().await.1.apply(&edit);
                    same("what is taken away", self.change(&[edit]).await.map(drop), want);
                }
            }
        }
        let model = self.load().await.1;
        let names = model.separations().map(|(name, _)| RoleEdit::Unseparate(name.into()));
        self.make(&names.collect::<Vec<_>>()).await;
        self.delete(model.roles().map(|(name, _)| name)).await;
    }
    /// More than one statement takes.
    async fn keeps_many(&self) {
        let mut edits = vec![RoleEdit::add_role("clerk"), RoleEdit::add_role("auditor")];
        edits.extend((0..700).map(|at| assign(&format!("subject-{at}"), "clerk")));
        edits.push(assign("subject-7", "auditor"));
        self.make(&edits).await;
        same("many", self.load().await.1.bindings().len(), 701);
        let some: Vec<_> = (0..600).map(|at| unassign(&format!("subject-{at}"), "clerk")).collect();
        self.make(&some).await;
        same("fewer", self.load().await.1.bindings().len(), 101);
        self.delete(["clerk"]).await;
        let left: Vec<_> = self.load().await.1.bindings().cloned().collect();
        let other = Binding::of("contract", None, "subject-7", "auditor");
        same("those of another role", left, vec![other]);
        self.delete(["auditor"]).await;
    }
    async fn loses_no_change(&self) {
        self.make(&[RoleEdit::add_role("clerk")]).await;
        let permission = |at: usize| format!("thing-{at}:read");
        let all = self.at_once(|at| RoleEdit::permit("clerk", permission(at))).await;
        let numbers = all.into_iter().map(|(_, said)| done("a change", said));
        same("each has a number of its own", numbers.collect::<BTreeSet<_>>().len(), MANY);
        let (_, model) = self.load().await;
        let kept: BTreeSet<_> =
            model.roles().flat_map(|(_, role)| role.permissions.iter().cloned()).collect();
        same("50 changes of one role", kept, (0..MANY).map(|at| permission(at).into()).collect());
        self.delete(["clerk"]).await;
    }
    async fn keeps_roles_apart_when_many_assign(&self) {
        self.make(&[
            RoleEdit::add_role("requester"),
            RoleEdit::add_role("approver"),
            // Only somebody's junior is kept apart.
            RoleEdit::add_role("boss"),
            RoleEdit::inherit("boss", "approver"),
            RoleEdit::separate_statically("invoices", ["requester", "approver"], 2),
        ])
        .await;
        for (round, other) in ["approver", "boss", "approver", "boss"].into_iter().enumerate() {
            let subject = format!("ada-{round}");
            let binding = |at: usize| {
                let role = if at.is_multiple_of(2) { "requester" } else { other };
                Binding::of("contract", None, subject.as_str(), role).at(format!("/at/{at}"))
            };
            let all = self.at_once(|at| RoleEdit::Assign(binding(at))).await;
            let (_, model) = self.load().await;
            let kept: BTreeSet<_> =
                model.bindings().filter(|it| it.key().subject == subject).collect();
            let kinds: BTreeSet<_> = kept.iter().map(|it| it.role()).collect();
            same("how many kinds of roles somebody has", kinds.len(), 1);
            same("how many they have", kept.len(), MANY / 2);
            for (edit, said) in all {
                let RoleEdit::Assign(binding) = edit else { continue };
                let is_right = match said {
                    Ok(_) => kept.contains(&binding),
                    Err(RoleError::Separated { .. }) => !kept.contains(&binding),
                    Err(_) => false,
                };
                same("what was said to whoever assigned", is_right, true);
            }
        }
        // Whichever comes first: there is the separation, or somebody has both.
        self.make(&[RoleEdit::Unseparate("invoices".into())]).await;
        let both = ["requester", "approver"];
        self.at_once(|at| match at % 3 {
            0 => RoleEdit::separate_statically("invoices", both, 2),
            1 => assign("bob", "requester"),
            _ => assign("bob", "approver"),
        })
        .await;
        let (_, model) = self.load().await;
        same("what is left is sound", model.check(), Ok(()));
        let names = model.separations().map(|(name, _)| RoleEdit::Unseparate(name.into()));
        self.make(&names.collect::<Vec<_>>()).await;
        self.delete(["boss", "approver", "requester"]).await;
    }
    async fn never_has_a_circle(&self) {
        let names = names(MANY);
        let add: Vec<_> = names.iter().map(|name| RoleEdit::add_role(name.as_str())).collect();
        self.make(&add).await;
        let name = |at: usize| names.get(at % MANY).map_or("", String::as_str);
        let all = self.at_once(|at| RoleEdit::inherit(name(at), name(at + 1))).await;
        let refused: Vec<_> = all.into_iter().filter_map(|(_, said)| said.err()).collect();
        let is_circle =
            |error: &RoleError| matches!(error, RoleError::Circle(way) if way.len() == MANY + 1);
        same(
            "how many of 50 that close a circle together are refused",
            (refused.len(), refused.iter().all(is_circle)),
            (1, true),
        );
        let (_, model) = self.load().await;
        same("what is left is sound", model.check(), Ok(()));
        let inherited: usize = model.roles().map(|(_, role)| role.inherits.len()).sum();
        same("what is inherited", inherited, MANY - 1);
        self.delete(names).await;
    }
    /// Never half of a change, and one number for one state.
    async fn hands_out_what_was_there_at_one_moment(&self) {
        self.make(&[
            RoleEdit::add_role("a"),
            RoleEdit::add_role("b"),
            RoleEdit::permit("a", "orders:read"),
            assign("ada", "a"),
        ])
        .await;
        let store = Arc::clone(&self.store);
        let writer = tokio::spawn(async move {
            for _ in 0..MANY {
                for (from, to) in [("a", "b"), ("b", "a")] {
                    let edits = [
                        unassign("ada", from),
                        RoleEdit::forbid(from, "orders:read"),
                        RoleEdit::permit(to, "orders:read"),
                        assign("ada", to),
                    ];
                    store.change(&none(), &edits).await?;
                }
            }
            Ok::<_, RoleStoreError>(())
        });
        let mut seen: HashMap<u64, RoleModel> = HashMap::new();
        // The first look may come before the first change.
        let mut is_over = false;
        while !is_over {
            is_over = writer.is_finished();
            let (version, model) = self.load().await;
            let has: Vec<_> = model.bindings().map(Binding::role).collect();
            let may: Vec<_> = model
                .roles()
                .filter(|(_, role)| !role.permissions.is_empty())
                .map(|(name, _)| name)
                .collect();
            same("how many of two roles somebody has at any moment", has.len(), 1);
            same("the same moment of a role and of who has it", has, may);
            let known = seen.entry(version).or_insert_with(|| model.clone());
            same("one number is one state", &*known, &model);
        }
        done("a change", done("a task", writer.await));
        self.delete(["a", "b"]).await;
    }
}

/// Changes of every kind, those that are refused among them, after which nothing is left.
fn every_edit() -> Vec<RoleEdit> {
    let of = |issuer: &str, tenant: Option<&str>, subject: &str, role: &str| {
        Binding::of(issuer, tenant, subject, role)
    };
    let ada = || of("contract", None, "ada", "clerk");
    // What some databases take for the same.
    let alike = vec![
        ada(),
        of("contract", None, "Ada", "clerk"),
        of("contract", None, "ada ", "clerk"),
        of("contract", None, "a\u{301}da", "clerk"),
        of("contract", None, "\u{e1}da", "clerk"),
        of("Contract", None, "ada", "clerk"),
        of("contract", Some(""), "ada", "clerk"),
        of("contract", Some("acme"), "ada", "clerk"),
        of("contract", Some("acme "), "ada", "clerk"),
        of("contracta", None, "da", "clerk"),
        of("contract", None, "", "clerk"),
        of("", None, "", "clerk"),
        of("contract", None, "\u{1f600} | \\ ' \" % _ \n", "clerk"),
        ada().in_tenant("acme"),
        ada().in_tenant("Acme"),
        ada().in_tenant(""),
        ada().at("/acme"),
        ada().at("/acme/Orders"),
        ada().at("/acme/orders"),
    ];
    let mut edits = vec![
        RoleEdit::add_role("clerk"),
        RoleEdit::add_role("clerk"),
        RoleEdit::add_role("Clerk"),
        RoleEdit::add_role(""),
        RoleEdit::add_role("two words"),
        RoleEdit::add_role("\u{1f600}|'\"\\%_"),
        RoleEdit::delete_role("\u{1f600}|'\"\\%_"),
        RoleEdit::delete_role("nobody-knows"),
        RoleEdit::permit("clerk", "orders:read"),
        RoleEdit::permit("clerk", "orders:read"),
        RoleEdit::permit_own("clerk", "orders:*"),
        RoleEdit::permit("clerk", "\u{1f600} '\""),
        RoleEdit::permit("clerk", "or*ders"),
        RoleEdit::permit("nobody-knows", "orders:read"),
        RoleEdit::forbid("clerk", "\u{1f600} '\""),
        RoleEdit::forbid("clerk", "never:had"),
        RoleEdit::forbid("nobody-knows", "orders:read"),
        RoleEdit::add_role("auditor"),
        RoleEdit::add_role("boss"),
        RoleEdit::inherit("boss", "clerk"),
        RoleEdit::inherit("clerk", "Clerk"),
        RoleEdit::inherit("Clerk", "boss"),
        RoleEdit::inherit("boss", "boss"),
        RoleEdit::inherit("boss", "nobody-knows"),
        RoleEdit::inherit("nobody-knows", "boss"),
        RoleEdit::disinherit("clerk", "Clerk"),
        RoleEdit::disinherit("clerk", "Clerk"),
        RoleEdit::disinherit("nobody-knows", "clerk"),
    ];
    edits.extend(alike.iter().cloned().map(RoleEdit::Assign));
    edits.extend([
        RoleEdit::Assign(ada()),
        RoleEdit::Assign(ada().at("no path")),
        RoleEdit::Assign(ada().at("/ends/")),
        RoleEdit::Assign(ada().to_role("nobody-knows")),
        RoleEdit::Unassign(ada().to_role("auditor")),
        RoleEdit::Unassign(of("contract", None, "nobody", "clerk")),
        // Separations, of what somebody has and of what they would have.
        RoleEdit::separate_statically("till", ["clerk", "auditor"], 1),
        RoleEdit::separate_statically("till", ["clerk"], 2),
        RoleEdit::separate_statically("till", ["clerk", "nobody-knows"], 2),
        RoleEdit::separate_statically("till", ["clerk", "auditor"], 2),
        RoleEdit::separate_statically("Till", ["boss", "auditor"], 2),
        RoleEdit::separate_statically("till ", ["Clerk", "auditor"], 2),
        RoleEdit::separate_dynamically("\u{1f600} ' \"", ["Clerk", "auditor", "boss"], 3),
        RoleEdit::Assign(ada().to_role("auditor")),
        RoleEdit::Assign(ada().to_role("auditor").at("/elsewhere")),
        RoleEdit::Assign(of("contract", None, "aDa", "auditor")),
        RoleEdit::Assign(of("contract", None, "aDa", "boss")),
        RoleEdit::inherit("auditor", "clerk"),
        RoleEdit::Assign(of("contract", None, "bob", "Clerk")),
        RoleEdit::inherit("Clerk", "auditor"),
        RoleEdit::Unseparate("till ".into()),
        RoleEdit::inherit("Clerk", "auditor"),
        RoleEdit::Assign(of("contract", None, "bob", "clerk")),
        RoleEdit::disinherit("Clerk", "auditor"),
        RoleEdit::Assign(of("contract", None, "bob", "clerk")),
        RoleEdit::inherit("Clerk", "auditor"),
        RoleEdit::separate_dynamically("till", ["clerk", "auditor"], 2),
        RoleEdit::inherit("Clerk", "auditor"),
        RoleEdit::separate_statically("till", ["clerk", "auditor"], 2),
        RoleEdit::Unseparate("nobody-knows".into()),
    ]);
    // Half of those that look alike are gone one by one, and the rest with the role.
    edits.extend(alike.iter().step_by(2).cloned().map(RoleEdit::Unassign));
    edits.extend([
        RoleEdit::delete_role("clerk"),
        RoleEdit::delete_role("auditor"),
        RoleEdit::delete_role("boss"),
        RoleEdit::delete_role("Clerk"),
        RoleEdit::Unseparate("\u{1f600} ' \"".into()),
    ]);
    edits
}
