//! The checks that `cargo xtask test` makes. None of them changes a file of the repository.
use crate::command::Cmd;
use crate::{Result, Workspace, clients, fuzz, package, services, tidy, tls, tools};

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What holds when it passes.
    pub(crate) shows: &'static str,
    pub(crate) run: fn(&Workspace) -> Result,
}

/// In the order in which they run: what is cheap comes early, the tests come last.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "fmt", shows: "rustfmt has nothing to change", run: fmt },
    Step { name: "clippy", shows: "no lint warns", run: clippy },
    Step {
        name: "tidy",
        shows: "manifests, features and texts follow our rules",
        run: tidy::check,
    },
    Step { name: "docs", shows: "the documentation builds without a warning", run: docs },
    Step { name: "features", shows: "each feature compiles alone", run: features },
    Step { name: "msrv", shows: "the minimum Rust version compiles it", run: msrv },
    Step { name: "package", shows: "what goes to the registry is whole", run: package::check },
    Step { name: "deny", shows: "licences, sources and advisories are in order", run: deny },
    Step { name: "machete", shows: "every dependency is used", run: machete },
    Step { name: "doctests", shows: "the examples in the documentation run", run: doctests },
    Step { name: "services", shows: "PostgreSQL, MariaDB and Redis answer", run: services },
    Step {
        name: "fuzz",
        shows: "the fuzz targets build and find nothing at once",
        run: fuzz::smoke,
    },
    Step {
        name: "tls",
        shows: "a scanner finds nothing weak in the server's TLS",
        run: tls::check,
    },
    Step {
        name: "clients",
        shows: "foreign clients and servers notice nothing of the gateway",
        run: clients::check,
    },
    Step { name: "tests", shows: "all tests pass", run: tests },
];

fn fmt(_: &Workspace) -> Result {
    Cmd::new("cargo fmt --all --check").run()?;
    Cmd::new("cargo fmt --manifest-path fuzz/Cargo.toml --check").run()
}

fn clippy(_: &Workspace) -> Result {
    Cmd::new("cargo clippy --workspace --all-targets --all-features -- -D warnings").run()
}

fn docs(_: &Workspace) -> Result {
    Cmd::new("cargo doc --workspace --no-deps --all-features")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

/// Without `--no-dev-deps`, which rewrites the manifests while it runs: where no test is built, the resolver leaves
/// the features of dev-dependencies out anyway. Clippy in place of `check`, so that code which only some feature
/// uses is found.
fn features(workspace: &Workspace) -> Result {
    tools::subcommand("hack")?;
    let clippy = Cmd::new("cargo hack --workspace").args(workspace.excludes());
    clippy.args("--each-feature clippy -- -D warnings".split(' ')).run()
}

fn msrv(workspace: &Workspace) -> Result {
    let version = workspace.package_key("rust-version")?;
    let Some(toolchain) = tools::toolchain(version) else {
        println!("skipped: Rust {version} is not installed (rustup toolchain install {version})");
        return Ok(());
    };
    let check = Cmd::new("cargo").arg(format!("+{toolchain}")).args(["check", "--all-features"]);
    check.args(workspace.packages()).run()
}

fn deny(_: &Workspace) -> Result {
    tools::subcommand("deny")?;
    Cmd::new("cargo deny check --hide-inclusion-graph bans licenses sources").run()?;
    if !Cmd::new("cargo deny fetch db").succeeds() {
        println!("skipped: the advisory database cannot be reached");
        return Ok(());
    }
    Cmd::new("cargo deny check --hide-inclusion-graph --disable-fetch advisories").run()
}

fn machete(_: &Workspace) -> Result {
    tools::subcommand("machete")?;
    Cmd::new("cargo machete --skip-target-dir").run()
}

fn doctests(_: &Workspace) -> Result {
    Cmd::new("cargo test --workspace --doc --all-features").run()
}

fn services(_: &Workspace) -> Result {
    services::main()
}

fn tests(_: &Workspace) -> Result {
    tools::subcommand("nextest")?;
    Cmd::new("cargo nextest run --workspace --all-features").run()
}
