//! Passwords: how they are kept, which are taken, and how many may be tried.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_authn::{Attempts, PasswordError, PasswordRule, PasswordRules, Passwords};
use portcullis_core::{ClientAddr, Problem, Secret};
use portcullis_testkit::FakeTime;

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn a_password_is_right_for_its_own_hash_and_for_no_other() {
    let passwords = Passwords::new();
    let (one, two) = tokio::join!(
        passwords.hash(secret("correct horse battery")),
        passwords.hash(secret("correct horse battery"))
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one, two, "each has a salt of its own");
    assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
    let right = async |text: &str, kept: Option<&str>| {
        let looked = passwords.verify(secret(text), kept).await.unwrap();
        assert_eq!(looked.rehashed, None);
        looked.is_right
    };
    assert!(right("correct horse battery", Some(&one)).await);
    assert!(!right("correct horse battery ", Some(&one)).await);
    assert!(!right("", Some(&one)).await);
    assert!(!right("correct horse battery", None).await, "there is no such user");
    // 72 bytes and more count, and what is too long for any is not right.
    let long = "x".repeat(100);
    let kept = passwords.hash(secret(&long)).await.unwrap();
    assert!(right(&long, Some(&kept)).await);
    assert!(!right(&format!("{}y", "x".repeat(99)), Some(&kept)).await);
    assert!(!right(&"x".repeat(2_000), Some(&kept)).await);
    // One spelling of what looks the same on every keyboard.
    let kept = passwords.hash(secret("a\u{30a}ngstro\u{308}m ﬁve")).await.unwrap();
    assert!(right("ångström five", Some(&kept)).await);
}

#[tokio::test]
async fn what_is_kept_follows_what_is_kept_today() {
    let today = Passwords::builder().passes(3).build().unwrap();
    let before = Passwords::new();
    let kept = before.hash(secret("correct horse battery")).await.unwrap();
    let looked = today.verify(secret("correct horse battery"), Some(&kept)).await.unwrap();
    let rehashed = looked.rehashed.unwrap();
    assert!(looked.is_right && rehashed.contains("t=3"), "{rehashed}");
    let looked = today.verify(secret("wrong horse battery"), Some(&kept)).await.unwrap();
    assert!(!looked.is_right && looked.rehashed.is_none());
    // What is stronger stays.
    let looked = before.verify(secret("correct horse battery"), Some(&rehashed)).await.unwrap();
    assert!(looked.is_right && looked.rehashed.is_none());
    // With another pepper, or none, nothing is right.
    let pepper = |text: &[u8]| Passwords::builder().pepper(Secret::new(text.to_vec())).build();
    let peppered = pepper(b"0123456789abcdef").unwrap();
    let kept = peppered.hash(secret("correct horse battery")).await.unwrap();
    for (passwords, is_right) in
        [(&peppered, true), (&pepper(b"0123456789abcdeg").unwrap(), false), (&before, false)]
    {
        let looked = passwords.verify(secret("correct horse battery"), Some(&kept)).await.unwrap();
        assert_eq!(looked.is_right, is_right);
    }
    // What is no hash is an error of whoever keeps it, and so is one that would take all memory.
    for wrong in [
        "",
        "hunter2",
        "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$WK9vQh3rFkjFRLzGpN0WPpS9pNzHYzQ5Xy1mHZCRXq0",
    ] {
        let error = before.verify(secret("x"), Some(wrong)).await.unwrap_err();
        assert!(matches!(error, PasswordError::NoHash(_)), "{wrong}: {error}");
    }
    for (builder, want) in [
        (Passwords::builder().memory(19_455), "weaker"),
        (Passwords::builder().passes(1), "weaker"),
        (Passwords::builder().memory(2_000_000), "more than 1 GiB"),
        (Passwords::builder().at_once(0), "no thread"),
        (Passwords::builder().pepper(Secret::new(vec![0; 15])), "shorter than 16"),
    ] {
        let errors = builder.build().unwrap_err().to_string();
        assert!(errors.contains(want), "{errors}");
    }
}

#[tokio::test]
async fn no_more_are_hashed_than_there_is_room_for() {
    let passwords = Passwords::builder().at_once(1).waiting(2).build().unwrap();
    let all = (0..20).map(|_| passwords.hash(secret("correct horse battery")));
    let all = join_all(all).await;
    let (hashed, busy): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert!((2..=4).contains(&hashed.len()), "{}", hashed.len());
    for error in busy {
        let error = error.unwrap_err();
        assert!(matches!(error, PasswordError::Busy));
        assert_eq!(Problem::from(error).status(), 503);
    }
    // There is room again, and what nobody waits for is not hashed.
    let waits = passwords.hash(secret("correct horse battery"));
    assert!(tokio::time::timeout(Duration::ZERO, waits).await.is_err());
    assert!(passwords.hash(secret("correct horse battery")).await.is_ok());
}

#[test]
fn a_password_is_long_enough_and_not_the_first_that_comes_to_mind() {
    let rules = PasswordRules::new().breached(|text| text == "tr0ub4dour & breached");
    let about = ["ada@acme.example", "Ada Lovelace", "bookshop"];
    for (text, want) in [
        ("", Err(PasswordRule::TooShort(8))),
        ("kz8!qwm", Err(PasswordRule::TooShort(8))),
        ("ﬁﬁﬁ", Err(PasswordRule::TooShort(8))),
        ("password", Err(PasswordRule::Common)),
        ("Passw0rd", Err(PasswordRule::Common)),
        ("12345678", Err(PasswordRule::Common)),
        ("qwertyuiop", Err(PasswordRule::Common)),
        ("iloveyou1", Err(PasswordRule::Common)),
        ("aaaaaaaaaaaa", Err(PasswordRule::Common)),
        ("bookshop1", Err(PasswordRule::Common)),
        ("adalovelace", Err(PasswordRule::Common)),
        ("ada@acme.example", Err(PasswordRule::Common)),
        ("tr0ub4dour & breached", Err(PasswordRule::Breached)),
        ("kz8!qwmv", Ok(())),
        ("correct horse battery", Ok(())),
        ("пароль с пробелами", Ok(())),
        ("🦊🐻🐼🐨🐯🦁🐮🐷", Ok(())),
    ] {
        assert_eq!(rules.check(text, &about), want, "{text}");
    }
    let long = |characters: usize| "kz8!qwmv".chars().cycle().take(characters).collect::<String>();
    assert_eq!(rules.check(&long(129), &[]), Err(PasswordRule::TooLong(128)));
    assert!(
        rules.check(&format!("{}{}", "zorg blue quiet lamp 77 ", "é".repeat(104)), &[]).is_ok()
    );
    assert_eq!(PasswordRules::new().at_least(4).check("abc", &[]), Err(PasswordRule::TooShort(8)));
    assert_eq!(
        PasswordRules::new().at_least(12).check("kz8!qwmv", &[]),
        Err(PasswordRule::TooShort(12))
    );
}

#[test]
fn tries_are_counted_before_anybody_hashes_and_come_back() {
    let time = FakeTime::new();
    let attempts = Attempts::with_clock(time.clock());
    let count = |account: &str, tries: usize| {
        (0..tries).filter(|_| attempts.begin(account, None).is_ok()).count()
    };
    assert_eq!(count("ada", 1_000), 10);
    assert_eq!(count("bob", 5), 5, "another account is another one");
    let after = attempts.begin("ada", None).unwrap_err().after;
    assert_eq!(after, Duration::from_secs(30));
    time.advance(Duration::from_secs(29));
    assert_eq!(count("ada", 10), 0, "who tries all the time waits no longer, and no less");
    time.advance(Duration::from_secs(1));
    assert_eq!(count("ada", 10), 1);
    time.advance(Duration::from_secs(95));
    assert_eq!(count("ada", 10), 3);
    // Nobody is locked out for good.
    time.advance(Duration::from_secs(3_600));
    assert_eq!(count("ada", 1_000), 10);
    attempts.succeeded("Ada ");
    assert_eq!(count("ada", 1_000), 10);
    let problem = Problem::from(attempts.begin("ada", None).unwrap_err());
    assert_eq!(problem.status(), 429);
}

#[test]
fn all_spellings_of_an_account_are_one() {
    let attempts = Attempts::with_clock(FakeTime::new().clock());
    let spellings = [
        "ada@acme.example",
        "ADA@ACME.EXAMPLE",
        " ada@acme.example ",
        "ａｄａ@acme.example",
        "Ada@Acme.Example\t",
    ];
    let tries = spellings.iter().cycle().take(50).filter(|name| attempts.begin(name, None).is_ok());
    assert_eq!(tries.count(), 10);
    let straße = ["STRASSE", "Ångström", "A\u{30a}NGSTRO\u{308}M"];
    assert!(attempts.begin(straße[0], None).is_ok());
    let tries =
        straße[1..].iter().cycle().take(50).filter(|name| attempts.begin(name, None).is_ok());
    assert_eq!(tries.count(), 10);
}

#[test]
fn an_address_has_tries_too_and_takes_none_from_accounts_that_it_may_not_try() {
    let time = FakeTime::new();
    let attempts = Attempts::with_clock(time.clock());
    let from = |text: &str| Some(ClientAddr::peer(text.parse().unwrap()));
    let account = |number: usize| format!("user-{number}");
    // A /64 is one address, and an IPv4 address in IPv6 clothes is the same one.
    let addresses = |at: usize| match at % 3 {
        0 => from("2001:db8::1"),
        1 => from("2001:db8::ffff:1"),
        _ => from("2001:db8:0:0:1::7"),
    };
    let tries =
        (0..1_000).filter(|at| attempts.begin(&account(*at), addresses(*at)).is_ok()).count();
    assert_eq!(tries, 30);
    assert!(attempts.begin("somebody", from("2001:db8:0:1::1")).is_ok());
    let dressed = ["192.0.2.1", "::ffff:192.0.2.1"].iter().cycle().take(100).enumerate();
    let tries = dressed.filter(|(at, text)| attempts.begin(&format!("x{at}"), from(text)).is_ok());
    assert_eq!(tries.count(), 30);
    // What an address may not try any more is not taken from the account.
    let tries = (0..50).filter(|_| attempts.begin("ada", from("2001:db8::1")).is_ok()).count();
    assert_eq!(tries, 0);
    let tries = (0..50).filter(|_| attempts.begin("ada", from("198.51.100.7")).is_ok()).count();
    assert_eq!(tries, 10);
}

/// CVE-2024-1722 and others: many at once are counted as if they came one after another.
#[test]
fn of_two_hundred_at_once_ten_are_looked_at() {
    let attempts = Attempts::new().by_account(10, Duration::from_secs(3_600));
    let looked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..10 {
                    if attempts.begin("ada", None).is_ok() {
                        looked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(looked.load(std::sync::atomic::Ordering::SeqCst), 10);
}

/// Whoever makes up accounts makes nobody forget those that are tried.
#[test]
fn a_million_accounts_take_no_more_room_and_no_tries_away() {
    let time = FakeTime::new();
    let attempts = Attempts::with_clock(time.clock());
    for _ in 0..10 {
        attempts.begin("ada", None).unwrap();
    }
    let mut seen = HashSet::new();
    for number in 0..300_000 {
        assert!(attempts.begin(&format!("made up {number}"), None).is_ok());
        if number % 1_000 == 0 {
            seen.insert(attempts.begin("ada", None).is_ok());
        }
    }
    assert_eq!(seen, HashSet::from([false]));
}
