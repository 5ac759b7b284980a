//! Endpoints for accounts.
use std::sync::Arc;

use portcullis_authn::{MemoryKeys, MemorySessions, MemoryTokens, MemoryUsers};
use portcullis_testkit::{
    account_endpoints_contract, key_store_contract, one_time_tokens_contract, users_contract,
};

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contracts() {
    users_contract(Arc::new(MemoryUsers::new())).await;
    one_time_tokens_contract(Arc::new(MemoryTokens::new())).await;
    key_store_contract(Arc::new(MemoryKeys::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_once_what_may_be_done_once() {
    let (users, tokens) = (MemoryUsers::new(), MemoryTokens::new());
    account_endpoints_contract(users, tokens, MemoryKeys::new(), MemorySessions::new()).await;
}
