//! The cheapest way to have bytes on the disk: a file of fixed size that is written round and round, so that a sync has
//! nothing but those bytes to bring there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// As large as a database's write-ahead log commonly gets before it begins again.
const BYTES: usize = 4 << 20;

/// The file, and what is not in it yet.
pub struct Log {
    file: File,
    at: usize,
    pending: Vec<u8>,
}

impl Log {
    /// Makes the file, or overwrites one that is there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; BYTES], 0)?;
        file.sync_all()?;
        Ok(Self { file, at: 0, pending: Vec::new() })
    }

    /// Puts bytes after those before; they are not written yet.
    pub fn put(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Returns when all that was put is on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.at + self.pending.len() > BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.pending, self.at as u64)?;
        self.at += self.pending.len();
        self.pending.clear();
        self.file.sync_data()
    }
}
