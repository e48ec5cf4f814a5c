//! A SQLite file: its folder, the file, its schema, and the disk below. Nothing is made that stays.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{failed, schema};
use crate::{
    config::DatabaseConfig,
    doctor::{
        examination::{Examination, Verdict},
        percentiles::Percentiles,
    },
    ids::InstanceId,
    store::{SqliteCheckup, StoreError},
};

const HANGS: &str = "look at the disk and, if it is one, the network file system below the file in DATABASE_URL";
/// What needs the file.
const WITH_FILE: &[&str] =
    &["database.open", "database.version", "database.migrations", "database.journal", "database.write"];
/// Less free space than this is told of, and with less than that a hub will not live long.
const SPACE_LOW_BYTES: u64 = 1 << 30;
const SPACE_OUT_BYTES: u64 = 64 << 20;
/// How many times the disk is waited for.
const SYNCS: usize = 20;
/// A page of SQLite, which is what a commit writes at least.
const PAGE: [u8; 4_096] = [0; 4_096];
/// Another process may write for a while; the doctor does not wait for it longer than a check may take.
const BUSY_MAX: Duration = Duration::from_secs(3);
/// Every acknowledgement waits for the disk once.
const SYNC_SLOW: Duration = Duration::from_millis(20);

pub(super) async fn examine(path: &Path, config: &DatabaseConfig, examination: &mut Examination) {
    let (found, mut place) = oneshot::channel();
    let look = blocking(path.to_owned(), move |path| {
        let place = Place::of(&path);
        let verdict = writable(&place, &Probe::beside(&place.folder, &path));
        drop(found.send(place)); // fails when the check was given up
        verdict
    });
    let writable = examination.check("database.folder", HANGS, look).await;
    let Ok(place) = place.try_recv() else {
        examination.skip(WITH_FILE, "its folder does not answer");
        return examination.skip(&["database.commit", "database.space"], "its folder does not answer");
    };
    if place.has_file {
        file(path, config, examination).await;
    } else {
        examination.skip(WITH_FILE, "there is no file yet: the first start of the hub makes it");
    }
    if writable {
        let probe = Probe::beside(&place.folder, path);
        examination.check("database.commit", HANGS, blocking(probe, |probe| syncs(&probe))).await;
    } else {
        examination.skip(&["database.commit"], "nothing can be written in its folder");
    }
    examination.check("database.space", HANGS, blocking(place.folder, |folder| space(free_bytes(&folder)))).await;
}

/// Where the file is or will be.
struct Place {
    /// Its folder, or the nearest above it that is there: the first start makes the others.
    folder: PathBuf,
    /// Whether its own folder is missing.
    folder_missing: bool,
    has_file: bool,
}

impl Place {
    fn of(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let nearest = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        let folder_missing = nearest != folder;
        let nearest = fs::canonicalize(nearest).unwrap_or_else(|_| nearest.to_owned());
        Self { folder: nearest, folder_missing, has_file: path.exists() }
    }
}

async fn file(path: &Path, config: &DatabaseConfig, examination: &mut Examination) {
    let remedy =
        "check the file in DATABASE_URL, and that the user that runs the hub may read and write it and its folder";
    let mut checkup = None;
    let open = async {
        match SqliteCheckup::open(path, config.busy_timeout.min(BUSY_MAX)).await {
            Ok(opened) => {
                checkup = Some(opened);
                Verdict::passed(format!("{}{}", path.display(), size(path)))
            }
            Err(error) => failed(&error, remedy),
        }
    };
    examination.check("database.open", HANGS, open).await;
    let Some(mut checkup) = checkup else { return examination.skip(&WITH_FILE[1..], "the file cannot be opened") };
    let version =
        async { or_failed(checkup.version().await.map(|version| Verdict::passed(format!("SQLite {version}")))) };
    examination.check("database.version", HANGS, version).await;
    let mut has_tables = false;
    let migrations = async {
        let state = checkup.schema().await;
        has_tables = state.as_ref().is_ok_and(|state| state.applied > 0);
        or_failed(state.map(schema))
    };
    let migrated = examination.check("database.migrations", HANGS, migrations).await;
    let journal = async { or_failed(checkup.journal_mode().await.map(|mode| journal(&mode))) };
    examination.check("database.journal", HANGS, journal).await;
    if !migrated || !has_tables {
        return examination.skip(&["database.write"], "its tables are not there yet, or another version's");
    }
    let write = async {
        or_failed(checkup.write_and_take_back().await.map(|()| Verdict::passed("a row was written and taken back")))
    };
    examination.check("database.write", HANGS, write).await;
}

fn or_failed(outcome: Result<Verdict, StoreError>) -> Verdict {
    outcome.unwrap_or_else(|error| {
        failed(
            &error,
            "check the file in DATABASE_URL, its folder, and who else has it open (DATABASE_BUSY_TIMEOUT_MS)",
        )
    })
}

fn journal(mode: &str) -> Verdict {
    if mode.eq_ignore_ascii_case("wal") {
        return Verdict::passed("write-ahead: readers and writers do not wait for each other");
    }
    let remedy = "the next start of the hub sets it; if it does not last, the file system of DATABASE_URL cannot do it";
    Verdict::warned(format!("journal_mode is {mode} and not wal"), remedy)
}

fn size(path: &Path) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    fs::metadata(path).map(|file| format!(", {:.1} MiB", mib(file.len()))).unwrap_or_default()
}

/// Runs a check that blocks on a thread of its own.
async fn blocking<T: Send + 'static>(input: T, check: impl FnOnce(T) -> Verdict + Send + 'static) -> Verdict {
    let checked = tokio::task::spawn_blocking(move || check(input)).await;
    checked.unwrap_or_else(|_| Verdict::failed("the check failed inside", "report this, please"))
}

/// A file of the doctor's own, gone when this is dropped.
struct Probe(PathBuf);

impl Probe {
    fn beside(folder: &Path, database: &Path) -> Self {
        let name = database.file_name().unwrap_or_default().to_string_lossy();
        Self(folder.join(format!(".{name}.doctor-{}", InstanceId::random())))
    }

    fn create(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(&self.0)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // it may never have been made
    }
}

fn writable(place: &Place, probe: &Probe) -> Verdict {
    let folder = place.folder.display();
    match probe.create().and_then(|mut file| file.write_all(&PAGE)) {
        Ok(()) if place.folder_missing => Verdict::passed(format!("it is not there yet, and can be made in {folder}")),
        Ok(()) => Verdict::passed(format!("{folder} takes files")),
        Err(error) => Verdict::failed(
            format!("{folder} takes no files: {}", error.kind()),
            "let the user that runs the hub own the folder, or let DATABASE_URL name a file elsewhere",
        ),
    }
}

fn syncs(probe: &Probe) -> Verdict {
    let timed = || -> io::Result<Vec<Duration>> {
        let mut file = probe.create()?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&PAGE)?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        Ok(times)
    };
    let percentiles = match timed() {
        Ok(times) => Percentiles::of(times),
        Err(error) => {
            return Verdict::failed(
                format!("a file cannot be written to the disk: {}", error.kind()),
                "look at the disk below DATABASE_URL",
            );
        }
    };
    let Some(percentiles) = percentiles else { return Verdict::skipped("nothing was measured") };
    commits(percentiles, "the disk below DATABASE_URL is slow: use a local SSD")
}

/// What commits cost; each acknowledgement waits for one.
pub(super) fn commits(percentiles: Percentiles, remedy: &str) -> Verdict {
    let text = format!("to the disk: {percentiles}");
    if percentiles.p50 > SYNC_SLOW { Verdict::warned(text, remedy) } else { Verdict::passed(text) }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

fn space(free: Option<u64>) -> Verdict {
    let Some(free) = free else { return Verdict::skipped("the system does not tell how much space is free") };
    let text = format!("{:.1} GiB are free", free as f64 / f64::from(1 << 30));
    let remedy = "make room on the disk below DATABASE_URL: without it messages are refused";
    match free {
        free if free < SPACE_OUT_BYTES => Verdict::failed(text, remedy),
        free if free < SPACE_LOW_BYTES => Verdict::warned(text, remedy),
        _ => Verdict::passed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_and_pace_are_judged() {
        assert!(matches!(space(Some(1)), Verdict::Failed(..)));
        assert!(matches!(space(Some(SPACE_LOW_BYTES - 1)), Verdict::Warned(..)));
        assert!(matches!(space(Some(SPACE_LOW_BYTES)), Verdict::Passed(_)));
        assert!(matches!(space(None), Verdict::Skipped(_)));
        let all = |ms| Percentiles::of(vec![Duration::from_millis(ms)]).unwrap();
        assert!(
            matches!(commits(all(50), ""), Verdict::Warned(..)) && matches!(commits(all(2), ""), Verdict::Passed(_))
        );
        assert!(matches!(journal("delete"), Verdict::Warned(..)) && matches!(journal("wal"), Verdict::Passed(_)));
    }

    #[test]
    fn nothing_is_left_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        let place = Place::of(&database);
        assert!(!place.folder_missing && !place.has_file);
        let verdict = writable(&place, &Probe::beside(&place.folder, &database));
        assert!(matches!(verdict, Verdict::Passed(_)), "{verdict:?}");
        assert!(!matches!(syncs(&Probe::beside(folder.path(), &database)), Verdict::Failed(..)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = Path::new("/proc/nowhere/hub.db");
        let place = Place::of(nowhere);
        assert!(place.folder_missing && place.folder == Path::new("/proc"));
        assert!(matches!(writable(&place, &Probe::beside(&place.folder, nowhere)), Verdict::Failed(..)));
    }
}
