//! The frame around every payload (§2): header (7 bytes), payload, CRC (1 byte).

use crate::{
    crc::crc8_itu,
    error::{EncodeError, FrameError},
    tlv::Writer,
};

/// First byte of every frame.
pub const MAGIC: u8 = 0xC1;
/// This layout, with TLV payloads.
pub const CODEC: u8 = 0x02;
/// Protocol version 2.0: major in the high nibble, minor in the low.
pub const VERSION: u8 = 0x20;
/// No flags are defined.
pub const FLAGS: u8 = 0x00;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 7;
/// Bytes of a frame beyond its payload: header and CRC.
pub const OVERHEAD_BYTES: usize = 8;

/// A frame whose header and CRC are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Type of the message, known or not.
    pub frame_type: u8,
    /// The payload, not looked into yet.
    pub payload: &'a [u8],
    /// Length of the whole frame: the next one begins there.
    pub consumed: usize,
}

/// Reads the frame at the start of `buf`; `None` if bytes of it are still missing.
///
/// A wrong header is refused as soon as the wrong byte is there, so a receiver never waits for a payload above `max_payload`.
///
/// # Errors
/// The stream is unsynchronised; nothing behind this point can be read.
pub fn parse(buf: &[u8], max_payload: u16) -> Result<Option<Parsed<'_>>, FrameError> {
    for (byte, (expected, error)) in buf.iter().zip(FIXED) {
        if *byte != expected {
            return Err(error);
        }
    }
    let Some(([_, _, _, _, high, low, frame_type], rest)) = buf.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let len = u16::from_be_bytes([*high, *low]);
    if len > max_payload {
        return Err(FrameError::PayloadTooLong { limit: max_payload });
    }
    let len = usize::from(len);
    let Some((payload, [crc, ..])) = rest.split_at_checked(len) else {
        return Ok(None);
    };
    let checked = buf.get(..HEADER_BYTES.saturating_add(len)).unwrap_or(buf);
    if *crc != crc8_itu(checked) {
        return Err(FrameError::Crc);
    }
    Ok(Some(Parsed { frame_type: *frame_type, payload, consumed: OVERHEAD_BYTES.saturating_add(len) }))
}

/// Writes a frame whose payload is what `put_payload` appends; returns its length.
pub(crate) fn write(
    out: &mut [u8],
    frame_type: u8,
    put_payload: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let (header, body) = out.split_first_chunk_mut::<HEADER_BYTES>().ok_or(EncodeError::BufferTooSmall)?;
    let mut writer = Writer::new(body);
    put_payload(&mut writer)?;
    let len = writer.written();
    let [high, low] = u16::try_from(len).map_err(|_| EncodeError::PayloadTooLong)?.to_be_bytes();
    *header = [MAGIC, CODEC, VERSION, FLAGS, high, low, frame_type];

    let crc_at = HEADER_BYTES.saturating_add(len);
    let crc = crc8_itu(out.get(..crc_at).ok_or(EncodeError::BufferTooSmall)?);
    *out.get_mut(crc_at).ok_or(EncodeError::BufferTooSmall)? = crc;
    Ok(OVERHEAD_BYTES.saturating_add(len))
}

const FIXED: [(u8, FrameError); 4] = [
    (MAGIC, FrameError::Magic),
    (CODEC, FrameError::Codec),
    (VERSION, FrameError::Version),
    (FLAGS, FrameError::Flags),
];
