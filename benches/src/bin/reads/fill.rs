//! Makes what is read: public projects, the first few with a room full of messages.

use std::io;

use clap::Args;
use hubbub_bench::report::Report;

use super::Common;

/// What is made.
#[derive(Debug, Args)]
pub struct Options {
    /// Projects b0, b1, ….
    #[arg(long, default_value_t = 1_000)]
    projects: usize,
    /// So many of them have a room with messages.
    #[arg(long, default_value_t = 20)]
    rooms: usize,
    /// Messages in each.
    #[arg(long, default_value_t = 120)]
    messages: usize,
}

pub(super) fn run(common: &Common, options: &Options) -> io::Result<Report> {
    let share = |connection: usize| -> io::Result<()> {
        let mut http = common.connect(0)?;
        for project in (connection..options.projects).step_by(common.conns) {
            let body = format!(r#"{{"id":"b{project}","name":"0","visibility":"public"}}"#);
            expect(http.ask("POST", "/api/projects", &body)?.status)?;
            if project >= options.rooms {
                continue;
            }
            let rooms = format!("/api/projects/b{project}/rooms");
            expect(http.ask("POST", &rooms, r#"{"name":"r"}"#)?.status)?;
            for n in 0..options.messages {
                let body = format!(r#"{{"body":{{"text":"message number {n} of somebody in project {project}"}}}}"#);
                expect(http.ask("POST", &format!("{rooms}/r/messages"), &body)?.status)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..common.conns).map(|connection| scope.spawn(move || share(connection))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())))
    })?;
    let mut report = Report::default();
    report.figure("projects", options.projects as f64, "");
    Ok(report)
}

fn expect(status: u16) -> io::Result<()> {
    if matches!(status, 200 | 201) { Ok(()) } else { Err(io::Error::other(format!("the hub answered with {status}"))) }
}
