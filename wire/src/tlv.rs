//! Fields of a payload (§3): tag (1 byte), length (2 bytes), value; tags strictly increase.

use crate::error::{DecodeError, EncodeError};

/// Reads fields in the order of their tags.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the form of the whole payload, so that a broken one is told from one that lacks a field.
    pub(crate) fn new(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut rest, mut last_tag) = (payload, None);
        while let Some(field) = split_field(rest)? {
            if last_tag.is_some_and(|last| field.tag <= last) {
                return Err(DecodeError::MalformedTlv);
            }
            last_tag = Some(field.tag);
            rest = field.rest;
        }
        Ok(Self { rest: payload })
    }

    /// The value of `tag`, or `None` if the payload does not hold it. To be asked for every known tag, in order.
    fn take(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        while let Some(field) = split_field(self.rest)? {
            if field.tag > tag {
                return Ok(None);
            }
            self.rest = field.rest;
            if field.tag == tag {
                return Ok(Some(field.value));
            }
            skip_unknown(field.tag)?;
        }
        Ok(None)
    }

    /// Checks what follows the last known field.
    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        while let Some(field) = split_field(self.rest)? {
            skip_unknown(field.tag)?;
            self.rest = field.rest;
        }
        Ok(())
    }
}

struct RawField<'a> {
    tag: u8,
    value: &'a [u8],
    rest: &'a [u8],
}

/// The field at the start of `bytes`; `None` at the end of the payload.
fn split_field(bytes: &[u8]) -> Result<Option<RawField<'_>>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let ([tag, high, low], rest) =
        bytes.split_first_chunk::<FIELD_HEADER_BYTES>().ok_or(DecodeError::MalformedTlv)?;
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, rest) = rest.split_at_checked(len).ok_or(DecodeError::MalformedTlv)?;
    Ok(Some(RawField { tag: *tag, value, rest }))
}

const fn skip_unknown(tag: u8) -> Result<(), DecodeError> {
    if tag & 1 == 0 { Err(DecodeError::UnknownField { field: tag }) } else { Ok(()) }
}

/// Appends bytes to a caller's buffer.
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    written: usize,
}

impl<'o> Writer<'o> {
    pub(crate) const fn new(out: &'o mut [u8]) -> Self {
        Self { out, written: 0 }
    }

    pub(crate) const fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.written.checked_add(bytes.len()).ok_or(EncodeError::BufferTooSmall)?;
        let space = self.out.get_mut(self.written..end).ok_or(EncodeError::BufferTooSmall)?;
        space.copy_from_slice(bytes);
        self.written = end;
        Ok(())
    }

    fn put_field(&mut self, tag: u8, value: &[u8]) -> Result<(), EncodeError> {
        let len = u16::try_from(value.len()).map_err(|_| EncodeError::PayloadTooLong)?;
        self.put(&[tag])?;
        self.put(&len.to_be_bytes())?;
        self.put(value)
    }
}

/// What a table of §4 says about the length of a byte string.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The longest, bytes.
    pub(crate) max: usize,
    /// The length is a multiple of this, bytes.
    pub(crate) step: usize,
}

impl Span {
    pub(crate) const fn holds(self, len: usize) -> bool {
        len <= self.max && len.is_multiple_of(self.step)
    }

    pub(crate) fn limit(self) -> u16 {
        u16::try_from(self.max).unwrap_or(u16::MAX)
    }
}

/// A value as it stands in a field.
pub(crate) trait Value<'a>: Sized {
    fn from_bytes(bytes: &'a [u8], tag: u8, span: Span) -> Result<Self, DecodeError>;
    fn put(&self, writer: &mut Writer<'_>, tag: u8, span: Span) -> Result<(), EncodeError>;
}

/// A field of a message: a value, or an option of one.
pub(crate) trait Field<'a>: Sized {
    fn take(reader: &mut Reader<'a>, tag: u8, span: Span) -> Result<Self, DecodeError>;
    fn put(&self, writer: &mut Writer<'_>, tag: u8, span: Span) -> Result<(), EncodeError>;
}

impl<'a, V: Value<'a>> Field<'a> for V {
    fn take(reader: &mut Reader<'a>, tag: u8, span: Span) -> Result<Self, DecodeError> {
        let bytes = reader.take(tag)?.ok_or(DecodeError::MissingField { field: tag })?;
        V::from_bytes(bytes, tag, span)
    }

    fn put(&self, writer: &mut Writer<'_>, tag: u8, span: Span) -> Result<(), EncodeError> {
        Value::put(self, writer, tag, span)
    }
}

impl<'a, V: Value<'a>> Field<'a> for Option<V> {
    fn take(reader: &mut Reader<'a>, tag: u8, span: Span) -> Result<Self, DecodeError> {
        reader.take(tag)?.map(|bytes| V::from_bytes(bytes, tag, span)).transpose()
    }

    fn put(&self, writer: &mut Writer<'_>, tag: u8, span: Span) -> Result<(), EncodeError> {
        self.as_ref().map_or(Ok(()), |value| Value::put(value, writer, tag, span))
    }
}

impl<'a, const N: usize> Value<'a> for [u8; N] {
    fn from_bytes(bytes: &'a [u8], tag: u8, _: Span) -> Result<Self, DecodeError> {
        let limit = u16::try_from(N).unwrap_or(u16::MAX);
        bytes.try_into().map_err(|_| DecodeError::FieldLength { field: tag, limit })
    }

    fn put(&self, writer: &mut Writer<'_>, tag: u8, _: Span) -> Result<(), EncodeError> {
        writer.put_field(tag, self)
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn from_bytes(bytes: &'a [u8], tag: u8, span: Span) -> Result<Self, DecodeError> {
        if span.holds(bytes.len()) {
            Ok(bytes)
        } else {
            Err(DecodeError::FieldLength { field: tag, limit: span.limit() })
        }
    }

    fn put(&self, writer: &mut Writer<'_>, tag: u8, span: Span) -> Result<(), EncodeError> {
        if span.holds(self.len()) {
            writer.put_field(tag, self)
        } else {
            Err(EncodeError::FieldLength { field: tag, limit: span.limit() })
        }
    }
}

macro_rules! integer_values {
    ($($int:ty)*) => {$(
        impl<'a> Value<'a> for $int {
            fn from_bytes(bytes: &'a [u8], tag: u8, span: Span) -> Result<Self, DecodeError> {
                Value::from_bytes(bytes, tag, span).map(Self::from_be_bytes)
            }

            fn put(&self, writer: &mut Writer<'_>, tag: u8, _: Span) -> Result<(), EncodeError> {
                writer.put_field(tag, &self.to_be_bytes())
            }
        }
    )*};
}

integer_values!(u8 u16 u32 u64 i16 i32);

/// Declares a struct whose fields stand in a TLV sequence, in the order of their tags.
///
/// `max` bounds a byte string; `step` makes its length a multiple.
macro_rules! fields {
    (
        $(#[$doc:meta])*
        for<$lt:lifetime> $name:ident $(<$own:lifetime>)? {
            $($(#[$field_doc:meta])* $tag:literal $field:ident: $ty:ty $(, max $max:expr)? $(, step $step:expr)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name $(<$own>)? {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl<$lt> $name $(<$own>)? {
            fn take_fields(payload: &$lt [u8]) -> Result<Self, $crate::DecodeError> {
                let mut reader = $crate::tlv::Reader::new(payload)?;
                let fields = Self {
                    $($field: $crate::tlv::Field::take(
                        &mut reader,
                        $tag,
                        $crate::tlv::span!($($max)?; $($step)?),
                    )?,)*
                };
                reader.finish()?;
                Ok(fields)
            }

            fn put_fields(&self, writer: &mut $crate::tlv::Writer<'_>) -> Result<(), $crate::EncodeError> {
                $($crate::tlv::Field::put(
                    &self.$field,
                    writer,
                    $tag,
                    $crate::tlv::span!($($max)?; $($step)?),
                )?;)*
                Ok(())
            }
        }
    };
}
pub(crate) use fields;

macro_rules! span {
    (;) => {
        $crate::tlv::Span { max: usize::MAX, step: 1 }
    };
    ($max:expr;) => {
        $crate::tlv::Span { max: $max, step: 1 }
    };
    ($max:expr; $step:expr) => {
        $crate::tlv::Span { max: $max, step: $step }
    };
}
pub(crate) use span;

/// Tag and length.
const FIELD_HEADER_BYTES: usize = 3;
