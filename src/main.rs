//! The command line: `serve` (the default), `migrate`, `doctor`, `token`.

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use hubbub::{
    access::mint_token,
    app::App,
    config::{Config, Settings},
    doctor::Limits,
    ids::{ProjectId, UserId},
    store::{self, Role},
};
use tokio::signal::unix::{SignalKind, signal};

/// A self-hosted hub for real-time presence, cursors and messages.
///
/// Every setting is a flag and an environment variable; a `.env` file in the working directory is read first.
#[derive(Parser)]
#[command(name = "hubbub", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the hub (the default)
    Serve,
    /// Brings the database up to date and ends
    Migrate,
    /// Checks settings, Redis and database, says what to change, and ends
    ///
    /// May be run on a server that is in use: what it writes it takes away again. Exit status: 0 when every check passed or
    /// only warned, 1 when one failed, 2 when the settings cannot be read.
    Doctor(DoctorArgs),
    /// Prints a token for development, signed with JWT_SECRET
    Token(TokenArgs),
}

#[derive(Args)]
struct DoctorArgs {
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    /// Time for one check, ms
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    check_timeout_ms: u64,
    /// Time for all checks, ms
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    timeout_ms: u64,
}

#[derive(Args)]
struct TokenArgs {
    /// User id
    #[arg(long)]
    sub: UserId,
    /// Name shown to others; the user id when left out
    #[arg(long)]
    name: Option<String>,
    /// A role in a project, as in `design=editor` (owner, editor, viewer); may be repeated
    #[arg(long = "project", value_name = "PROJECT=ROLE", value_parser = parse_role)]
    projects: Vec<(ProjectId, Role)>,
    /// How long it is valid, in seconds
    #[arg(long, default_value_t = 24 * 60 * 60)]
    ttl_seconds: u64,
}

fn parse_role(text: &str) -> Result<(ProjectId, Role), String> {
    let (project, role) = text.split_once('=').ok_or("write PROJECT=ROLE, as in design=editor")?;
    let role = match role {
        "owner" => Role::Owner,
        "editor" => Role::Editor,
        "viewer" => Role::Viewer,
        _ => return Err(format!("`{role}` is not owner, editor or viewer")),
    };
    Ok((project.parse().map_err(|fault| format!("`{project}`: {fault}"))?, role))
}

/// The exit status for settings that cannot be read, as for flags that are not known.
const UNREADABLE: u8 = 2;

pub(crate) fn main() -> ExitCode {
    // A missing .env is the usual case; a broken one must not pass silently.
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        fail(&format!(".env cannot be read: {}", plain_env_fault(&error)));
        return ExitCode::from(UNREADABLE);
    }
    // Settings may stand before or behind the command.
    let command = CommandLine::command().mut_args(|setting| setting.global(true));
    let line = match CommandLine::from_arg_matches(&command.get_matches()) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    let command = line.command.unwrap_or(Command::Serve);
    let config = match Config::from_settings(&line.settings) {
        Ok(config) => config,
        Err(faults) => return refuse(&command, faults.texts(), &faults.to_string()),
    };
    if let Err(fault) = start_log(&line.settings, &command) {
        return refuse(&command, std::slice::from_ref(&fault), &fault);
    }
    let system = actix_web::rt::System::new();
    match command {
        Command::Serve => system.block_on(serve(config)),
        Command::Migrate => system.block_on(migrate(config)),
        Command::Doctor(args) => system.block_on(doctor(&config, &args)),
        Command::Token(args) => token(&config, &args),
    }
}

async fn serve(config: Config) -> ExitCode {
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(&format!("signals cannot be caught: {error}")),
    };
    // A database file that reaches the limit of `ulimit -f` is as a full disk, and no reason to die. Caught once, the signal
    // stays caught.
    if let Err(error) = signal(SignalKind::from_raw(libc::SIGXFSZ)) {
        return fail(&format!("signals cannot be caught: {error}"));
    }
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error.to_string()),
    };
    say(&format!("Hubbub is listening at http://{}", app.address));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = app.stop() => ExitCode::SUCCESS,
        _ = terminate.recv() => at_once(),
        _ = interrupt.recv() => at_once(),
    }
}

/// A second signal: the operator will not wait.
fn at_once() -> ExitCode {
    tracing::warn!("told twice to stop: ending at once");
    std::process::exit(130);
}

async fn migrate(config: Config) -> ExitCode {
    match store::migrate(&config.database).await {
        Ok(applied) => {
            say(&format!("{}: {applied} migration(s) applied, up to date", config.database.location));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("DATABASE_URL: {error}")),
    }
}

/// The settings cannot be used: says why, to a program that reads the doctor's report as well.
fn refuse(command: &Command, faults: &[String], text: &str) -> ExitCode {
    let Command::Doctor(args) = command else { return fail(text) };
    if args.json {
        say(&serde_json::json!({"status": "unreadable", "faults": faults}).to_string());
    } else {
        fail(text);
    }
    ExitCode::from(UNREADABLE)
}

async fn doctor(config: &Config, args: &DoctorArgs) -> ExitCode {
    let limits =
        Limits { check: Duration::from_millis(args.check_timeout_ms), whole: Duration::from_millis(args.timeout_ms) };
    let report = hubbub::doctor::examine(config, limits).await;
    if args.json {
        say(&report.to_json().to_string());
    } else {
        say(report.to_text(std::io::IsTerminal::is_terminal(&std::io::stdout())).trim_end());
    }
    // Not by returning: a name that does not resolve or a disk that hangs would be waited for.
    std::process::exit(report.exit_status().into());
}

fn token(config: &Config, args: &TokenArgs) -> ExitCode {
    let Some(secret) = &config.access.jwt_secret else {
        return fail("JWT_SECRET is not set: there is nothing to sign a token with");
    };
    match mint_token(
        secret.expose(),
        &args.sub,
        args.name.as_deref(),
        &args.projects,
        Duration::from_secs(args.ttl_seconds),
    ) {
        Ok(token) => {
            say(&token);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// The doctor logs nothing: all that it has to say is in its report.
fn start_log(settings: &Settings, command: &Command) -> Result<(), String> {
    // It warns of every cookie that is not ours: anybody could fill the log with that.
    let filter = tracing_subscriber::EnvFilter::try_new(format!("actix_session=off,{}", settings.log))
        .map_err(|error| format!("HUBBUB_LOG: `{}` is no filter: {error}", settings.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format.as_str() {
        "text" | "json" if matches!(command, Command::Doctor(_)) => {}
        "text" => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        "json" => log.json().init(),
        other => return Err(format!("HUBBUB_LOG_FORMAT: `{other}` is neither text nor json")),
    }
    Ok(())
}

/// What is wrong with the file, without the line, which may hold a secret.
fn plain_env_fault(error: &dotenvy::Error) -> &'static str {
    match error {
        dotenvy::Error::LineParse(..) => "a line is not NAME=value (quote values with spaces or #)",
        dotenvy::Error::Io(_) => "the file cannot be opened",
        _ => "it is not understood",
    }
}

fn say(line: &str) {
    // Nobody listening is no reason to fail.
    let mut out = std::io::stdout();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn fail(text: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "{}", text.trim_end()));
    ExitCode::FAILURE
}
