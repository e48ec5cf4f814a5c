//! Who else uses the database file. Instances on one machine may share it, instances on several damage it; where the file
//! system does not tell ([`Place`](super::place::Place)), a sign of life of each machine beside the file does.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::JoinHandle;

/// How often a machine says that it is there.
const INTERVAL: Duration = Duration::from_secs(10);
/// One that was silent for so long is not there any more.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Says again and again that this machine uses the file, and warns in the log of every other one that does. Ends when it is
/// dropped.
#[derive(Debug)]
pub struct MachineWatch(JoinHandle<()>);

impl MachineWatch {
    /// Starts on the current tokio runtime, for a database file that was opened.
    pub fn start(database: &Path) -> Self {
        let mut folder = database.as_os_str().to_owned();
        folder.push(".machines");
        let signs = Signs { folder: folder.into() };
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            let mut known = HashSet::new();
            loop {
                ticks.tick().await;
                let signs = signs.clone();
                // A folder that cannot be written is the database's trouble as well, and told there.
                let Ok(Ok(others)) = tokio::task::spawn_blocking(move || signs.exchange()).await else { continue };
                for other in others.into_iter().filter(|other| known.insert(other.clone())) {
                    tracing::warn!(
                        machine = other,
                        "another machine uses the same SQLite file, which damages it: stop one of them, or set \
                         DATABASE_URL to a PostgreSQL server"
                    );
                }
            }
        }))
    }
}

impl Drop for MachineWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A folder with a file for each machine, named by the number of its boot: that is the same in all its containers.
#[derive(Debug, Clone)]
struct Signs {
    folder: PathBuf,
}

impl Signs {
    /// Leaves a sign, and answers with the names of the machines that did so lately.
    fn exchange(&self) -> io::Result<Vec<String>> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
        fs::create_dir_all(&self.folder)?;
        let own = self.folder.join(boot.trim());
        fs::write(&own, name.trim())?;
        // All times are those of one file system: the machines' clocks may differ.
        let now = fs::metadata(&own)?.modified()?;
        let mut others = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let silent = now.duration_since(file.metadata()?.modified()?).unwrap_or_default();
            if file.path() == own {
                continue;
            }
            if silent < SILENCE_MAX {
                others.push(fs::read_to_string(file.path())?.trim().chars().take(100).collect());
            } else {
                fs::remove_file(file.path())?;
            }
        }
        Ok(others)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn those_who_gave_a_sign_lately_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let signs = Signs { folder: folder.path().join("hubbub.db.machines") };
        assert!(signs.exchange().unwrap().is_empty());
        assert!(signs.exchange().unwrap().is_empty(), "this one is no other");
        for (boot, name, age) in [("a", "other\n", Duration::ZERO), ("b", "gone", SILENCE_MAX * 2)] {
            let file = signs.folder.join(boot);
            fs::write(&file, name).unwrap();
            fs::File::open(&file).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        assert_eq!(signs.exchange().unwrap(), ["other"]);
        assert_eq!(fs::read_dir(&signs.folder).unwrap().count(), 2, "who is gone is forgotten");
    }
}
