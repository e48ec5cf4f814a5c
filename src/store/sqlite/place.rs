//! Whether a folder is a place for a database file. SQLite's WAL needs memory that all its processes share, and locks that
//! hold: neither is there on a network file system, where two machines would damage the file without a word.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is known about the file system of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A local one, as far as can be told.
    Local,
    /// One of the network: not for a database.
    Network(String),
    /// One behind which may be anything.
    Doubtful(String),
}

impl Place {
    /// Where a file is, or would be made.
    pub(super) fn of(path: &Path) -> Self {
        // Not everywhere is there such a list: then nothing is known against the place.
        let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return Self::Local };
        existing_folder(path).map_or(Self::Local, |folder| Self::by_mounts(&mounts, &folder))
    }

    /// By the list of mounts (proc(5)): of those above the folder the deepest, and of several there the last.
    fn by_mounts(mounts: &str, folder: &Path) -> Self {
        let mount = |line: &str| {
            let (mount, kind) = line.split_once(" - ")?;
            let point = PathBuf::from(unescaped(mount.split(' ').nth(4)?));
            let kind = kind.split(' ').next()?.to_owned();
            folder.starts_with(&point).then(|| (point.components().count(), kind))
        };
        let deepest = mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth);
        deepest.map_or(Self::Local, |(_, kind)| Self::by_kind(kind))
    }

    fn by_kind(kind: String) -> Self {
        const NETWORK: [&str; 22] = [
            "9p",
            "acfs",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "fuse.ceph",
            "fuse.glusterfs",
            "fuse.juicefs",
            "fuse.rclone",
            "fuse.s3fs",
            "fuse.sshfs",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
            "nfs4",
            "smb3",
            "smbfs",
            "fuse.davfs2",
        ];
        const DOUBTFUL: [&str; 4] = ["fuse", "virtiofs", "vboxsf", "prl_fs"];
        if NETWORK.contains(&kind.as_str()) {
            Self::Network(kind)
        } else if DOUBTFUL.contains(&kind.as_str()) || kind.starts_with("fuse.") {
            Self::Doubtful(kind)
        } else {
            Self::Local
        }
    }
}

/// The folder of the file, or the nearest one above it that is there.
fn existing_folder(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok())
}

/// Spaces and the like stand as `\040`.
fn unescaped(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(point.to_owned(), |point, (escape, character)| point.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /mnt rw - tmpfs tmpfs rw
31 30 0:50 / /mnt/share rw,relatime shared:7 master:2 - nfs4 server:/export rw,vers=4.2
32 30 0:51 / /mnt/my\\040disk rw - cifs //server/disk rw
33 30 0:52 / /mnt/ssh rw - fuse.sshfs me@host: rw
34 30 0:53 / /mnt/box rw - fuse.unheard-of box rw
35 31 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
36 22 0:54 / /mnt/over rw - ext4 /dev/vdc rw
37 36 0:55 / /mnt/over rw - 9p host rw";

    #[test]
    fn the_deepest_mount_decides() {
        let network = |kind: &str| Place::Network(kind.into());
        for (folder, expected) in [
            ("/var/lib/hubbub", Place::Local),
            ("/mnt", Place::Local),
            ("/mnt/share", network("nfs4")),
            ("/mnt/share/data", network("nfs4")),
            ("/mnt/sharedata", Place::Local),
            ("/mnt/share/local/data", Place::Local),
            ("/mnt/my disk/data", network("cifs")),
            ("/mnt/ssh", network("fuse.sshfs")),
            ("/mnt/box", Place::Doubtful("fuse.unheard-of".into())),
            ("/mnt/over", network("9p")),
        ] {
            assert_eq!(Place::by_mounts(MOUNTS, Path::new(folder)), expected, "{folder}");
        }
        assert_eq!(Place::by_mounts("", Path::new("/x")), Place::Local);
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_where_its_folder_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let found = existing_folder(&folder.path().join("not/yet/hubbub.db")).unwrap();
        assert_eq!(found, folder.path().canonicalize().unwrap());
    }
}
