//! Files that hold keys or state.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::error::FleetError;

/// Replaces `path` as a whole, readable by its owner only (0600). A crash leaves the old content or the new.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), FleetError> {
    replace(path, content, true)
}

/// [`write_private`] for state whose loss by a power cut of this computer is acceptable: without waiting for the disk.
pub(crate) fn write_state(path: &Path, content: &[u8]) -> Result<(), FleetError> {
    replace(path, content, false)
}

fn replace(path: &Path, content: &[u8], sync: bool) -> Result<(), FleetError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(FleetError::file(folder))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(
        |mut file| {
            file.write_all(content)?;
            if sync { file.sync_all() } else { Ok(()) }
        },
    );
    written.map_err(FleetError::file(&new))?;
    fs::rename(&new, path).map_err(FleetError::file(path))
}
