//! The implementations of SM4 in counter mode and GHASH, one file each, and the choice between them.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod aesni;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod arm_aes;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod arm_sm4;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod clmul;
mod message;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod pmull;
mod portable;

use core::fmt;

use aead::inout::InOutBuf;

/// How SM4-GCM is computed. Every one is constant-time: none looks up memory by a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Implementation {
    /// x86-64 with GFNI, AVX-512 (F, BW) and VPCLMULQDQ: 64 blocks at once, GHASH interleaved.
    Avx512Gfni,
    /// x86-64 with GFNI, AVX2 and VPCLMULQDQ: 32 blocks at once.
    Avx2Gfni,
    /// x86-64 with AES-NI, PCLMULQDQ and SSE4.1: the S-box through AES's.
    AesNi,
    /// AArch64 with the SM4 instructions and PMULL.
    ArmSm4,
    /// AArch64 with the AES instructions and PMULL: the S-box through AES's.
    ArmAes,
    /// Any processor: bitsliced.
    Portable,
}

impl Implementation {
    /// All, the fastest first; each is present where its processor is.
    pub const ALL: [Self; 6] =
        [Self::Avx512Gfni, Self::Avx2Gfni, Self::ArmSm4, Self::AesNi, Self::ArmAes, Self::Portable];

    /// The fastest this processor has. Without the feature `std`, the fastest the build was made for
    /// (`-C target-feature`).
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|implementation| implementation.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Gfni => avx512::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Gfni => avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::AesNi => aesni::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::ArmSm4 => arm_sm4::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::ArmAes => arm_aes::is_available(),
            #[allow(unreachable_patterns)] // those of other processors
            _ => false,
        }
    }
}

/// The processor lacks what an [`Implementation`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable(pub Implementation);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this processor lacks the instructions of {:?}", self.0)
    }
}

impl core::error::Error for Unavailable {}

/// Whether the processor has every feature named: asked at run time with `std`, else of the build.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has_features {
    ($($feature:tt),+) => {{
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        { $(std::arch::is_x86_feature_detected!($feature))&&+ }
        #[cfg(all(feature = "std", target_arch = "aarch64"))]
        { $(std::arch::is_aarch64_feature_detected!($feature))&&+ }
        #[cfg(not(feature = "std"))]
        { $(cfg!(target_feature = $feature))&&+ }
    }};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use has_features;

/// One key's kernel, of any implementation.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // without an allocator there is no box to put it in
pub(crate) enum AnyKernel {
    #[cfg(target_arch = "x86_64")]
    Avx512Gfni(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2Gfni(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    AesNi(aesni::AesNi),
    #[cfg(target_arch = "aarch64")]
    ArmSm4(arm_sm4::ArmSm4),
    #[cfg(target_arch = "aarch64")]
    ArmAes(arm_aes::ArmAes),
    Portable(portable::Portable),
}

/// Runs an expression with `$kernel` bound to the kernel of whichever variant.
macro_rules! with_kernel {
    ($any:expr, $kernel:ident => $body:expr) => {
        match $any {
            #[cfg(target_arch = "x86_64")]
            AnyKernel::Avx512Gfni($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyKernel::Avx2Gfni($kernel) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyKernel::AesNi($kernel) => $body,
            #[cfg(target_arch = "aarch64")]
            AnyKernel::ArmSm4($kernel) => $body,
            #[cfg(target_arch = "aarch64")]
            AnyKernel::ArmAes($kernel) => $body,
            AnyKernel::Portable($kernel) => $body,
        }
    };
}

impl AnyKernel {
    pub(crate) fn fastest(key: &[u8; 16]) -> Self {
        Self::new(key, Implementation::detect()).unwrap_or_else(|_| Self::Portable(Kernel::new(key)))
    }

    /// A kernel of a processor's instructions exists only where `is_available` has found them: its methods rely on it.
    pub(crate) fn new(key: &[u8; 16], implementation: Implementation) -> Result<Self, Unavailable> {
        if !implementation.is_available() {
            return Err(Unavailable(implementation));
        }
        Ok(match implementation {
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx512Gfni => Self::Avx512Gfni(Kernel::new(key)),
            #[cfg(target_arch = "x86_64")]
            Implementation::Avx2Gfni => Self::Avx2Gfni(Kernel::new(key)),
            #[cfg(target_arch = "x86_64")]
            Implementation::AesNi => Self::AesNi(Kernel::new(key)),
            #[cfg(target_arch = "aarch64")]
            Implementation::ArmSm4 => Self::ArmSm4(Kernel::new(key)),
            #[cfg(target_arch = "aarch64")]
            Implementation::ArmAes => Self::ArmAes(Kernel::new(key)),
            _ => Self::Portable(Kernel::new(key)),
        })
    }

    pub(crate) fn implementation(&self) -> Implementation {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Gfni(_) => Implementation::Avx512Gfni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Gfni(_) => Implementation::Avx2Gfni,
            #[cfg(target_arch = "x86_64")]
            Self::AesNi(_) => Implementation::AesNi,
            #[cfg(target_arch = "aarch64")]
            Self::ArmSm4(_) => Implementation::ArmSm4,
            #[cfg(target_arch = "aarch64")]
            Self::ArmAes(_) => Implementation::ArmAes,
            Self::Portable(_) => Implementation::Portable,
        }
    }

    /// Encrypts and returns the tag; `first` is the tag's counter block, which the message's follow.
    pub(crate) fn seal_message(
        &self,
        first: &Counter,
        associated_data: &[u8],
        data: InOutBuf<'_, '_, u8>,
    ) -> [u8; 16] {
        with_kernel!(self, kernel => message::seal(kernel, first, associated_data, data))
    }

    /// Whether the tag is right; only then the plaintext is computed.
    pub(crate) fn open_message(
        &self,
        first: &Counter,
        associated_data: &[u8],
        data: InOutBuf<'_, '_, u8>,
        tag: &[u8; 16],
    ) -> bool {
        with_kernel!(self, kernel => message::open(kernel, first, associated_data, data, tag))
    }
}

/// The first counter block of a nonce of 12 bytes.
pub(crate) fn first_counter(nonce: &[u8; 12]) -> Counter {
    let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = *nonce;
    [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, 0, 0, 0, 1]
}

/// Counter block: nonce (12) ‖ counter (4, big-endian), the counter modulo 2³².
pub(crate) type Counter = [u8; 16];
/// State of GHASH between blocks, 16 bytes as the standard writes them.
type Hash = [u8; 16];
/// Key stream of at most [`MAX_BLOCKS`] blocks.
type KeyStream = [u8; 16 * MAX_BLOCKS];
/// Blocks of the widest kernel.
const MAX_BLOCKS: usize = 64;

/// Blocks of a short message with the tag's mask: the wide kernels have a quicker way for those.
const SHORT_BLOCKS: usize = 32;

/// What GCM needs of a processor, for one key.
trait Kernel {
    /// Blocks made at once, at most [`MAX_BLOCKS`].
    const BLOCKS: usize;

    /// Key schedule and powers of the hash key.
    fn new(key: &[u8; 16]) -> Self;

    /// Writes `BLOCKS` blocks of key stream, the first from `counter` itself.
    fn key_stream(&self, counter: &Counter, out: &mut KeyStream);

    /// [`Kernel::key_stream`] of fewer blocks in less time; returns how many, at least [`SHORT_BLOCKS`] or `BLOCKS`.
    fn short_key_stream(&self, counter: &Counter, out: &mut KeyStream) -> usize {
        self.key_stream(counter, out);
        Self::BLOCKS
    }

    /// Adds the key stream from `counter` on; `data` is a multiple of `BLOCKS` blocks; `counter` moves on.
    fn apply(&self, counter: &mut Counter, data: InOutBuf<'_, '_, u8>);

    /// [`Kernel::apply`], then the output into the hash.
    fn seal(&self, counter: &mut Counter, hash: &mut Hash, data: InOutBuf<'_, '_, u8>);

    /// Whole blocks into the hash.
    fn hash(&self, hash: &mut Hash, blocks: &[u8]);
}

/// The counter block `blocks` further on.
#[allow(clippy::cast_possible_truncation)] // modulo 2³² is meant
fn next_counter(counter: &Counter, blocks: usize) -> Counter {
    let [nonce @ .., a, b, c, d] = *counter;
    let [a, b, c, d] = u32::from_be_bytes([a, b, c, d]).wrapping_add(blocks as u32).to_be_bytes();
    let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = nonce;
    [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, a, b, c, d]
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
