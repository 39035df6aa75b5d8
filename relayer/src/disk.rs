//! Files, as the rest of the relayer sees them. Calls block; in async code use `spawn_blocking`.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A file system.
pub trait Disk: Debug + Send + Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a file's content: after it returns, the new content is durable; after a crash, the file holds the old or the new.
    /// A new file is readable by its owner alone.
    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Whether something is at this path.
    fn exists(&self, path: &Path) -> bool;
    /// Whether no one but the owner may read or write the file.
    fn is_private(&self, path: &Path) -> io::Result<bool>;
    /// Locks a file against other processes for as long as the returned handle lives; an error if another has it.
    fn lock(&self, path: &Path) -> io::Result<File>;
    /// Makes a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Appends 4 KiB to a scratch file in `folder` and fsyncs it, `count` times; returns how long each fsync took. The file is removed.
    fn probe_fsync(&self, folder: &Path, count: usize) -> io::Result<Vec<Duration>>;
}

/// A shared file system.
pub type SharedDisk = Arc<dyn Disk>;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let scratch = beside(path, "tmp")?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_MODE).open(&scratch)?;
        file.write_all(content)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&scratch, path)?;
        // The rename is durable only once the folder is.
        File::open(folder_of(path))?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.permissions().mode() & GROUP_AND_OTHERS == 0)
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        let file = File::open(path)?;
        file.try_lock()?;
        Ok(file)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    #[allow(clippy::disallowed_methods, reason = "this adapter measures the real disk in real time")]
    fn probe_fsync(&self, folder: &Path, count: usize) -> io::Result<Vec<Duration>> {
        let path = folder.join(format!(".fsync-probe-{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(&path)?;
        let measured = (0..count)
            .map(|_| {
                file.write_all(&[0x5a; 4096])?;
                let start = std::time::Instant::now();
                file.sync_data()?;
                Ok(start.elapsed())
            })
            .collect();
        fs::remove_file(&path)?;
        measured
    }
}

fn beside(path: &Path, extension: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut name = name.to_os_string();
    name.push(".");
    name.push(extension);
    Ok(path.with_file_name(name))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const PRIVATE_MODE: u32 = 0o600;
const GROUP_AND_OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_content_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        SystemDisk.write_atomic(&path, b"old, and longer").unwrap();
        SystemDisk.write_atomic(&path, b"new").unwrap();
        assert_eq!(SystemDisk.read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(SystemDisk.is_private(&path).unwrap());
    }

    #[test]
    fn a_locked_file_is_not_locked_again_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        SystemDisk.write_atomic(&path, b"key").unwrap();
        let held = SystemDisk.lock(&path).unwrap();
        assert!(SystemDisk.lock(&path).is_err());
        drop(held);
        SystemDisk.lock(&path).unwrap();
    }

    #[test]
    fn a_file_that_the_group_may_read_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        SystemDisk.write_atomic(&path, b"key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!SystemDisk.is_private(&path).unwrap());
    }

    #[test]
    fn the_fsync_probe_measures_each_fsync_and_removes_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SystemDisk.probe_fsync(folder.path(), 3).unwrap().len(), 3);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
