//! Where the log goes.
use portcullis_config::AccessLog;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Writes the log to the standard error. `RUST_LOG` says what is in it; by default everything from `info` on.
pub(crate) fn install(access_log: AccessLog) -> Result<(), Box<dyn std::error::Error>> {
    let filter = filter(access_log)?;
    // A log is read by programs too, whatever else a build has turned on.
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match access_log {
        AccessLog::Json => subscriber.json().flatten_event(true).try_init(),
        _ => subscriber.try_init(),
    }
    .map_err(|error| format!("the log cannot be set up: {error}").into())
}

/// Everything from `info` on, but for the spans and lines of requests, whose target is `portcullis` and not one of our crates.
const WITHOUT_REQUESTS: &str = "info,portcullis=off,portcullis_=info";

fn filter(access_log: AccessLog) -> Result<EnvFilter, ParseError> {
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let default = if access_log == AccessLog::Off { WITHOUT_REQUESTS } else { "info" };
    EnvFilter::builder().parse(asked.as_deref().unwrap_or(default))
}
