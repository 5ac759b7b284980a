//! Who may do what with which order, and who may say so.
mod every_cell;
mod page;
mod revoked;
mod staff;

use bookshop::DEMO_KEYS;
use portcullis::authz::assert_matrix;

use crate::shop::{File, Shop};

/// Whoever changes who may call what sees it here, and so does whoever reviews it.
#[tokio::test]
async fn who_may_call_what_is_as_it_stands_in_the_file() {
    assert_matrix!(Shop::new().await.matrix, "tests/matrix.md");
}

/// A database of before there were branches.
#[tokio::test]
async fn orders_of_before_are_nobodys_own_and_a_clerk_sees_them() {
    let file = File::new();
    let pool = sqlx::SqlitePool::connect(&file.url()).await.unwrap();
    for statement in [
        "create table orders (id integer primary key, customer text not null, book integer not null, quantity integer not null)",
        "insert into orders (customer, book, quantity) values ('rita', 7, 1)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    for _ in 0..2 {
        let shop = Shop::on(&file.url()).await;
        for (name, seen) in [("carl", 1), ("rita", 0), ("lena", 1), ("yuri", 1)] {
            let key = DEMO_KEYS.iter().find(|demo| demo.name == name).unwrap().key;
            let answer = shop.browser().ask("GET", "/orders", &[("x-api-key", key)], None).await;
            assert_eq!(answer.json_value().as_array().unwrap().len(), seen, "{name}");
        }
    }
}
