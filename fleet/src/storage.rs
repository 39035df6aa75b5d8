//! Durable records of a simulated pile: one file a slot.

use std::{collections::HashMap, fs, io, path::PathBuf};

use cip22_device_sdk::{Slot, Storage, StorageError};

use crate::files::write_state;

/// Files `<folder>/slot-<number>`, replaced as a whole.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
}

impl FileStorage {
    /// Records under `folder`, which is made when the first is stored.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(format!("slot-{}", slot.number()))
    }
}

impl Storage for FileStorage {
    fn store(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError> {
        write_state(&self.path(slot), record).map_err(|_| StorageError)
    }

    fn load(&mut self, slot: Slot, record: &mut [u8]) -> Result<usize, StorageError> {
        match fs::read(self.path(slot)) {
            Ok(bytes) => copy(&bytes, record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(_) => Err(StorageError),
        }
    }
}

/// Records that end with the process.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    records: HashMap<Slot, Vec<u8>>,
}

impl Storage for MemoryStorage {
    fn store(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError> {
        self.records.insert(slot, record.to_vec());
        Ok(())
    }

    fn load(&mut self, slot: Slot, record: &mut [u8]) -> Result<usize, StorageError> {
        self.records.get(&slot).map_or(Ok(0), |bytes| copy(bytes, record))
    }
}

fn copy(bytes: &[u8], record: &mut [u8]) -> Result<usize, StorageError> {
    record.get_mut(..bytes.len()).ok_or(StorageError)?.copy_from_slice(bytes);
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outlives_the_storage_that_wrote_it_and_an_empty_one_reads_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = FileStorage::new(folder.path().join("pile"));
        let mut record = [0; 64];
        assert_eq!(first.load(Slot::Chain, &mut record), Ok(0));
        first.store(Slot::Chain, b"epoch 7").unwrap();
        first.store(Slot::Charge, b"").unwrap();
        let mut second = FileStorage::new(folder.path().join("pile"));
        assert_eq!(second.load(Slot::Chain, &mut record), Ok(7));
        assert_eq!(&record[..7], b"epoch 7");
        assert_eq!(second.load(Slot::Charge, &mut record), Ok(0));
    }
}
