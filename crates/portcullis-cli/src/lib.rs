#![doc = include_str!("../README.md")]

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use portcullis_authn::NewApiKey;
use portcullis_config::{FileErrors, Gateway, Live, Widening, reference, schema};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod explain;
mod log;
mod role;
mod routes;
mod stores;

/// An API gateway from a configuration file.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway until it is told to end.
    Serve(File),
    /// Tells everything that is wrong with a file; nothing, and exit code 0, when it is sound.
    Check(File),
    /// Tells what a file does differently from another one, what widens access first; exit code 2 when something does.
    Diff {
        /// The file as it was.
        old: PathBuf,
        /// The file as it is.
        new: PathBuf,
        /// Exit code 0 also when access widens: it is known and wanted.
        #[arg(long)]
        ack: bool,
    },
    /// Prints the routes.
    Routes {
        #[command(flatten)]
        file: File,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints who may call what: each route, each method, each role.
    Matrix(explain::MatrixOf),
    /// Tells what each layer would decide about a request, and why. Nothing is forwarded.
    Explain(explain::Asked),
    /// Judges again what a decision log says was decided, by this file; exit code 2 when more is allowed than was.
    Replay(explain::Replayed),
    /// Does something with the roles of a store.
    Role {
        #[command(flatten)]
        which: stores::Which,
        #[command(subcommand)]
        command: role::RoleCommand,
    },
    /// Makes an API key for a caller: prints the key, for them alone, and its hash, for the file. Or does something with the keys of a store.
    Key {
        /// Whose keys they are, so that those that leak can be found: the key begins with it.
        #[arg(long, default_value = "pc", global = true)]
        prefix: String,
        #[command(subcommand)]
        command: Option<stores::KeyCommand>,
    },
    /// Does something with the users of a store.
    User {
        #[command(flatten)]
        which: stores::Which,
        #[command(subcommand)]
        command: stores::UserCommand,
    },
    /// Makes the tables of the stores, where they are not there.
    Migrate {
        #[command(flatten)]
        file: File,
        /// Prints the tables as SQL, and makes none.
        #[arg(long)]
        print: bool,
    },
    /// Prints a JSON Schema of the file, for editors.
    Schema,
    /// Prints what the file can say, as a page in Markdown.
    Reference,
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "portcullis.toml", global = true)]
    config: PathBuf,
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    File(FileErrors),
    Other(Box<dyn std::error::Error>),
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast::<FileErrors>() {
            Ok(errors) => Self::File(*errors),
            Err(error) => Self::Other(error),
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Diff { old, new, ack } => match print_changes(&old, &new) {
            Ok(widens) if widens && !ack => return ExitCode::from(2),
            done => done.map(drop),
        },
        Command::Replay(of) => match explain::replay(&of) {
            Ok(widens) if widens && !of.ack => return ExitCode::from(2),
            done => done.map(drop),
        },
        Command::Matrix(of) => explain::matrix(&of),
        Command::Explain(asked) => explain::explain(&asked),
        Command::Role { which, command } => role::role(command, &which),
        Command::Serve(file) => serve(&file),
        Command::Check(file) => Gateway::read(file.config).map(drop).map_err(Into::into),
        Command::Routes { file, json } => print_routes(&file, json),
        Command::Key { prefix, command: None } => print_key(&prefix),
        Command::Key { prefix, command: Some(command) } => stores::key(command, &prefix),
        Command::User { which, command } => stores::user(command, &which),
        Command::Migrate { file, print } => stores::migrate(&file, print),
        Command::Schema => print(&format!("{:#}\n", schema())),
        Command::Reference => print(&reference()),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let mut err = io::stderr().lock();
    // Where nobody reads what is wrong there is nobody to tell.
    drop(match failure {
        Failure::File(errors) => {
            let mut written = Ok(());
            for error in errors.iter() {
                written = written.and_then(|()| writeln!(err, "error: {error}"));
            }
            written
        }
        Failure::Other(error) => writeln!(err, "error: {error}"),
    });
    ExitCode::FAILURE
}

fn print_key(prefix: &str) -> Result<(), Failure> {
    let made = NewApiKey::generate(prefix);
    let hash: String = made.digest().iter().fold(String::new(), |mut hash, byte| {
        // Writing to a string never fails.
        _ = fmt::Write::write_fmt(&mut hash, format_args!("{byte:02x}"));
        hash
    });
    print(&format!("key:  {}\nhash: {hash}\n", made.key().expose()))
}

fn serve(file: &File) -> Result<(), Failure> {
    let gateway = Gateway::read(&file.config)?;
    stores::check(&gateway)?;
    log::install(gateway.access_log())?;
    let live = Arc::new(gateway.live());
    let server = live.server()?.drain_on_signals().open()?;
    let places = server.places().into_iter();
    let said: Vec<_> = places.map(|place| format!("listening on {place}\n")).collect();
    let said = format!("{}ready\n", said.concat());
    server.run(|worker| {
        if worker.index == 0 {
            live.gateway().start(&worker.shared);
            let _inside = worker.shared.enter();
            // Before anybody is told that it is ready: the signal would end the process.
            let hangups = signal(SignalKind::hangup())?;
            worker.shared.spawn(reload_on(hangups, Arc::clone(&live)));
            say(&said)?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(live.service()?)
    })?;
    Ok(())
}

/// Goes over to what the file says by now, each time it is told to. What came of it is in the log.
async fn reload_on<S: Send + 'static>(mut hangups: Signal, live: Arc<Live<S>>) {
    while hangups.recv().await.is_some() {
        drop(live.reload(Widening::Refuse).await);
    }
}

/// Whether access widens.
fn print_changes(old: &Path, new: &Path) -> Result<bool, Failure> {
    let (old, new) = (Gateway::read(old)?, Gateway::read(new)?);
    let changes = new.changes_since(&old);
    print(&changes.to_string())?;
    Ok(!changes.widened().is_empty())
}

fn print_routes(file: &File, json: bool) -> Result<(), Failure> {
    let gateway = Gateway::read(&file.config)?;
    print(&if json { routes::json(&gateway) } else { routes::table(&gateway) })
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(say(text)?)
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read it has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
