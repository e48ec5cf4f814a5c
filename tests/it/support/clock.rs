//! A wall clock that can be put forward and back for one process: a library loaded before all others answers what it asks
//! of the system's clock. The steady clock, by which time is measured, is left alone, as it is when somebody sets the time.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// What a process is given to see this clock.
pub struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// A clock that is right. Compiles the library, which takes a moment.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock/preload.rs");
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut rustc = Command::new(compiler);
        rustc.args(["--edition=2024", "--crate-type=cdylib", "--crate-name=clock", "-Copt-level=1"]);
        let output = rustc.arg("--out-dir").arg(folder.path()).arg(source).output().expect("rustc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let this = Self { folder };
        this.jump_to(0);
        this
    }

    /// The variables of the process.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        [("LD_PRELOAD", text(self.folder.path().join("libclock.so"))), ("WALL_CLOCK_FILE", text(self.file()))]
    }

    /// From now on it is so many seconds ahead of the right time.
    pub fn jump_to(&self, seconds: i64) {
        // In one piece: the process reads it at any time.
        let new = self.folder.path().join("next");
        std::fs::write(&new, seconds.to_string()).expect("a file");
        std::fs::rename(new, self.file()).expect("a file");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}
