//! `hubbub doctor`: is everything that a hub with these settings needs as it should be?
//!
//! A hub that runs says that something is wrong; the doctor says what, and which setting to change. It looks at the
//! settings, at Redis and at the database by the same code that the hub uses, one named check after the other, each within a
//! time limit, and whatever hangs. What it writes it takes away again, so it may be run on a server that is in use.
//! [`examine`] gives a [`Report`], which is printed for people or as JSON and gives the exit status.

mod database;
mod examination;
mod percentiles;
mod redis;
mod report;
mod settings;

pub use examination::Limits;
pub use report::{Finding, Outcome, Report};

use crate::config::Config;
use examination::Examination;

/// Makes all checks. Must run inside an actix system.
pub async fn examine(config: &Config, limits: Limits) -> Report {
    let mut examination = Examination::new(limits);
    settings::examine(config, &mut examination);
    redis::examine(config.redis.as_ref(), &mut examination).await;
    database::examine(&config.database, &mut examination).await;
    examination.finish(&config.secrets())
}
