//! What the shop does about accounts, as exchanges over HTTP. The numbers are those of the checks in `docs/security-cases.md`.
mod cookies;
mod mails;
mod passwords;
mod races;
mod secrets;
mod strangers;
mod visits;
