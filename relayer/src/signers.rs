//! Which indices of a group signed, as the contracts' uint224: bit i from the low end is index i.

/// Indices that a group has.
pub const INDICES: usize = 224;

const BYTES: usize = INDICES / 8;

/// A set of indices 0..224.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
pub struct Signers([u8; BYTES]);

impl Signers {
    /// From 28 bytes, big-endian.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// 28 bytes, big-endian.
    pub fn to_bytes(self) -> [u8; BYTES] {
        self.0
    }

    /// Adds an index; one beyond a group's last is not taken.
    pub fn insert(&mut self, index: u8) {
        if let Some(byte) = self.0.iter_mut().rev().nth(usize::from(index / 8)) {
            *byte |= 1 << (index % 8);
        }
    }

    /// Whether it has an index.
    pub fn contains(&self, index: u8) -> bool {
        self.0.iter().rev().nth(usize::from(index / 8)).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; BYTES]
    }

    /// The indices, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..INDICES as u8).filter(|index| self.contains(*index))
    }
}

impl FromIterator<u8> for Signers {
    fn from_iter<I: IntoIterator<Item = u8>>(indices: I) -> Self {
        let mut signers = Self::default();
        indices.into_iter().for_each(|index| signers.insert(index));
        signers
    }
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_index_is_the_lowest_bit_and_none_is_beyond_the_highest() {
        let signers: Signers = [0, 7, 8, 223, 224, 255].into_iter().collect();
        assert_eq!(signers.iter().collect::<Vec<u8>>(), [0, 7, 8, 223]);
        let bytes = signers.to_bytes();
        assert_eq!((bytes[0], bytes[26], bytes[27], signers.count()), (0x80, 1, 0x81, 4));
        assert_eq!(Signers::from_bytes(bytes), signers);
    }
}
